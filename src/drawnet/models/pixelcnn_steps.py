"""PixelCNN one pixel at a time: everything that does not change is computed once and kept."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drawnet.nn.masks import MaskedConv2d


class PixelCNNSteps:
    """The logits of a PixelCNN along the raster, equal to those of the whole network.

    A value needs one column of every layer. What the rows above add to it is computed a row at a time, what the
    pixel to the left adds once a pixel; the middle maps of one row are all that is kept.

    Args:
        first: the 7x7 convolution.
        blocks: the residual blocks.
        skips: one 1x1 convolution a block, or none.
        head: the layers after the last block.
        condition: `[batch, condition, height, width]`, or None.
    """

    @torch.no_grad()
    def __init__(
        self,
        first: MaskedConv2d,
        blocks: nn.ModuleList,
        skips: nn.ModuleList,
        head: nn.Sequential,
        condition: Tensor | None = None,
    ) -> None:
        layers: list[Any] = list(blocks)  # ResidualBlocks; a ModuleList has Modules to type checkers
        # Matrices are [input, output], for products from the right; 3x3 weights are [out, in, row, column].
        self.first_weight, self.first_bias = first.masked_weight, first.bias
        here = self.first_weight[:, :, -1]  # [out, channel, column], the row of the pixel itself
        middle = here.shape[2] // 2
        self.from_row = [here[:, :, middle - n : middle + 1].flatten(1).t().contiguous() for n in range(middle + 1)]
        self.reduce = [_matrix(block.reduce) for block in layers]
        self.expand = [_matrix(block.expand) for block in layers]
        look = torch.stack([block.look.masked_weight for block in layers])  # [layer, out, in, row, column]
        self.from_above = look[:, :, :, 0].permute(0, 3, 2, 1).flatten(1, 2)  # [layer, 3 in, out]
        self.from_left = look[:, :, :, 1, 0].transpose(1, 2).contiguous()
        self.from_here = look[:, :, :, 1, 1].transpose(1, 2).contiguous().unbind(0)
        self.look_bias = torch.stack([block.look.bias for block in layers])[:, None, None]
        self.skip = _skip_matrix(skips)
        *inner, last = (layer for layer in head if isinstance(layer, MaskedConv2d))
        self.head = [_matrix(layer) for layer in inner]
        weight, bias = _matrix(last)
        colours = first.weight.shape[1]
        self.out = list(zip(weight.chunk(colours, 1), bias.chunk(colours), strict=True))
        self.conditions = None
        if condition is not None:  # [layer, batch, h, height, width]
            self.conditions = torch.stack([block.condition(condition) for block in layers])
        # Middle maps of the last pixels, [layer, width + 2, batch, h] from the first row on: zeros at both ends.
        self.seen = look.new_zeros(0)

    @torch.no_grad()
    def start_row(self, x: Tensor, row: int) -> None:
        """What the rows above add to every column of the first layer and of the 3x3 convolutions."""
        *_, rows, columns = self.first_weight.shape
        width = x.shape[3]
        above = x.new_zeros(len(x), x.shape[1], rows - 1, width)
        num_rows = min(row, rows - 1)
        if num_rows:
            above[:, :, -num_rows:] = 2 * x[:, :, row - num_rows : row] - 1
        maps = F.conv2d(above, self.first_weight[:, :, :-1], self.first_bias, padding=(0, columns // 2))
        self.first_above = maps[:, :, 0].permute(2, 0, 1).contiguous()  # [width, batch, 2h]

        layers, h = self.from_left.shape[:2]
        if row == 0:
            self.seen = x.new_zeros(layers, width + 2, len(x), h)
        triples = torch.cat([self.seen[:, i : i + width] for i in range(3)], 3)  # left, straight and right above
        maps = torch.bmm(triples.flatten(1, 2), self.from_above).unflatten(1, (width, len(x)))
        self.look_above = maps + self.look_bias  # [layer, width, batch, h]
        if self.conditions is not None:
            self.look_above += self.conditions[:, :, :, row].permute(0, 3, 1, 2)

    @torch.no_grad()
    def logits(self, x: Tensor, row: int, column: int, channel: int) -> Tensor:
        """See `PixelSteps`. A later colour runs the column again and writes over what an earlier one kept."""
        if channel == 0:
            left = torch.baddbmm(self.look_above[:, column], self.seen[:, column], self.from_left)
            self.left, self.kept = left.unbind(0), self.seen[:, column + 1].unbind(0)
        reach = min(column, len(self.from_row) - 1)
        pixels = x[:, :, row, column - reach : column + 1].flatten(1)
        maps = torch.addmm(self.first_above[column], 2 * pixels - 1, self.from_row[reach])
        outputs = []
        for i, (left, kept) in enumerate(zip(self.left, self.kept, strict=True)):
            weight, bias = self.reduce[i]
            seen = torch.relu_(torch.addmm(bias, torch.relu(maps), weight))
            kept.copy_(seen)
            seen = torch.relu_(torch.addmm(left, seen, self.from_here[i]))
            weight, bias = self.expand[i]
            maps = torch.addmm(bias, seen, weight).add_(maps)
            outputs.append(maps)
        if self.skip is not None:
            weight, bias = self.skip
            maps = torch.addmm(bias, torch.cat(outputs, 1), weight).add_(maps)
        for weight, bias in (*self.head, self.out[channel]):
            maps = torch.addmm(bias, torch.relu_(maps), weight)
        return maps


def _matrix(layer: Any) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix `[in, out]` and a bias."""
    return layer.masked_weight[:, :, 0, 0].t().contiguous(), layer.bias


def _skip_matrix(skips: nn.ModuleList) -> tuple[Tensor, Tensor] | None:
    """All skip connections as one matrix, for the outputs of all blocks side by side."""
    if not skips:
        return None
    weights, biases = zip(*(_matrix(skip) for skip in skips), strict=True)
    return torch.cat(weights), torch.stack(biases).sum(0)
