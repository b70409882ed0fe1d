"""Two MNIST digits at random places of one canvas.

Source: K. Gregor et al., "DRAW: A Recurrent Neural Network For Image Generation" (2015), section 4.3: two 28 x 28
images at random places of a 60 x 60 one, where they overlap added and clipped at 1. The paper does not say whether the
result was binarised, nor how.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from drawnet.data.binarize import draw_once
from drawnet.data.dataset import Dataset, Split
from drawnet.data.fetch import Progress
from drawnet.data.mnist import NUM_TRAIN, get_mnist, mnist_images_and_labels, mnist_status

SIDE = 60  # of the canvas, in pixels
NUM_DIGITS = 2  # on each
NUM_IMAGES = {"train": 50_000, "validation": 10_000, "test": 10_000}  # in each fixed set
SEEDS = {"train": 2015, "validation": 2016, "test": 2017}  # of each: digits and places, then pixels

_CHUNK = 1000  # canvases at a time: their sums take twice the room of bytes


def mnist_two_digits_status() -> str:
    """`bundled`: made from MNIST, which comes with the package."""
    return mnist_status()


def get_mnist_two_digits(progress: Progress | None = None) -> Path:
    """The folder of the bundled MNIST: there is nothing to fetch."""
    return get_mnist(progress)


def load_mnist_two_digits() -> Dataset:
    """Two digits on each image: 50,000 / 10,000 / 10,000 images of one channel, 60 x 60.

    Training batches are composed anew each time: two digits drawn, independently, from MNIST's first 50,000 training
    images, each at a place drawn uniformly from all at which it fits, and every pixel drawn as a Bernoulli with the
    clipped sum of intensities as mean. An epoch is 50,000 of them. `train.images`, composed once, is for the mean
    image and for neighbours. Validation and test images are composed and drawn once, with the seeds `SEEDS`, from the
    digits that `mnist` validates and tests with.

    Raises:
        ValueError: the bundled MNIST is damaged.
        OSError: it cannot be read.
    """
    digits, _ = mnist_images_and_labels("train")
    test_digits, _ = mnist_images_and_labels("test")
    train_digits = digits[:NUM_TRAIN]

    def redraw(indices: Tensor, generator: torch.Generator) -> Tensor:
        return compose(train_digits, len(indices), generator)

    sets = {"train": train_digits, "validation": digits[NUM_TRAIN:], "test": test_digits}
    generators = {split: torch.Generator().manual_seed(seed) for split, seed in SEEDS.items()}
    fixed = {split: _composed_once(sets[split], NUM_IMAGES[split], generators[split]) for split in sets}
    return Dataset(
        "mnist-two-digits",
        train=Split(fixed["train"], max_value=255, resample=True, redraw=redraw),
        validation=draw_once(Split(fixed["validation"], max_value=255), generators["validation"]),
        test=draw_once(Split(fixed["test"], max_value=255), generators["test"]),
        binarization="sampled",
    )


def compose(
    digits: UInt8[Tensor, "digit 1 height width"], num_images: int, generator: torch.Generator
) -> UInt8[Tensor, "image 1 60 60"]:
    """Canvases with two digits each, drawn and placed uniformly; sums are clipped at 255.

    Args:
        digits: to choose from, with replacement.
        num_images: how many canvases.
        generator: draws the digits, then their places, row before column.
    """
    height, width = digits.shape[2:]
    chosen = torch.randint(len(digits), (num_images, NUM_DIGITS), generator=generator)
    top = torch.randint(SIDE - height + 1, (num_images, NUM_DIGITS, 1, 1), generator=generator)
    left = torch.randint(SIDE - width + 1, (num_images, NUM_DIGITS, 1, 1), generator=generator)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    places = (top + rows) * SIDE + left + columns  # image digit height width
    canvas = torch.zeros(num_images, SIDE * SIDE, dtype=torch.int16)
    canvas.scatter_add_(1, places.flatten(1), digits[chosen].flatten(1).to(torch.int16))
    return canvas.clamp_(max=255).to(torch.uint8).reshape(num_images, 1, SIDE, SIDE)


def _composed_once(
    digits: UInt8[Tensor, "digit 1 height width"], num_images: int, generator: torch.Generator
) -> UInt8[Tensor, "image 1 60 60"]:
    images = torch.empty(num_images, 1, SIDE, SIDE, dtype=torch.uint8)
    for part in images.split(_CHUNK):
        part.copy_(compose(digits, len(part), generator))
    return images
