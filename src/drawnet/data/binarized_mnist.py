"""Binarized MNIST: Larochelle's fixed bits, on which most published bounds are measured.

Source: R. Salakhutdinov and I. Murray, "On the quantitative analysis of deep belief networks" (ICML 2008); the files
are H. Larochelle's. Their order is not MNIST's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from drawnet.data.dataset import Dataset, Split
from drawnet.data.fetch import Progress, RemoteFile, data_folders, fetch_all, find_folder, not_fetched

FOLDER = "binarized_mnist"
_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist_{}.amat"
_ROW_BYTES = 2 * 784  # each pixel is "0" or "1" and a space, or a newline after the last
FILES = {  # this split here: that file there
    "train": RemoteFile(
        _URL.format("train"),
        "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        50_000 * _ROW_BYTES,
    ),
    "validation": RemoteFile(
        _URL.format("valid"),
        "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        10_000 * _ROW_BYTES,
    ),
    "test": RemoteFile(
        _URL.format("test"),
        "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
        10_000 * _ROW_BYTES,
    ),
}


def find_binarized_mnist(files: Mapping[str, RemoteFile] = FILES) -> Path | None:
    """The first data folder that has all three files, by name; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return find_folder(FOLDER, (file.name for file in files.values()))


def binarized_mnist_status() -> str:
    """`in FOLDER` or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    folder = find_binarized_mnist()
    return f"in {folder}" if folder else "not fetched"


def get_binarized_mnist(progress: Progress | None = None, files: Mapping[str, RemoteFile] = FILES) -> Path:
    """Fetch the three files that are not there yet into the first data folder.

    Args:
        progress: called with the bytes done and in total, of the three files together.
        files: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    folder = find_binarized_mnist(files) or data_folders(FOLDER)[0]
    fetch_all(list(files.values()), folder, progress)
    return folder


def load_binarized_mnist(files: Mapping[str, RemoteFile] = FILES) -> Dataset:
    """Binarized MNIST: 50,000 / 10,000 / 10,000 images of one channel, 28 x 28, exactly 0 or 1.

    Args:
        files: the three files, by split; others than the published ones are for tests.

    Raises:
        FileNotFoundError: the files have not been fetched.
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    folder = find_binarized_mnist(files)
    if folder is None:
        raise not_fetched("binarized-mnist", FOLDER)
    splits = {split: Split(_read(folder / file.name, file), max_value=1) for split, file in files.items()}
    return Dataset("binarized-mnist", **splits, binarization="fixed")


def _read(path: Path, file: RemoteFile) -> UInt8[Tensor, "image 1 28 28"]:
    data = path.read_bytes()
    again = "`drawnet data get binarized-mnist` fetches it again"
    if len(data) != file.num_bytes:
        raise ValueError(f"{path} has {len(data)} bytes, expected {file.num_bytes}: {again}")
    if (found := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise ValueError(f"{path} has sha256 {found}, expected {file.sha256}: {again}")
    digits = np.frombuffer(data, np.uint8).reshape(-1, 784, 2)[:, :, 0]
    return torch.from_numpy(digits - np.uint8(ord("0"))).reshape(-1, 1, 28, 28)
