"""Images with the class that each of them shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from drawnet.data.batches import Source


@dataclass(frozen=True)
class Labelled:
    """A batch of images and what they show.

    Attributes:
        images: in [0, 1].
        labels: the class of each, counted from 0.
    """

    images: Float[Tensor, "batch channel height width"]
    labels: Int64[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Labelled:
        """The same on a device."""
        return Labelled(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class LabelledDataset:
    """A named set of labelled images, all of one shape.

    Attributes:
        name: what the user called it.
        train: the images to learn from.
        validation: the images to choose by.
        test: the images to report on, read once.
        image_shape: channels, height, width.
        num_classes: labels are 0 .. num_classes - 1.
    """

    name: str
    train: Source[Labelled]
    validation: Source[Labelled]
    test: Source[Labelled]
    image_shape: tuple[int, int, int]
    num_classes: int
