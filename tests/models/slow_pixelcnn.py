"""PixelCNN written as loops over pixels, kernel taps and colours: van den Oord et al. 2016, table 1 and figure 5."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from drawnet.models.pixelcnn import PixelCNN


def may_see(kind: str, row: int, column: int, seer: int, seen: int) -> bool:
    """Whether colour `seer` of a pixel may look at colour `seen` of the pixel `row` further down, `column` right."""
    if (row, column) == (0, 0):
        return seen < seer or (seen == seer and kind == "B")
    return row < 0 or (row == 0 and column < 0)


class SlowPixelCNN:
    """Takes the weights of a PixelCNN and nothing else of it.

    Args:
        model: whose weights.
    """

    def __init__(self, model: PixelCNN) -> None:
        self.config = model.config
        self.weights = {name: value.detach() for name, value in model.state_dict().items()}

    def convolve(self, name: str, maps: Tensor, kind: str = "B") -> Tensor:
        """`[in, height, width]` to `[out, height, width]`; the kernel's last row is the pixel's own."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        num_out, num_in, rows, columns = weight.shape
        _, height, width = maps.shape
        colours = self.config.num_channels
        out = bias[:, None, None].repeat(1, height, width)
        for o, i, r, c in itertools.product(range(num_out), range(num_in), range(rows), range(columns)):
            down, right = r - (rows - 1), c - columns // 2
            if not may_see(kind, down, right, o * colours // num_out, i * colours // num_in):
                continue
            for row, column in itertools.product(range(-down, height), range(width)):
                if 0 <= column + right < width:
                    out[o, row, column] += weight[o, i, r, c] * maps[i, row + down, column + right]
        return out

    def logits(self, image: Tensor, condition: Tensor | None = None) -> Tensor:
        """`[channel, logit, height, width]` of one image."""
        maps = self.convolve("first", 2 * image - 1, "A")
        outputs = []
        for i in range(self.config.num_layers):
            inner = self.convolve(f"blocks.{i}.reduce", maps.relu())
            inner = self.convolve(f"blocks.{i}.look", inner.relu())
            if condition is not None:
                inner = inner + torch.einsum(
                    "oc,crp->orp", self.weights[f"blocks.{i}.condition.weight"][:, :, 0, 0], condition
                )
            maps = maps + self.convolve(f"blocks.{i}.expand", inner.relu())
            outputs.append(maps)
        if self.config.skip:
            for i, output in enumerate(outputs):
                maps = maps + self.convolve(f"skips.{i}", output)
        for i in (1, 3, 5):
            maps = self.convolve(f"head.{i}", maps.relu())
        return maps.view(self.config.num_channels, -1, *image.shape[1:])


def receptive_field(height: int, width: int, num_colours: int, num_layers: int) -> Tensor:
    """`[value, value]`: whether the logits of the first may depend on the second; values in raster order, R, G, B.

    One 7x7 of mask A, then a 3x3 of mask B a block. This is not all before it: far to the right above is a blind spot.
    """
    places = list(itertools.product(range(height), range(width), range(num_colours)))

    def one_layer(kind: str, reach: int) -> Tensor:
        return torch.tensor(
            [
                [
                    abs(r2 - r) <= reach and abs(c2 - c) <= reach and may_see(kind, r2 - r, c2 - c, k, k2)
                    for r2, c2, k2 in places
                ]
                for r, c, k in places
            ]
        )

    seen = one_layer("A", 3).long()
    for _ in range(num_layers):
        seen = (one_layer("B", 1).long() @ seen).clamp(max=1)
    return seen.bool()
