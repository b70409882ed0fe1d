"""The layer of a PixelRNN: Row LSTM or Diagonal BiLSTM (van den Oord et al. 2016, sections 3.1 to 3.3)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from drawnet.nn.line_lstm import Lines, line_lstm, reorder
from drawnet.nn.masks import MaskedConv2d


class LSTMLayer(nn.Module):
    """A residual layer of a PixelRNN (sections 3.1 to 3.3): 2h feature maps in and out, eq. (3) on h between them.

    Row LSTM: one direction. The rows are walked from the top; the input-to-state map is a masked 1 x 3 convolution
    along the row, the state-to-state map a convolution of size 3 over the row above. Above the image stands the
    learned initial state, left and right of it zeros.

    Diagonal BiLSTM: two directions. The diagonals are walked from the top left corner, a pixel sees the states of
    its left and upper neighbour and carries on the left one's cell. Every neighbour outside the image is in the
    learned initial state. The second direction does the same on the mirrored image; its map is mirrored back and
    shifted down by one row before it is added to the first one's, so that it shows no pixel the future.

    Args:
        lines: rows or diagonals of the image.
        hidden_size: h.
        num_colours: 1 or 3.
        num_condition_maps: maps whose 1x1 convolution, not masked, is added to the input-to-state map; 0 for none.
    """

    mirror: Tensor
    above: Tensor
    below: Tensor
    not_first_row: Tensor

    def __init__(self, lines: Lines, hidden_size: int, num_colours: int, num_condition_maps: int = 0) -> None:
        super().__init__()
        hidden, maps = hidden_size, num_condition_maps
        self.lines = lines
        self.directions = 1 if lines.kind == "row" else 2
        kernel_size = (1, 3) if self.directions == 1 else (1, 1)
        num_gates = 4 * self.directions
        self.input_to_state = MaskedConv2d(2 * hidden, num_gates * hidden, kernel_size, "B", num_colours, num_gates)
        taps = len(lines.initial)
        bound = 1 / math.sqrt(taps * hidden)  # as torch's layers; the bias is in the input-to-state map
        self.state_to_state = nn.Parameter(
            torch.empty(self.directions, 4 * hidden, taps * hidden).uniform_(-bound, bound)
        )
        self.initial = nn.Parameter(torch.zeros(2, self.directions, hidden))  # h_0, c_0
        self.up = MaskedConv2d(hidden, 2 * hidden, 1, "B", num_colours)
        self.condition = nn.Conv2d(maps, num_gates * hidden, 1, bias=False) if maps else None
        if self.directions == 2:
            row, column = lines.order // lines.width, lines.order % lines.width
            mirrored = lines.width - 1 - column
            mirror = lines.inverse[row * lines.width + mirrored]
            above = lines.inverse[(row - 1) % lines.height * lines.width + mirrored]  # in the mirrored image
            self.register_buffer("mirror", mirror, persistent=False)
            self.register_buffer("above", above, persistent=False)
            self.register_buffer("below", above.argsort(), persistent=False)
            self.register_buffer("not_first_row", row > 0, persistent=False)

    def forward(
        self, x: Float[Tensor, "feature pixel batch"], condition: Float[Tensor, "map pixel batch"] | None = None
    ) -> Float[Tensor, "feature pixel batch"]:
        """The next 2h feature maps; pixels in the order of the lines."""
        views = self._views(x)
        weight = self._input_to_state()
        if self.condition is not None:
            assert condition is not None
            views = torch.cat([views, self._mirrored(condition)], 1)
            weight = torch.cat([weight, self.condition.weight.view(self.directions, -1, condition.shape[0])], 2)
        bias = self.input_to_state.bias.view(self.directions, -1)
        states = line_lstm(views, weight, bias, self.state_to_state, self.initial, self.lines)
        hidden = states[0]
        if self.directions == 2:
            above = reorder(states[1], self.above, self.below)
            hidden = hidden + above * self.not_first_row[:, None]
        return x + pointwise(self.up, hidden)

    def _mirrored(self, x: Tensor) -> Tensor:
        """`[direction, feature, pixel, batch]`: what every direction walks over."""
        if self.directions == 1:
            return x[None]
        return torch.stack([x, reorder(x, self.mirror, self.mirror)])

    def _views(self, x: Tensor) -> Tensor:
        """What a pixel's input-to-state map looks at: for rows also the pixel to the left, the kernel's first tap."""
        if self.directions == 2:
            return self._mirrored(x)
        left = F.pad(x.unflatten(1, (-1, self.lines.width)), (0, 0, 1, 0))[:, :, :-1].flatten(1, 2)
        return torch.cat([left, x])[None]

    def _input_to_state(self) -> Tensor:
        """`[direction, 4 hidden, feature]`: the weight of `_views`."""
        weight = self.input_to_state.masked_weight[:, :, 0]  # [gate, feature, tap]
        if self.directions == 1:
            weight = torch.cat([weight[:, :, 0], weight[:, :, 1]], 1)  # the tap to the right is masked
        return weight.reshape(self.directions, -1, weight.shape[1])


def pointwise(conv: MaskedConv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution of `[feature, pixel, batch]`."""
    weight = conv.masked_weight[:, :, 0, 0]
    return torch.addmm(conv.bias[:, None], weight, x.flatten(1)).view(-1, *x.shape[1:])
