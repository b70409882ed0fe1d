"""Discrete pixels: levels of intensity, their nats, and drawing them (van den Oord et al. 2016, section 3.1).

A value has one of K levels, stored as the intensity level / (K - 1). K = 2 has one logit, of a sigmoid; K > 2 has K
logits, of a softmax.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

# How far from level / (K - 1) an intensity may be: float32 and float16 roundings, not another level.
TOLERANCE = 0.05


def num_logits(num_levels: int) -> int:
    """Logits a value: 1 for two levels, else one a level.

    Raises:
        ValueError: fewer than two levels.
    """
    if num_levels < 2:
        raise ValueError(f"num_levels is {num_levels}: it must be at least 2")
    return 1 if num_levels == 2 else num_levels


def pixel_levels(x: Float[Tensor, "*shape"], num_levels: int) -> Int64[Tensor, "*shape"]:
    """The level of every intensity.

    Raises:
        ValueError: an intensity is not one of the levels, as when a model of bits is shown grey values.
    """
    scaled = x * (num_levels - 1)
    levels = scaled.round()
    # `not <=` so that NaN is refused too
    wrong = ~((scaled - levels).abs() <= TOLERANCE) | (levels < 0) | (levels > num_levels - 1)
    if wrong.any():
        allowed = "exactly 0 or 1" if num_levels == 2 else f"a whole number of 1/{num_levels - 1}, in [0, 1]"
        raise ValueError(
            f"x has a value {x[wrong][0].item():.4g}: this model's pixels have {num_levels} levels, {allowed}"
        )
    return levels.long()


def pixel_nats(
    logits: Float[Tensor, "batch channel logit height width"],
    x: Float[Tensor, "batch channel height width"],
    num_levels: int,
) -> Float[Tensor, "batch channel height width"]:
    """-log p of every value, given its logits; nats.

    Args:
        logits: of every value; `num_logits(num_levels)` of them.
        x: the images.
        num_levels: K.

    Raises:
        ValueError: see `pixel_levels`.
    """
    levels = pixel_levels(x, num_levels)
    if num_levels == 2:
        return F.binary_cross_entropy_with_logits(logits[:, :, 0], levels.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits.transpose(1, 2), levels, reduction="none")


def draw_pixels(
    logits: Float[Tensor, "*shape logit"], uniform: Float[Tensor, "*shape"], num_levels: int
) -> Float[Tensor, "*shape"]:
    """Intensities drawn by inverting the distribution function: the same uniform numbers give the same pixels.

    Args:
        logits: of every value.
        uniform: one number in [0, 1) a value.
        num_levels: K.
    """
    if num_levels == 2:
        return (uniform < logits[..., 0].sigmoid()).to(logits.dtype)
    below = logits.softmax(-1).cumsum(-1)[..., :-1]  # of the last level, rounding may miss 1
    return (uniform[..., None] >= below).sum(-1).to(logits.dtype) / (num_levels - 1)
