"""Masked convolutions: no pixel and no colour sees itself or a later one (van den Oord et al. 2016, section 3.4)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

MaskKind = Literal["A", "B"]


def colour_groups(num_features: int, num_colours: int, num_parts: int = 1) -> Int64[Tensor, "feature"]:
    """The colour that every feature map belongs to: equal shares in order, R first (as equal as whole maps allow).

    Args:
        num_features: feature maps; for the image itself, `num_colours`.
        num_colours: 1 or 3.
        num_parts: where the maps are several stacks of equal size (the gates of an LSTM), every stack is shared out.

    Raises:
        ValueError: too few features for every colour to have one, or parts that are not equal.
    """
    part_size, rest = divmod(num_features, num_parts)
    if rest or part_size < num_colours:
        raise ValueError(
            f"num_features is {num_features}: it must be {num_parts} equal parts of at least {num_colours} maps"
        )
    return (torch.arange(part_size) * num_colours // part_size).repeat(num_parts)


def causal_mask(
    kind: MaskKind,
    in_groups: Int64[Tensor, "in_feature"],
    out_groups: Int64[Tensor, "out_feature"],
    kernel_size: tuple[int, int],
) -> Bool[Tensor, "out_feature in_feature row column"]:
    """Which weights of a convolution may be other than zero: pixels before the centre in raster order, and at the
    centre the colours before one's own (A) or up to one's own (B).

    Args:
        kind: "A" for the first layer, which sees the image; "B" after it.
        in_groups: colour of every input map.
        out_groups: colour of every output map.
        kernel_size: height and width, both odd. The rows below the centre could only be zero and are left out: the
            mask has `height // 2 + 1` rows, the centre's last.

    Raises:
        ValueError: a kernel size that is not odd.
    """
    height, width = kernel_size
    if height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"kernel_size is {kernel_size}: both must be odd")
    mask = torch.ones(len(out_groups), len(in_groups), height // 2 + 1, width, dtype=torch.bool)
    mask[:, :, -1, width // 2 + 1 :] = False
    own, other = out_groups[:, None], in_groups[None, :]
    mask[:, :, -1, width // 2] = other < own if kind == "A" else other <= own
    return mask


class MaskedConv2d(nn.Module):
    """A convolution under `causal_mask` that keeps height and width; zeros stand around the image.

    Args:
        in_features: input maps; the image's channels in the first layer.
        out_features: output maps.
        kernel_size: of the square kernel, or height and width; odd.
        kind: of the mask.
        num_colours: 1 or 3.
        num_parts: of the output maps, see `colour_groups`.

    The weight has no rows below the centre. It is multiplied by the mask as it is used and never overwritten, so
    that an optimiser's step on a masked weight changes nothing.
    """

    mask: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | tuple[int, int],
        kind: MaskKind,
        num_colours: int = 1,
        num_parts: int = 1,
    ) -> None:
        super().__init__()
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        in_groups = colour_groups(in_features, num_colours)
        mask = causal_mask(kind, in_groups, colour_groups(out_features, num_colours, num_parts), size)
        self.register_buffer("mask", mask, persistent=False)
        self.padding = (size[0] // 2, size[1] // 2)  # above and below, left and right
        # Uniform as in torch's layers, the fan-in counted without the masked weights.
        bound = 1 / math.sqrt(max(1.0, mask.sum().item() / out_features))
        self.weight = nn.Parameter(torch.empty(mask.shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(out_features).uniform_(-bound, bound))

    @property
    def masked_weight(self) -> Tensor:
        """The weight in use, `[out_feature, in_feature, row, column]`."""
        return self.weight * self.mask

    def forward(
        self, x: Float[Tensor, "batch in_feature height width"]
    ) -> Float[Tensor, "batch out_feature height width"]:
        """Convolve."""
        # torch pads below as well; cutting those rows off is faster than padding one side beforehand
        return F.conv2d(x, self.masked_weight, self.bias, padding=self.padding)[:, :, : x.shape[2]]
