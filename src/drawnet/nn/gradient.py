"""Limits on a gradient on its way back through a network."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def limited(values: Float[Tensor, "batch n"], times: float) -> Float[Tensor, "batch n"]:
    """The same values; no row of their gradient is longer than `times` the median length of the batch's rows.

    A few images whose gradient has exploded then no longer outweigh all others. A row keeps its direction; where the
    median is zero, all keep their lengths. Of an even number of rows it is the lower of the two in the middle. What
    comes of it is not the gradient of the loss any more.

    Args:
        values: one row an image.
        times: above 0; from 1 on a batch of one image is never limited.
    """
    return _Limited.apply(values, times)  # type: ignore[no-any-return]


class _Limited(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, times: float) -> Tensor:
        ctx.times = times
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        limit = ctx.times * length.median()
        return torch.where((length > limit) & (limit > 0), gradient * (limit / length), gradient), None
