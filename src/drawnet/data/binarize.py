"""Bits from intensities: one draw, made once and kept."""

from __future__ import annotations

import torch

from drawnet.data.dataset import Split

_CHUNK = 1000  # images at a time: floats take four times the room of bytes


def draw_once(split: Split, generator: torch.Generator) -> Split:
    """Each pixel drawn once as a Bernoulli with its intensity as mean, kept as bytes 0 and 1.

    Args:
        split: intensities, bytes or floats.
        generator: draws the pixels, images in order.

    Returns:
        A split of the same shape with `max_value` 1.
    """
    grey = Split(split.images, split.max_value, resample=True)
    bits = torch.empty(split.images.shape, dtype=torch.uint8)
    for indices in torch.arange(len(split)).split(_CHUNK):
        bits[indices] = grey.batch(indices, generator).to(torch.uint8)
    return Split(bits, max_value=1)
