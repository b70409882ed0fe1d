"""SVHN's cropped digits: 32 x 32 colour pixels, one digit in the middle of each.

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning" (2011), the "cropped
digits" of http://ufldl.stanford.edu/housenumbers/: MATLAB 5 files with X, `[height, width, channel, image]`, and
labels, which are not needed here. Non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from drawnet.data.dataset import Dataset, Split
from drawnet.data.derived import read_derived
from drawnet.data.fetch import (
    Progress,
    RemoteFile,
    check_published,
    data_folders,
    fetch_all,
    find_folder,
    not_fetched,
)
from drawnet.data.svhn import DERIVED_NOTE, FOLDER

DERIVED_FILE = "svhn_digits32.npz"
_SIDE = 32
_URL = "http://ufldl.stanford.edu/housenumbers/{}_32x32.mat"
# The publisher states no checksums; these are those on which several public loaders of the same files agree.
PUBLISHED = {
    "train": RemoteFile(
        _URL.format("train"), "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8", 182_040_794
    ),
    "test": RemoteFile(
        _URL.format("test"), "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b", 64_275_384
    ),
    "extra": RemoteFile(
        _URL.format("extra"), "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3", 1_329_278_602
    ),
}


def find_svhn_digits(files: Mapping[str, RemoteFile] = PUBLISHED) -> Path | None:
    """The first data folder that has the files of training and test images, by name; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return find_folder(FOLDER, (files[part].name for part in ("train", "test")))


def svhn_digits_status(files: Mapping[str, RemoteFile] = PUBLISHED) -> str:
    """`in FOLDER`, with what is missing or other there, or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    if folder := find_svhn_digits(files):
        return f"in {folder}" + ("" if (folder / files["extra"].name).is_file() else " (without extra)")
    folder = find_folder(FOLDER, [DERIVED_FILE])
    return f"in {folder} ({DERIVED_NOTE})" if folder else "not fetched"


def get_svhn_digits(progress: Progress | None = None, files: Mapping[str, RemoteFile] = PUBLISHED) -> Path:
    """Fetch the files that are not there yet: 1.6 GB.

    Args:
        progress: called with the bytes done and in total.
        files: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    folder = find_svhn_digits(files) or data_folders(FOLDER)[0]
    fetch_all(list(files.values()), folder, progress)
    return folder


def load_svhn_digits(files: Mapping[str, RemoteFile] = PUBLISHED) -> Dataset:
    """Digits of house numbers: images of three channels, 32 x 32, bytes.

    Training images are the publisher's train and extra, 604,388 in all, less the last tenth of train, 7,325 images,
    which validates: neighbours in the file are often neighbours in a photograph and show parts of each other, so that
    a random choice would validate on what was trained on. Test images are the publisher's 26,032. What is not all of
    this says so in the name of the data set, as `load_svhn` does.

    Args:
        files: others than the published ones are for tests.

    Raises:
        FileNotFoundError: the files have not been fetched.
        ValueError: a file is not the published one or damaged, scipy, which reads them, is not installed, or
            DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    note = ""
    if folder := find_svhn_digits(files):
        has_extra = (folder / files["extra"].name).is_file()
        note = "" if has_extra else " (without extra)"
        train = [_read(folder, files[part]) for part in ("train", "extra")[: 1 + has_extra]]
        test = _read(folder, files["test"])
    elif folder := find_folder(FOLDER, [DERIVED_FILE]):
        note = f" ({DERIVED_NOTE})"
        keys = ("train_images", "test_images")
        arrays = read_derived(folder / DERIVED_FILE, keys, (_SIDE, _SIDE, 3))
        *train, test = (np.ascontiguousarray(arrays[key].transpose(0, 3, 1, 2)) for key in keys)
    else:
        raise not_fetched("svhn-digits", FOLDER)
    first, *extra = train
    num_train = len(first) - len(first) // 10
    images = (np.concatenate([first[:num_train], *extra]), first[num_train:], test)
    return Dataset(
        f"svhn-digits{note}", *(Split(torch.from_numpy(x), max_value=255) for x in images), binarization=None
    )


def _read(folder: Path, file: RemoteFile) -> UInt8[np.ndarray, "image 3 32 32"]:
    path = folder / file.name
    try:
        import scipy.io
    except ImportError as error:
        raise ValueError(f"{path} cannot be read ({error}): pip install 'drawnet[svhn]'") from error
    check_published(path, file, "svhn-digits")
    try:
        pixels = scipy.io.loadmat(path, variable_names=["X"])["X"]
    except Exception as error:  # scipy raises all sorts of things on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read: {error!r}; it must be a MATLAB 5 file with X") from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != (_SIDE, _SIDE, 3):
        raise ValueError(
            f"{path} has {pixels.dtype} of shape {list(pixels.shape)} as X: it must be uint8 of shape [32, 32, 3, n]"
        )
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1))
