"""PixelRNN in slow loops over pixels, written from the paper: no skewed map, no line, no shared code."""

from __future__ import annotations

import torch
from torch import Tensor

from drawnet.models.pixelrnn import PixelRNN
from drawnet.models.pixelrnn_layer import LSTMLayer
from drawnet.nn.masks import MaskedConv2d

Grid = list[list[Tensor]]  # [row][column] -> [batch, feature]


class SlowPixelRNN:
    """The logits of a PixelRNN's parameters, and the map of a single layer."""

    def __init__(self, model: PixelRNN) -> None:
        self.model = model
        self.config = model.config

    def logits(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`[batch, channel, logit, height, width]`."""
        model = self.model
        maps = self.convolve(model.first, grid_of(2 * x - 1), "A")
        conditions = None if condition is None else grid_of(condition)
        total = None
        for i, layer in enumerate(model.layers):
            maps = self.layer(layer, maps, conditions)
            if self.config.skip:
                skip = self.convolve(model.skips[i], maps, "B")
                total = skip if total is None else add(total, skip)
        out = maps if total is None else add(total, maps)
        for module in model.head:
            if isinstance(module, MaskedConv2d):
                out = self.convolve(module, [[pixel.clamp(min=0) for pixel in row] for row in out], "B")
        image = torch.stack([torch.stack(row, -1) for row in out], -2)
        return image.unflatten(1, (self.config.num_channels, -1))

    def layer(self, layer: LSTMLayer, x: Grid, condition: Grid | None = None) -> Grid:
        """x + up(LSTM(x)), the residual added once (section 3.3)."""
        height, width = len(x), len(x[0])
        num_parts = 4 if self.config.layer == "row" else 8
        gates = self.convolve(layer.input_to_state, x, "B", num_parts)
        if condition is not None:
            weight = layer.condition.weight[:, :, 0, 0]
            gates = [[gates[i][j] + condition[i][j] @ weight.T for j in range(width)] for i in range(height)]
        if self.config.layer == "row":
            hidden = self.row_lstm(layer, gates)
        else:
            four_h = gates[0][0].shape[1] // 2
            hidden = self.diagonal_lstm(layer, 0, [[gate[:, :four_h] for gate in row] for row in gates], leftmost=True)
            right = self.diagonal_lstm(layer, 1, [[gate[:, four_h:] for gate in row] for row in gates], leftmost=False)
            for i in range(1, height):  # one row down
                hidden[i] = [hidden[i][j] + right[i - 1][j] for j in range(width)]
        return add(x, self.convolve(layer.up, hidden, "B"))

    def row_lstm(self, layer: LSTMLayer, gates: Grid) -> Grid:
        """Section 3.1: the state-to-state kernel covers three pixels of the row above; beside the image are zeros."""
        height, width = len(gates), len(gates[0])
        h_0, c_0 = (state[0].expand(len(gates[0][0]), -1) for state in layer.initial)
        left, right, up = layer.state_to_state[0].chunk(3, 1)
        hidden, cells = [], []
        for i in range(height):
            above_h = hidden[i - 1] if i > 0 else [h_0] * width
            above_c = cells[i - 1] if i > 0 else [c_0] * width
            hidden.append([])
            cells.append([])
            for j in range(width):
                z = gates[i][j] + above_h[j] @ up.T
                if j > 0:
                    z = z + above_h[j - 1] @ left.T
                if j < width - 1:
                    z = z + above_h[j + 1] @ right.T
                h, c = lstm(z, above_c[j])
                hidden[i].append(h)
                cells[i].append(c)
        return hidden

    def diagonal_lstm(self, layer: LSTMLayer, direction: int, gates: Grid, leftmost: bool) -> Grid:
        """Section 3.2: a pixel sees its upper neighbour and the one it is walked to from, left or right."""
        height, width = len(gates), len(gates[0])
        h_0, c_0 = (state[direction].expand(len(gates[0][0]), -1) for state in layer.initial)
        from_above, from_side = layer.state_to_state[direction].chunk(2, 1)
        hidden: dict[tuple[int, int], Tensor] = {}
        cells: dict[tuple[int, int], Tensor] = {}
        for i in range(height):
            for j in range(width) if leftmost else reversed(range(width)):
                side = (i, j - 1) if leftmost else (i, j + 1)
                z = gates[i][j] + hidden.get((i - 1, j), h_0) @ from_above.T + hidden.get(side, h_0) @ from_side.T
                hidden[i, j], cells[i, j] = lstm(z, cells.get(side, c_0))
        return [[hidden[i, j] for j in range(width)] for i in range(height)]

    def convolve(self, conv: MaskedConv2d, x: Grid, kind: str, num_parts: int = 1) -> Grid:
        """The masked convolution of section 3.4, tap by tap; its weight has no rows below the centre."""
        height, width = len(x), len(x[0])
        num_out, num_in, kernel_height, kernel_width = conv.weight.shape
        colours = self.config.num_channels
        out: Grid = [[conv.bias.expand(len(x[0][0]), -1) for _ in range(width)] for _ in range(height)]
        for r in range(kernel_height):
            for s in range(kernel_width):
                down, right = r - (kernel_height - 1), s - kernel_width // 2
                if down == 0 and right > 0:
                    continue
                weight = conv.weight[:, :, r, s]
                if down == right == 0:
                    own = torch.tensor([colour(f, num_out, colours, num_parts) for f in range(num_out)])[:, None]
                    other = torch.tensor([colour(f, num_in, colours) for f in range(num_in)])[None]
                    weight = torch.where(other < own if kind == "A" else other <= own, weight, 0.0)
                for i in range(max(0, -down), height):
                    for j in range(max(0, -right), min(width, width - right)):
                        out[i][j] = out[i][j] + x[i + down][j + right] @ weight.T
        return out


def lstm(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (3)."""
    o, f, i, g = z.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def colour(feature: int, num_features: int, num_colours: int, num_parts: int = 1) -> int:
    """R, G, B in equal shares of every part."""
    part = num_features // num_parts
    return feature % part * num_colours // part


def grid_of(x: Tensor) -> Grid:
    """`[batch, feature, height, width]` pixel by pixel."""
    return [[x[:, :, i, j] for j in range(x.shape[3])] for i in range(x.shape[2])]


def add(a: Grid, b: Grid) -> Grid:
    """Sum, pixel by pixel."""
    return [[p + q for p, q in zip(r, s, strict=True)] for r, s in zip(a, b, strict=True)]
