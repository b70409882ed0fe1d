"""The masked convolution of PixelRNN, section 3.4, written as loops."""

from __future__ import annotations

import itertools

from torch import Tensor

from drawnet.nn.masks import MaskedConv2d


def may_see(kind: str, row: int, column: int, seer: int, seen: int) -> bool:
    """Whether colour `seer` of a pixel may look at colour `seen` of the pixel `row` further down, `column` right."""
    if (row, column) == (0, 0):
        return seen < seer or (seen == seer and kind == "B")
    return row < 0 or (row == 0 and column < 0)


def slow_convolution(layer: MaskedConv2d, x: Tensor, kind: str, colours: int, parts: int = 1) -> Tensor:
    """What `layer` should give for `x`; its weight, its bias and nothing else of it."""
    num_out, num_in, rows, columns = layer.weight.shape
    part = num_out // parts
    batch, _, height, width = x.shape
    out = layer.bias.detach()[:, None, None].repeat(batch, 1, height, width)
    taps = itertools.product(range(num_out), range(num_in), range(rows), range(columns))
    for o, i, r, c in taps:
        down, right = r - (rows - 1), c - columns // 2
        if not may_see(kind, down, right, (o % part) * colours // part, i * colours // num_in):
            continue
        weight = layer.weight[o, i, r, c].item()
        for row, column in itertools.product(range(height), range(width)):
            if 0 <= row + down < height and 0 <= column + right < width:
                out[:, o, row, column] += weight * x[:, i, row + down, column + right]
    return out
