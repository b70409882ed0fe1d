"""MNIST, bundled with the package: 70,000 handwritten digits of 28 x 28 grey pixels.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits". Licence: CC BY-SA 3.0, see
`mnist/LICENSE.md`.
"""

from __future__ import annotations

import hashlib
import lzma
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from torch import Tensor

from drawnet.data.binarize import draw_once
from drawnet.data.dataset import Dataset, Split
from drawnet.data.fetch import Progress
from drawnet.data.idx import idx_header

PACKED_FILE = Path(__file__).with_name("mnist") / "mnist.xz"
NUM_TRAIN = 50_000  # of the 60,000 training images; the other 10,000 are for validation
BINARIZATION_SEED = 2015  # of the one draw that validation and test consist of, validation first


@dataclass(frozen=True)
class IdxFile:
    """One of the four files that MNIST is published as.

    Attributes:
        name: the publisher's name, without `.gz`.
        shape: number of items, then the shape of one: `(60000, 28, 28)` for images, `(60000,)` for labels.
        sha256: of the unpacked file, in hexadecimal.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """See `idx_header`."""
        return idx_header(self.shape)

    @property
    def num_bytes(self) -> int:
        """Size of the unpacked file."""
        return len(self.header) + math.prod(self.shape)


IDX_FILES = (  # in the order in which they are packed
    IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)


def read_packed(path: Path) -> dict[str, UInt8[Tensor, "..."]]:
    """Unpack the bundled file and check it against the publisher's files.

    Args:
        path: the four IDX files one after the other, compressed as `.xz`.

    Returns:
        The contents of each IDX file under its name, in the shape that its header states.

    Raises:
        ValueError: the file is truncated or changed.
        OSError: it cannot be read.
    """
    try:
        data = bytearray(lzma.decompress(path.read_bytes()))  # a bytearray, because tensors are writable
    except lzma.LZMAError as error:
        raise ValueError(f"{path} is damaged ({error}): install drawnet again") from error
    tensors, start = {}, 0
    for file in IDX_FILES:
        part = memoryview(data)[start : start + file.num_bytes]
        if hashlib.sha256(part).hexdigest() != file.sha256:
            raise ValueError(f"{path} is damaged (sha256 of {file.name} differs): install drawnet again")
        pixels = torch.frombuffer(
            data, dtype=torch.uint8, offset=start + len(file.header), count=math.prod(file.shape)
        )
        tensors[file.name] = pixels.reshape(file.shape)
        start += file.num_bytes
    return tensors


@cache
def _bundled() -> dict[str, Tensor]:
    return read_packed(PACKED_FILE)


def mnist_images_and_labels(
    which: Literal["train", "test"],
) -> tuple[UInt8[Tensor, "image 1 28 28"], UInt8[Tensor, "image"]]:
    """The images as published and the digits that they show, in the published order.

    The tensors are shared by everyone who asks for them: do not write to them.

    Args:
        which: `train` (60,000 images, the last 10,000 of which `load_mnist` validates with) or `test` (10,000).

    Returns:
        Images, bytes 0 (background) to 255 (ink), and labels 0 to 9.

    Raises:
        ValueError: another `which`, or the bundled file is damaged.
        OSError: the bundled file cannot be read.
    """
    prefixes = {"train": "train", "test": "t10k"}
    if which not in prefixes:
        raise ValueError(f"which is {which!r}: MNIST has 'train' and 'test'")
    bundled, prefix = _bundled(), prefixes[which]
    return bundled[f"{prefix}-images-idx3-ubyte"].unsqueeze(1), bundled[f"{prefix}-labels-idx1-ubyte"]


def mnist_status() -> str:
    """`bundled`."""
    return "bundled"


def get_mnist(progress: Progress | None = None) -> Path:
    """The folder of the bundled file: there is nothing to fetch."""
    return PACKED_FILE.parent


def load_mnist() -> Dataset:
    """MNIST for binary models: 50,000 / 10,000 / 10,000 images of one channel, 28 x 28.

    Training images keep their intensities and are drawn anew each time they are asked for. Validation (the last
    10,000 of the published training images) and test images are one draw each, made with the seed
    `BINARIZATION_SEED`, so that every evaluation sees the same bits. This is not Larochelle's fixed set
    (`binarized-mnist`): bounds on the two are different numbers.

    Raises:
        ValueError: the bundled file is damaged.
        OSError: it cannot be read.
    """
    images, _ = mnist_images_and_labels("train")
    test_images, _ = mnist_images_and_labels("test")
    generator = torch.Generator().manual_seed(BINARIZATION_SEED)
    return Dataset(
        name="mnist",
        train=Split(images[:NUM_TRAIN], max_value=255, resample=True),
        validation=draw_once(Split(images[NUM_TRAIN:], max_value=255), generator),
        test=draw_once(Split(test_images, max_value=255), generator),
        binarization="sampled",
    )
