"""CIFAR-10: 60,000 colour photographs of ten kinds of things, 32 x 32.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); the binary version of
https://www.cs.toronto.edu/~kriz/cifar.html. A record is one byte of label, then 1,024 bytes each of red, green, blue.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from drawnet.data.dataset import Dataset, Split
from drawnet.data.fetch import Progress, RemoteFile, data_folders, fetch, find_folder, has_checksum, not_fetched
from drawnet.files import replacing

FOLDER = "cifar-10-batches-bin"  # here and in the archive
TEST_FILE = "test_batch.bin"
NUM_LABELS = 10
_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32


@dataclass(frozen=True)
class Cifar10Files:
    """What the publisher offers.

    Attributes:
        archive: has the six files, in `FOLDER`.
        md5: name of each file -> of its contents; the training files in order, then `TEST_FILE`.
        num_images: in each file.
        num_validation: of the training images, so many at the end validate.
    """

    archive: RemoteFile
    md5: Mapping[str, str]
    num_images: int = 10_000
    num_validation: int = 5_000

    @property
    def num_bytes(self) -> int:
        """Of each file."""
        return self.num_images * _RECORD_BYTES


PUBLISHED = Cifar10Files(
    RemoteFile(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        sha256=None,
        num_bytes=170_052_171,
        md5="c32a1d4ab5d03f1284b67883e8d87530",
    ),
    {
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        TEST_FILE: "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
)


def find_cifar10(files: Cifar10Files = PUBLISHED) -> Path | None:
    """The first data folder that has all six files, by name; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return find_folder(FOLDER, files.md5)


def cifar10_status(files: Cifar10Files = PUBLISHED) -> str:
    """`in FOLDER`, with the number of test images there if it is not that of the publisher, or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    folder = find_cifar10(files)
    if folder is None:
        return "not fetched"
    return f"in {folder}{_shortened((folder / TEST_FILE).stat().st_size // _RECORD_BYTES, files)}"


def get_cifar10(progress: Progress | None = None, files: Cifar10Files = PUBLISHED) -> Path:
    """Fetch the archive and take the six files out of it, unless all of them are there as published.

    Every file appears whole and with the right checksum, or not at all. The archive is removed at the end; one that
    an interruption leaves behind is not fetched again.

    Args:
        progress: called with the bytes of the archive done and in total.
        files: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: the archive or a file in it is not the published one, or DRAWNET_DATA is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    folder = find_cifar10(files) or data_folders(FOLDER)[0]
    if all((folder / name).is_file() and has_checksum(folder / name, f"md5 {md5}") for name, md5 in files.md5.items()):
        if progress is not None:
            progress(files.archive.num_bytes, files.archive.num_bytes)
        return folder
    archive = fetch(files.archive, folder, progress)
    _extract(archive, folder, files)
    archive.unlink()
    return folder


def _extract(archive: Path, folder: Path, files: Cifar10Files) -> None:
    """Write the six files. Names in the archive are compared, never used as paths."""
    wanted = {f"{FOLDER}/{name}": name for name in files.md5}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            if member.name not in wanted or not member.isfile() or member.size != files.num_bytes:
                continue
            content = tar.extractfile(member)
            assert content is not None  # it is a regular file
            name = wanted.pop(member.name)
            data = content.read()
            _check_md5(data, f"{archive}, {member.name}", files.md5[name])
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
    if wanted:
        raise ValueError(f"{archive} has no file {', '.join(wanted)} of {files.num_bytes} bytes")


def load_cifar10(files: Cifar10Files = PUBLISHED) -> Dataset:
    """CIFAR-10: 45,000 / 5,000 / 10,000 images of three channels, 32 x 32, bytes.

    The last 5,000 of the publisher's 50,000 training images validate. A test file of fewer records is taken for the
    beginning of the published one, which its size and labels cannot prove, and the name of the data set says so:
    `cifar10 (first 1,000 test images)`.

    Args:
        files: others than the published ones are for tests.

    Raises:
        FileNotFoundError: the files have not been fetched.
        ValueError: a file is not the published one, or DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    folder = find_cifar10(files)
    if folder is None:
        raise not_fetched("cifar10", FOLDER)
    train = torch.cat([_read(folder / name, files) for name in files.md5 if name != TEST_FILE])
    test = _read(folder / TEST_FILE, files)
    num_train = len(train) - files.num_validation
    splits = (Split(images, max_value=255) for images in (train[:num_train], train[num_train:], test))
    return Dataset(f"cifar10{_shortened(len(test), files)}", *splits, binarization=None)


def _read(path: Path, files: Cifar10Files) -> UInt8[Tensor, "image 3 32 32"]:
    data = path.read_bytes()
    again = "`drawnet data get cifar10` fetches it again"
    may_be_short = path.name == TEST_FILE and 0 < len(data) < files.num_bytes and len(data) % _RECORD_BYTES == 0
    if len(data) != files.num_bytes and not may_be_short:
        raise ValueError(f"{path} has {len(data)} bytes, expected {files.num_bytes}: {again}")
    if not may_be_short:
        _check_md5(data, f"{path}", files.md5[path.name], f": {again}")
    records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD_BYTES)
    if (highest := records[:, 0].max()) >= NUM_LABELS:
        raise ValueError(f"{path} has a label {highest}, expected 0 to {NUM_LABELS - 1}: {again}")
    return torch.from_numpy(records[:, 1:].copy()).reshape(-1, *_SHAPE)


def _check_md5(data: bytes, what: str, expected: str, advice: str = "") -> None:
    if (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != expected:
        raise ValueError(f"{what} has md5 {found}, expected {expected}{advice}")


def _shortened(num_test_images: int, files: Cifar10Files) -> str:
    return "" if num_test_images == files.num_images else f" (first {num_test_images:,} test images)"
