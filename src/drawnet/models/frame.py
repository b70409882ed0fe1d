"""What a model yields while it draws."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from drawnet.nn.attention import Window


@dataclass(frozen=True)
class Frame:
    """One moment of a drawing, for a batch of images.

    Attributes:
        canvas: the picture so far, mean intensities in [0, 1], `[batch, channel, height, width]`.
        read: where the model read to get here; None where it does not read by attention.
        write: where it wrote; None where it does not write by attention.
    """

    canvas: Float[Tensor, "batch channel height width"]
    read: Window | None = None
    write: Window | None = None
