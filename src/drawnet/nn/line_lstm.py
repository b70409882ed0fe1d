"""An LSTM that walks over an image line by line, all pixels of a line at once (van den Oord et al. 2016, section 3).

The lines are the rows of the image (Row LSTM) or its diagonals (Diagonal BiLSTM). Pixels are kept in the order of the
lines, as `[feature, pixel, batch]`: a line is then a slice of columns, and no place is spent on the corners of a
skewed map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Copy:
    """The pixels `start..stop` have their previous state from as many pixels that begin at `source`."""

    start: int
    stop: int
    source: int

    def columns(self, batch: int) -> tuple[slice, slice]:
        """To where and from where, where a pixel is `batch` columns."""
        size = self.stop - self.start
        return slice(self.start * batch, self.stop * batch), slice(self.source * batch, (self.source + size) * batch)


@dataclass(frozen=True)
class Lines:
    """An image cut into lines, and what every pixel sees of the line before.

    Attributes:
        kind: "row" or "diagonal".
        height: of the image, in pixels.
        width: of the image, in pixels.
        order: raster index of every pixel, in the order of the lines.
        sizes: pixels of every line.
        copies: for every line and tap, where the previous states come from; None where no pixel has one.
        initial: for every tap, the pixels that see the learned initial state there. A pixel with neither sees zeros.
            The last tap is the one whose cell is carried on.
    """

    kind: Literal["row", "diagonal"]
    height: int
    width: int
    order: Int64[Tensor, "pixel"]
    sizes: tuple[int, ...]
    copies: tuple[tuple[Copy | None, ...], ...]
    initial: Bool[Tensor, "tap pixel"]

    @property
    def inverse(self) -> Int64[Tensor, "pixel"]:
        """Place in the order of the lines of every raster index."""
        return self.order.argsort()


def row_lines(height: int, width: int) -> Lines:
    """Rows. Taps: up left, up right, up. Above the image stands the initial state, beside it zeros (section 3.1)."""
    copies: list[tuple[Copy | None, ...]] = [(None, None, None)]
    for start in range(width, height * width, width):
        above, stop = start - width, start + width
        side = (Copy(start + 1, stop, above), Copy(start, stop - 1, above + 1)) if width > 1 else (None, None)
        copies.append((*side, Copy(start, stop, above)))
    initial = torch.zeros(3, height * width, dtype=torch.bool)
    initial[0, 1:width] = initial[1, : width - 1] = initial[2, :width] = True
    return Lines("row", height, width, torch.arange(height * width), (width,) * height, tuple(copies), initial)


def diagonal_lines(height: int, width: int) -> Lines:
    """Diagonals from the top left corner: line d has the pixels (i, d - i), from the top down. Taps: up, left.

    Every neighbour outside the image is the initial state, so that nothing comes out of the skewed map's corners.
    """
    order, sizes, copies, start, before = [], [], [], 0, range(0)
    initial = torch.ones(2, height * width, dtype=torch.bool)
    for d in range(height + width - 1):
        rows = range(max(0, d - width + 1), min(d, height - 1) + 1)
        line: list[Copy | None] = []
        for tap, shift in enumerate((1, 0)):  # pixel i sees pixel i - shift of the diagonal before
            first, stop = max(rows.start, before.start + shift), min(rows.stop, before.stop + shift)
            if first < stop:
                at = start + first - rows.start
                line.append(Copy(at, at + stop - first, start - len(before) + first - shift - before.start))
                initial[tap, at : at + stop - first] = False
            else:
                line.append(None)
        order += [i * width + d - i for i in rows]
        sizes.append(len(rows))
        copies.append(tuple(line))
        start, before = start + len(rows), rows
    return Lines("diagonal", height, width, torch.tensor(order), tuple(sizes), tuple(copies), initial)


def line_lstm(
    x: Float[Tensor, "direction feature pixel batch"],
    input_to_state: Float[Tensor, "direction four_hidden feature"],
    bias: Float[Tensor, "direction four_hidden"],
    state_to_state: Float[Tensor, "direction four_hidden tap_hidden"],
    initial: Float[Tensor, "state direction hidden"],
    lines: Lines,
) -> Float[Tensor, "direction hidden pixel batch"]:
    """Hidden states of all pixels, eq. (3), several directions side by side:

        [o, f, i, g] = [sigma, sigma, sigma, tanh](K_ss * h_{i-1} + K_is * x_i)
        c_i = f c_{i-1} + i g,    h_i = o tanh(c_i)

    Args:
        x: everything a pixel's input-to-state map looks at, pixels in the order of `lines`.
        input_to_state: K_is, to the four gates one after the other.
        bias: of the gates.
        state_to_state: K_ss; its columns are the taps of `lines`, `hidden` features each.
        initial: h_0 and c_0.
        lines: the walk. A pixel's c_{i-1} is that of its last tap.
    """
    weight = torch.cat([input_to_state, state_to_state], 2)
    return _LineLSTM.apply(x, weight, bias, initial, lines)


class _LineLSTM(torch.autograd.Function):
    """The walk with its derivative written by hand. Each line's numbers stay in the processor's cache."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, initial: Tensor, lines: Lines) -> Tensor:
        directions, num_features, pixels, batch = x.shape
        hidden = initial.shape[2]
        taps = len(lines.initial)
        # One column a pixel and image. Inputs: x, then h of every tap, then c of the last tap. States: h, then c.
        inputs = x.new_empty(directions, num_features + (taps + 1) * hidden, pixels * batch)
        inputs[:, :num_features] = x.flatten(2)
        previous = inputs[:, num_features:]
        previous.unflatten(2, (pixels, batch))[:] = _initial_states(initial, lines)[..., None]
        gates = x.new_empty(directions, 4 * hidden, pixels * batch)
        states = x.new_empty(directions, 2 * hidden, pixels * batch)
        tanh_c = x.new_empty(directions, hidden, pixels * batch)
        columns = [size * batch for size in lines.sizes]
        views = zip(
            lines.copies,
            inputs[:, :-hidden].split(columns, 2),
            inputs[:, -hidden:].split(columns, 2),
            gates.split(columns, 2),
            gates[:, : 3 * hidden].split(columns, 2),
            *(gate.split(columns, 2) for gate in gates.split(hidden, 1)),
            *(state.split(columns, 2) for state in states.split(hidden, 1)),
            tanh_c.split(columns, 2),
            strict=True,
        )
        offset = bias[:, :, None]
        for copies, line, c_before, gate, sigmoids, o, f, i, g, h, c, tanh in views:
            for tap, copy in enumerate(copies):
                if copy is not None:
                    features = 2 * hidden if tap == taps - 1 else hidden  # the last tap takes h and c
                    here, there = copy.columns(batch)
                    previous[:, tap * hidden : tap * hidden + features, here] = states[:, :features, there]
            torch.baddbmm(offset, weight, line, out=gate)
            sigmoids.sigmoid_()
            g.tanh_()
            torch.mul(f, c_before, out=c)
            c.addcmul_(i, g)
            torch.tanh(c, out=tanh)
            torch.mul(o, tanh, out=h)
        ctx.lines = lines
        ctx.save_for_backward(weight, inputs, gates, tanh_c)
        return states[:, :hidden].view(directions, hidden, pixels, batch)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        weight, inputs, gates, tanh_c = ctx.saved_tensors
        lines: Lines = ctx.lines
        (d_hidden,) = grad_outputs
        directions, hidden, pixels, batch = d_hidden.shape
        taps = len(lines.initial)
        num_features = weight.shape[2] - taps * hidden
        d_h = d_hidden.flatten(2).clone()  # of a line whole once the lines after it are done
        d_c = torch.zeros_like(d_h)
        d_x = inputs.new_empty(directions, num_features, pixels * batch)
        d_gates = torch.empty_like(gates)  # before sigma and tanh
        d_weight = torch.zeros_like(weight)
        to_x, *to_taps = weight.transpose(1, 2).contiguous().split([num_features] + [hidden] * taps, 1)
        f_all = gates[:, hidden : 2 * hidden]
        sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
        tanh_backward = torch.ops.aten.tanh_backward.grad_input
        columns = [size * batch for size in lines.sizes]
        views = zip(
            lines.copies,
            inputs[:, :-hidden].transpose(1, 2).split(columns, 1),
            inputs[:, -hidden:].split(columns, 2),
            *(gate.split(columns, 2) for gate in gates.split(hidden, 1)),
            tanh_c.split(columns, 2),
            d_gates.split(columns, 2),
            d_gates[:, hidden:].unflatten(1, (3, hidden)).split(columns, 3),
            *(gate.split(columns, 2) for gate in d_gates.split(hidden, 1)),
            d_h.split(columns, 2),
            d_c.split(columns, 2),
            d_x.split(columns, 2),
            strict=True,
        )
        for copies, line, c_before, o, f, i, g, tanh, d_gate, d_fig, d_o, d_f, d_i, d_g, dh, dc, dx in reversed(
            list(views)
        ):
            tanh_backward(o, tanh, grad_input=d_g)  # for a moment, what takes dh to dc
            dc.addcmul_(dh, d_g)
            sigmoid_backward(tanh, o, grad_input=d_o)
            sigmoid_backward(c_before, f, grad_input=d_f)
            sigmoid_backward(g, i, grad_input=d_i)
            tanh_backward(i, g, grad_input=d_g)
            d_o.mul_(dh)
            d_fig.mul_(dc[:, None])
            torch.bmm(to_x, d_gate, out=dx)
            d_weight.baddbmm_(d_gate, line)
            for tap, copy in enumerate(copies):
                if copy is not None:
                    here, there = copy.columns(batch)
                    d_h[:, :, there].baddbmm_(to_taps[tap], d_gates[:, :, here])
                    if tap == taps - 1:
                        torch.mul(d_c[:, :, here], f_all[:, :, here], out=d_c[:, :, there])
        sums = d_gates.view(directions, 4 * hidden, pixels, batch).sum(3)
        starts = lines.initial.to(sums)  # [tap, pixel]
        d_h_0 = torch.stack([back @ sums @ start for back, start in zip(to_taps, starts, strict=True)]).sum(0)
        d_c_0 = (d_c * f_all).view(directions, hidden, pixels, batch).sum(3) @ starts[-1]
        d_initial = torch.stack([d_h_0, d_c_0])
        return d_x.view(directions, num_features, pixels, batch), d_weight, sums.sum(2), d_initial, None


def _initial_states(initial: Tensor, lines: Lines) -> Tensor:
    """`[direction, (tap + 1) hidden, pixel]`: the initial state where it is seen, else zeros."""
    h_0, c_0 = initial
    seen = torch.cat([lines.initial, lines.initial[-1:]]).to(initial)  # [tap + 1, pixel]
    values = torch.stack([h_0] * len(lines.initial) + [c_0], 1)  # [direction, tap + 1, hidden]
    return torch.einsum("dth,tp->dthp", values, seen).flatten(1, 2)


def reorder(
    x: Float[Tensor, "feature pixel batch"], index: Int64[Tensor, "pixel"], inverse: Int64[Tensor, "pixel"]
) -> Float[Tensor, "feature pixel batch"]:
    """`x[:, index]` for an index that takes every pixel once, and its inverse."""
    return _Reorder.apply(x, index, inverse)


class _Reorder(torch.autograd.Function):
    """The derivative of a reordering is a reordering, much faster than the sum that indexing has in general."""

    @staticmethod
    def forward(ctx, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(1, index)

    @staticmethod
    def backward(ctx, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return _Reorder.apply(grad_outputs[0], inverse, index), None, None
