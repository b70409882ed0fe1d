"""Masks of known pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def check_mask(known: Tensor, x: Tensor) -> None:
    """Refuse a mask that is not of the images' size: `[batch, 1, height, width]`, bool.

    Raises:
        ValueError: the message has both shapes.
    """
    expected = (len(x), 1, *x.shape[2:])
    if known.dtype != torch.bool or tuple(known.shape) != expected:
        found = f"{tuple(known.shape)}, {str(known.dtype).removeprefix('torch.')}"
        raise ValueError(f"known has shape {found}: for these images it must be {expected}, bool")
