"""Drawing pixel after pixel in raster order, with some of them given (van den Oord et al. 2016, sections 3.1, 5.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drawnet.models.frame import Frame
from drawnet.nn.pixels import draw_pixels, pixel_levels

UNKNOWN = 0.5  # what a pixel shows before it is drawn; models do not see it


@runtime_checkable
class PixelSteps(Protocol):
    """A model walking over an image."""

    def start_row(self, x: Tensor, row: int) -> None:
        """Called before the pixels of `row`, whatever is known in it; all rows above are there."""
        ...

    def logits(self, x: Tensor, row: int, column: int, channel: int) -> Tensor:
        """`[batch, logit]` of one value; called for every value, in raster order, R before G before B.

        `x` holds all values before this one.
        """
        ...


class NaiveSteps:
    """The whole network once for every value: slow, and obviously right.

    Args:
        logits_of: gives `[batch, channel, logit, height, width]` for images.
    """

    def __init__(self, logits_of: Callable[[Tensor], Tensor]) -> None:
        self.logits_of = logits_of

    def start_row(self, x: Tensor, row: int) -> None:
        """Nothing is kept."""

    def logits(self, x: Tensor, row: int, column: int, channel: int) -> Tensor:
        """See `PixelSteps`."""
        return self.logits_of(x)[:, channel, :, row, column]


@torch.no_grad()
def draw_in_order(
    steps: PixelSteps,
    x: Float[Tensor, "batch channel height width"],
    known: Bool[Tensor, "batch 1 height width"],
    num_levels: int,
    generator: torch.Generator | None = None,
) -> Iterator[Frame]:
    """Draw the unknown pixels one after the other, each from its distribution given all before it.

    That is a sample of p(unknown | known) exactly if no known pixel comes after an unknown one in raster order
    (`is_raster_suffix`). Elsewhere a drawn pixel does not know of the known ones after it, and the whole is
    approximate.

    Args:
        steps: the model.
        x: known pixels; what it holds elsewhere is not looked at.
        known: which are known; they come back bit for bit.
        num_levels: K.
        generator: draws one uniform number for every value of the batch at the start, known or not.

    Yields:
        A frame after every row that had an unknown pixel; if there is none, one frame, the images.

    Raises:
        ValueError: a known pixel is not one of the levels.
    """
    pixel_levels(x[known.expand_as(x)], num_levels)
    _, channels, height, width = x.shape
    uniform = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    unknown_in_row = (~known).any(3).any(0)[0].tolist()
    x = torch.where(known, x, UNKNOWN)
    if not any(unknown_in_row):
        yield Frame(x)
        return
    last_row = max(row for row in range(height) if unknown_in_row[row])
    for row in range(last_row + 1):
        steps.start_row(x, row)
        for column in range(width):
            for channel in range(channels):
                logits = steps.logits(x, row, column, channel)
                drawn = draw_pixels(logits, uniform[:, channel, row, column], num_levels)
                x[:, channel, row, column] = torch.where(known[:, 0, row, column], x[:, channel, row, column], drawn)
        if unknown_in_row[row]:
            yield Frame(x.clone())


def is_raster_suffix(known: Bool[Tensor, "batch 1 height width"]) -> bool:
    """Whether, in every image, all unknown pixels come after all known ones in raster order."""
    flat = known.flatten(1).int()
    return bool((flat.diff(dim=1) <= 0).all())
