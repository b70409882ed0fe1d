"""What every model refuses: images, masks and conditions that are not of its shape."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class ImageSizes(Protocol):
    """What the configuration of every model has."""

    @property
    def num_channels(self) -> int: ...  # noqa: D102

    @property
    def height(self) -> int: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102


def check_images(x: Tensor, sizes: ImageSizes) -> None:
    """Refuse images that are not floating point or not `[batch, channel, height, width]` of these sizes.

    Raises:
        ValueError: the message has both shapes.
    """
    expected = (sizes.num_channels, sizes.height, sizes.width)
    if not x.is_floating_point():
        raise ValueError(f"x has dtype {x.dtype}: images are floating point, in [0, 1]")
    if x.ndim != 4 or tuple(x.shape[1:]) != expected:
        raise ValueError(f"x has shape {tuple(x.shape)}: this model takes [batch, {', '.join(map(str, expected))}]")


def check_mask(known: Tensor, x: Tensor) -> None:
    """Refuse a mask that is not of the images' size: `[batch, 1, height, width]`, bool.

    Raises:
        ValueError: the message has both shapes.
    """
    expected = (len(x), 1, *x.shape[2:])
    if known.dtype != torch.bool or tuple(known.shape) != expected:
        found = f"{tuple(known.shape)}, {str(known.dtype).removeprefix('torch.')}"
        raise ValueError(f"known has shape {found}: for these images it must be {expected}, bool")


def check_condition(condition: Tensor | None, num_maps: int, x: Tensor) -> None:
    """Refuse a condition that is not `[batch, num_maps, height, width]`; with no maps, refuse any.

    Raises:
        ValueError: the message has the shape that is needed.
    """
    if not num_maps:
        if condition is not None:
            raise ValueError("condition is given: this model has num_condition_maps 0 and takes none")
        return
    expected = (len(x), num_maps, *x.shape[2:])
    if condition is None or tuple(condition.shape) != expected:
        what = "not given" if condition is None else f"of shape {tuple(condition.shape)}"
        raise ValueError(f"condition is {what}: this model takes {list(expected)}")
