"""Images in memory, split three ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

Binarization = Literal["fixed", "sampled"]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: `[image, channel, height, width]`, bytes 0..`max_value`, or float32 in [0, 1] with `max_value` 1.
        max_value: the stored value that means intensity 1: 255 for grey or colour bytes, 1 for bits and floats.
        resample: every time an image is asked for, draw each pixel anew as a Bernoulli with its intensity as mean.
        redraw: makes the images at some indices anew, stored as `images` are, from a generator, every time a batch is
            asked for: random crops, random compositions. `images` is then one fixed draw of them, for the mean image
            and for nearest neighbours. None: the images are what they are.
    """

    images: Tensor
    max_value: int
    resample: bool = False
    redraw: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def intensities(self, indices: Int64[Tensor, "batch"]) -> Float[Tensor, "batch channel height width"]:
        """The images at `indices` as stored, as float32 in [0, 1]."""
        return self._scaled(self.images[indices])

    def batch(
        self, indices: Int64[Tensor, "batch"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channel height width"]:
        """The images at `indices` as a model is to see them: exactly 0 or 1 where `resample` is set.

        Args:
            indices: which images.
            generator: of `redraw`, then of the pixels where `resample` is set; required there, unused elsewhere.

        Raises:
            ValueError: `redraw` or `resample` is set and there is no generator.
        """
        if self.redraw is None and not self.resample:
            return self.intensities(indices)
        if generator is None:
            raise ValueError("generator is None: this split draws its images or pixels anew and needs one")
        x = self.intensities(indices) if self.redraw is None else self._scaled(self.redraw(indices, generator))
        return torch.bernoulli(x, generator=generator) if self.resample else x

    def _scaled(self, stored: Tensor) -> Float[Tensor, "batch channel height width"]:
        x = stored.to(torch.float32)
        return x if self.max_value == 1 else x.div_(self.max_value)


@dataclass(frozen=True)
class Dataset:
    """A named set of images, all of one shape.

    Attributes:
        name: what the user called it: `mnist`, `folder:PATH`, `my.npz`; where the files are not all of the published
            ones, it says so in parentheses: `cifar10 (first 1,000 test images)`.
        train: the images to learn from.
        validation: the images to choose by.
        test: the images to report on, read once.
        binarization: "fixed" (the pixels are published bits), "sampled" (bits drawn from grey intensities), None
            (intensities, which DRAW reads as Bernoulli probabilities: not a code length).
    """

    name: str
    train: Split
    validation: Split
    test: Split
    binarization: Binarization | None

    def __post_init__(self) -> None:
        shapes = {split: tuple(getattr(self, split).images.shape[1:]) for split in SPLITS}
        assert len(set(shapes.values())) == 1, shapes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def hold_out(num_images: int, num_held_out: int, seed: int) -> tuple[Int64[Tensor, "kept"], Int64[Tensor, "held_out"]]:
    """Indices of images to train with and of others to validate with, drawn without replacement, both in order.

    Args:
        num_images: there are in all.
        num_held_out: of them to validate with.
        seed: of the draw.
    """
    order = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed))
    return order[num_held_out:].sort().values, order[:num_held_out].sort().values
