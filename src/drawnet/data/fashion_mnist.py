"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 grey pixels, in MNIST's format.

Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms" (2017). Its two files of labels are not needed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from drawnet.data.binarize import draw_once
from drawnet.data.dataset import Dataset, Split
from drawnet.data.fetch import (
    Progress,
    RemoteFile,
    check_published,
    data_folders,
    fetch_all,
    find_folder,
    not_fetched,
)
from drawnet.data.idx import read_idx

FOLDER = "fashion-mnist"
BINARIZATION_SEED = 2015  # of the one draw that validation and test consist of, validation first
_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{}-images-idx3-ubyte.gz"


@dataclass(frozen=True)
class FashionFile:
    """A published file of images.

    Attributes:
        remote: the file.
        num_images: in it.
    """

    remote: RemoteFile
    num_images: int


# The publisher states md5 (8d4fb7e6c68d591d4c3dfef9ec88bf0d, bef4ecab320f06d8554ea6380940ec79); the sha256 and sizes
# of the same files are those that several public loaders agree on.
PUBLISHED = {
    "train": FashionFile(
        RemoteFile(
            _URL.format("train"), "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880
        ),
        60_000,
    ),
    "test": FashionFile(
        RemoteFile(_URL.format("t10k"), "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
        10_000,
    ),
}


def find_fashion_mnist(files: Mapping[str, FashionFile] = PUBLISHED) -> Path | None:
    """The first data folder that has both files, by name; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return find_folder(FOLDER, (file.remote.name for file in files.values()))


def fashion_mnist_status() -> str:
    """`in FOLDER` or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    folder = find_fashion_mnist()
    return f"in {folder}" if folder else "not fetched"


def get_fashion_mnist(progress: Progress | None = None, files: Mapping[str, FashionFile] = PUBLISHED) -> Path:
    """Fetch the files that are not there yet.

    Args:
        progress: called with the bytes done and in total.
        files: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    folder = find_fashion_mnist(files) or data_folders(FOLDER)[0]
    fetch_all([file.remote for file in files.values()], folder, progress)
    return folder


def load_fashion_mnist(files: Mapping[str, FashionFile] = PUBLISHED) -> Dataset:
    """Fashion-MNIST for binary models: 50,000 / 10,000 / 10,000 images of one channel, 28 x 28, as `mnist` is.

    The last sixth of the published training images validates. Training pixels are drawn anew each time with their
    intensities as means; validation and test images are one draw, with the seed `BINARIZATION_SEED`.

    Args:
        files: others than the published ones are for tests.

    Raises:
        FileNotFoundError: the files have not been fetched.
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    folder = find_fashion_mnist(files)
    if folder is None:
        raise not_fetched("fashion-mnist", FOLDER)
    images = {}
    for which, file in files.items():
        path = folder / file.remote.name
        check_published(path, file.remote, "fashion-mnist")
        images[which] = read_idx(path, (file.num_images, 28, 28)).unsqueeze(1)
    num_train = files["train"].num_images * 5 // 6
    generator = torch.Generator().manual_seed(BINARIZATION_SEED)
    return Dataset(
        "fashion-mnist",
        train=Split(images["train"][:num_train], max_value=255, resample=True),
        validation=draw_once(Split(images["train"][num_train:], max_value=255), generator),
        test=draw_once(Split(images["test"], max_value=255), generator),
        binarization="sampled",
    )
