"""Completion by models with latents: inference and imputation in turn (Rezende et al. 2014, appendix F)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from drawnet.models.frame import Frame

NUM_ROUNDS = 50


@torch.no_grad()
def impute(
    redraw: Callable[[Tensor], tuple[Tensor, Tensor]],
    x: Float[Tensor, "batch channel height width"],
    known: Bool[Tensor, "batch 1 known_height known_width"],
    *,
    start: Float[Tensor, "batch channel height width"],
    num_rounds: int = NUM_ROUNDS,
) -> Iterator[Frame]:
    """A Markov chain over the unknown pixels: z ~ q(z | x), then the unknown pixels of x anew from p(x | z).

    If q were the true posterior, the chain would end in samples of p(unknown | known); with a learned q it is
    approximate, and wants a start that q has seen the like of: a sample of the model rather than coin flips. The
    frames show means, as `sample` does.

    Args:
        redraw: takes images to means and to images drawn, both `[batch, channel, height, width]` of the same latents.
        x: images in [0, 1]; what they hold at unknown pixels is not looked at.
        known: which pixels are known; they come back bit for bit.
        start: what the unknown pixels are at first.
        num_rounds: of inference and imputation.

    Yields:
        A frame after every round; if every pixel is known, one frame, the images.
    """
    if known.all():
        yield Frame(x)
        return
    current = torch.where(known, x, start)
    for _ in range(num_rounds):
        means, drawn = redraw(current)
        current = torch.where(known, x, drawn)
        yield Frame(torch.where(known, x, means))


def bits_or_means(
    means: Float[Tensor, "batch channel height width"],
    x: Float[Tensor, "batch channel height width"],
    known: Bool[Tensor, "batch 1 height width"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """What a Bernoulli decoder puts in the place of unknown pixels.

    Bits drawn from the means where the known pixels are bits; the means where these are intensities, which such a
    decoder reads as probabilities.
    """
    is_bit = (x == 0) | (x == 1) | ~known
    return torch.bernoulli(means, generator=generator) if is_bit.all() else means
