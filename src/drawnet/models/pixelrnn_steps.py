"""A PixelRNN one pixel at a time: everything that does not change is computed once and kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from drawnet.models.pixelrnn_layer import LSTMLayer
from drawnet.nn.masks import MaskedConv2d


class PixelRNNSteps:
    """The logits of a PixelRNN along the raster, equal to those of the whole network.

    A value needs one column of every layer. What the states of the row above add to the gates is computed a row at a
    time and for all layers at once, as is the right-hand direction of that row, which is then known to its end; what
    the pixel to the left adds, once a pixel.

    Args:
        first: the 7x7 convolution.
        layers: the LSTM layers.
        skips: one 1x1 convolution a layer, or none.
        head: the layers after the last of them.
        condition: `[batch, map, height, width]`, or None.
    """

    @torch.no_grad()
    def __init__(
        self,
        first: MaskedConv2d,
        layers: list[LSTMLayer],
        skips: list[MaskedConv2d],
        head: nn.Sequential,
        condition: Tensor | None = None,
    ) -> None:
        # Matrices are [input, output], for products from the right, all layers stacked.
        self.first_weight, self.first_bias = first.masked_weight, first.bias
        here = self.first_weight[:, :, -1]  # [out, channel, column], the row of the pixel itself
        middle = here.shape[2] // 2
        self.from_row = [here[:, :, middle - n : middle + 1].flatten(1).t().contiguous() for n in range(middle + 1)]

        directions = self.directions = layers[0].directions
        self.initial = torch.stack([layer.initial for layer in layers])  # [layer, state, direction, h]
        states = torch.stack(
            [layer.state_to_state.transpose(1, 2) for layer in layers]
        )  # [layer, direction, tap h, 4h]
        inputs = torch.stack([layer.input_to_state.masked_weight[:, :, 0] for layer in layers])
        bias = torch.stack([layer.input_to_state.bias for layer in layers]).unflatten(1, (directions, -1))
        self.bias = bias[:, :, None, None]  # [layer, direction, 1, 1, 4h]
        if directions == 1:
            self.from_above = states[:, 0]
            self.from_left, now = inputs[:, :, :, :2].transpose(1, 2).unbind(3)
        else:
            hidden = self.initial.shape[3]
            now, self.now_right = inputs[:, :, :, 0].unflatten(1, (2, -1)).transpose(2, 3).unbind(1)
            self.from_above, self.above_right = states[:, :, :hidden].unbind(1)
            self.from_left, self.side_right = states[:, :, hidden:].unbind(1)
        self.now = now.contiguous().unbind(0)
        up = [_matrix(layer.up) for layer in layers]
        self.up, self.up_bias = torch.stack([weight for weight, _ in up]), torch.stack([bias for _, bias in up])
        self.ups = self.up.unbind(0)
        self.skip = [_matrix(skip) for skip in skips]
        heads = [layer for layer in head if isinstance(layer, MaskedConv2d)]
        self.head = [_matrix(layer) for layer in heads[:-1]]
        weight, out_bias = _matrix(heads[-1])
        colours = first.weight.shape[1]
        self.out = list(zip(weight.chunk(colours, 1), out_bias.chunk(colours), strict=True))
        self.conditions = None
        if condition is not None:  # [layer, direction, height, width, batch, 4h]
            maps = torch.stack([layer.condition(condition) for layer in layers if layer.condition is not None])
            self.conditions = maps.unflatten(2, (directions, -1)).permute(0, 2, 4, 5, 1, 3)

    @torch.no_grad()
    def start_row(self, x: Tensor, row: int) -> None:
        """What the rows above add to every column of the first layer, the gates and the layers' outputs."""
        batch, width = len(x), x.shape[3]
        *_, rows, columns = self.first_weight.shape
        above = x.new_zeros(batch, x.shape[1], rows - 1, width)
        num_rows = min(row, rows - 1)
        if num_rows:
            above[:, :, -num_rows:] = 2 * x[:, :, row - num_rows : row] - 1
        maps = F.conv2d(above, self.first_weight[:, :, :-1], self.first_bias, padding=(0, columns // 2))
        self.first_above = maps[:, :, 0].permute(2, 0, 1).contiguous()  # [width, batch, 2h]

        # h_0 and c_0 of every direction for a row, [layer, width, batch, h].
        start = self.initial[:, :, :, None, None].expand(-1, -1, -1, width, batch, -1)
        if row == 0:
            h_above, c_above = start[:, :, 0].unbind(1)
            self.right = start[:, 0, -1]
            up_above = self.up_bias[:, None, None].expand(-1, width, batch, -1)
        else:
            h_above, c_above = self.hidden[:, 1:], self.cells[:, 1:]
            up_above = self.up_bias[:, None, None].expand(-1, width, batch, -1)
            if self.directions == 2:
                self.right = self._right_of_row(start[:, :, 1, 0], row - 1)
                up_above = up_above + _product(self.right, self.up)
        self.up_above = up_above
        if self.directions == 1:
            padded = F.pad(h_above, (0, 0, 0, 0, 1, 1))  # zeros beside the row
            h_above = torch.cat([padded[:, :-2], padded[:, 2:], padded[:, 1:-1]], 3)
        self.above = _product(h_above, self.from_above) + self.bias[:, 0]
        if self.conditions is not None:
            self.above += self.conditions[:, 0, row]

        # The row itself, one place to the right: on place 0 is what stands left of it.
        self.inputs = F.pad(torch.zeros_like(up_above), (0, 0, 0, 0, 1, 0))
        self.hidden, self.cells = (F.pad(state, (0, 0, 0, 0, 1, 0)) for state in start[:, :, 0].unbind(1))
        if self.directions == 1:
            self.seen, self.cells_before = self.inputs, c_above
        else:
            self.hidden[:, 0], self.cells[:, 0] = start[:, :, 0, 0].unbind(1)
            self.seen, self.cells_before = self.hidden, self.cells

    def _right_of_row(self, start: Tensor, row: int) -> Tensor:
        """h of the right-hand direction along the row just finished, `[layer, width, batch, h]`."""
        gates = _product(self.inputs[:, 1:], self.now_right) + _product(self.right, self.above_right) + self.bias[:, 1]
        if self.conditions is not None:
            gates += self.conditions[:, 1, row]
        h, c = start.unbind(1)
        right = torch.empty_like(self.right)
        for column in reversed(range(right.shape[1])):
            h, c = _lstm(torch.baddbmm(gates[:, column], h, self.side_right), c)
            right[:, column] = h
        return right

    @torch.no_grad()
    def logits(self, x: Tensor, row: int, column: int, channel: int) -> Tensor:
        """See `PixelSteps`. A later colour runs the column again and writes over what an earlier one kept."""
        if channel == 0:
            gates = torch.baddbmm(self.above[:, column], self.seen[:, column], self.from_left)
            kept = (part[:, column + 1].unbind(0) for part in (self.inputs, self.hidden, self.cells))
            before, up = self.cells_before[:, column].unbind(0), self.up_above[:, column].unbind(0)
            self.column = list(zip(gates.unbind(0), before, up, *kept, self.now, self.ups, strict=True))
        reach = min(column, len(self.from_row) - 1)
        pixels = x[:, :, row, column - reach : column + 1].flatten(1)
        maps = torch.addmm(self.first_above[column], 2 * pixels - 1, self.from_row[reach])
        skipped = []
        for i, (gates, before, up_above, kept_input, kept_h, kept_c, now, up) in enumerate(self.column):
            kept_input.copy_(maps)
            h, c = _lstm(torch.addmm(gates, maps, now), before)
            kept_h.copy_(h)
            kept_c.copy_(c)
            maps = torch.addmm(up_above, h, up).add_(maps)
            if self.skip:
                weight, bias = self.skip[i]
                skipped.append(torch.addmm(bias, maps, weight))
        maps = sum(skipped, maps)
        for weight, bias in (*self.head, self.out[channel]):
            maps = torch.addmm(bias, torch.relu(maps), weight)
        return maps


def _lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """h and c of eq. (3), from the gates before sigma and tanh (overwritten) and the cell before."""
    hidden = c.shape[-1]
    o, f, i = gates[..., : 3 * hidden].sigmoid_().split(hidden, -1)
    c = torch.addcmul(f * c, i, gates[..., 3 * hidden :].tanh_())
    return o * c.tanh(), c


def _product(maps: Tensor, weight: Tensor) -> Tensor:
    """`[layer, width, batch, in]` times `[layer, in, out]`."""
    return torch.bmm(maps.flatten(1, 2), weight).unflatten(1, maps.shape[1:3])


def _matrix(layer: MaskedConv2d) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix `[in, out]` and a bias."""
    return layer.masked_weight[:, :, 0, 0].t().contiguous(), layer.bias
