"""The LSTM over lines against a loop over pixels, finite differences, and what a pixel may see."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from drawnet.nn.line_lstm import Lines, diagonal_lines, line_lstm, reorder, row_lines

SIZES = [(1, 1), (1, 4), (4, 1), (2, 4), (4, 3), (3, 3)]
KINDS = {"row": (row_lines, 1, 3), "diagonal": (diagonal_lines, 2, 2)}  # with directions, taps
every_size = pytest.mark.parametrize(("height", "width"), SIZES)
both_kinds = pytest.mark.parametrize("kind", ["row", "diagonal"])


def walk(
    kind: str, height: int, width: int, batch: int = 2, hidden: int = 2, features: int = 3
) -> tuple[list[Tensor], Lines]:
    """Arguments of `line_lstm`, random, and the lines."""
    make_lines, directions, taps = KINDS[kind]
    generator = torch.Generator().manual_seed(height + 10 * width)
    shapes = (
        (directions, features, height * width, batch),
        (directions, 4 * hidden, features),
        (directions, 4 * hidden),
        (directions, 4 * hidden, taps * hidden),
        (2, directions, hidden),
    )
    values = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes]
    return values, make_lines(height, width)


def pixel_by_pixel(kind: str, x, input_to_state, bias, state_to_state, initial, lines: Lines) -> Tensor:
    """`line_lstm`, a pixel at a time in raster order, from the places alone."""
    place = {(n // lines.width, n % lines.width): p for p, n in enumerate(lines.order.tolist())}
    directions, _, _, batch = x.shape
    outputs = []
    for d in range(directions):
        h_0, c_0 = (state[d][:, None].expand(-1, batch) for state in initial)
        zeros = torch.zeros_like(h_0)
        h: dict[tuple[int, int], Tensor] = {}
        c: dict[tuple[int, int], Tensor] = {}
        for i in range(lines.height):
            for j in range(lines.width):
                if kind == "row":
                    outside = h_0 if i == 0 else zeros
                    seen = [h.get((i - 1, j + k), outside) if 0 <= j + k < lines.width else zeros for k in (-1, 1, 0)]
                    c_before = c.get((i - 1, j), c_0)
                else:
                    seen = [h.get((i - 1, j), h_0), h.get((i, j - 1), h_0)]
                    c_before = c.get((i, j - 1), c_0)
                now = input_to_state[d] @ x[d, :, place[i, j]] + bias[d][:, None]
                o, f, u, g = (now + state_to_state[d] @ torch.cat(seen)).chunk(4)
                c[i, j] = torch.sigmoid(f) * c_before + torch.sigmoid(u) * torch.tanh(g)
                h[i, j] = torch.sigmoid(o) * torch.tanh(c[i, j])
        outputs.append(torch.stack([h[n // lines.width, n % lines.width] for n in lines.order.tolist()], 1))
    return torch.stack(outputs)


@every_size
def test_lines_are_rows_or_diagonals(height, width):
    rows, diagonals = row_lines(height, width), diagonal_lines(height, width)
    assert rows.sizes == (width,) * height
    for lines, line_of in ((rows, lambda n: n // width), (diagonals, lambda n: n // width + n % width)):
        assert lines.order.sort().values.tolist() == list(range(height * width))
        assert lines.order[lines.inverse].tolist() == list(range(height * width))
        of_pixels = [line_of(n) for n in lines.order.tolist()]
        assert of_pixels == [d for d, size in enumerate(lines.sizes) for _ in range(size)]
    assert len(diagonals.sizes) == height + width - 1


@both_kinds
@every_size
def test_values_and_gradients_equal_a_loop_over_pixels(kind, height, width):
    values, lines = walk(kind, height, width)
    fast, slow = line_lstm(*values, lines), pixel_by_pixel(kind, *values, lines)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    weights = torch.randn(fast.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(fast, values, weights), torch.autograd.grad(slow, values, weights), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@both_kinds
def test_gradients_equal_finite_differences(kind):
    values, lines = walk(kind, 2, 3, batch=1, features=2)
    assert torch.autograd.gradcheck(lambda *inputs: line_lstm(*inputs, lines), values)


def test_one_pixel_by_hand():
    lines = row_lines(1, 1)
    o, f, i, g, c_0 = 0.3, -0.7, 1.1, -2.0, 0.9
    values = [
        torch.zeros(1, 1, 1, 1),
        torch.ones(1, 4, 1),
        torch.tensor([[o, f, i, g]]),
        torch.zeros(1, 4, 3),
        torch.tensor([[[0.4]], [[c_0]]]),
    ]

    def sigma(v: float) -> float:
        return 1 / (1 + math.exp(-v))

    c = sigma(f) * c_0 + sigma(i) * math.tanh(g)
    assert line_lstm(*values, lines).item() == pytest.approx(sigma(o) * math.tanh(c), abs=1e-6)


@both_kinds
def test_a_pixel_sees_its_triangle_or_its_rectangle(kind):
    height, width = 4, 5
    values, lines = walk(kind, height, width, batch=1)
    jacobian = torch.autograd.functional.jacobian(lambda x: line_lstm(x, *values[1:], lines), values[0])
    depends = (jacobian != 0).any(7).any(5).any(3).any(1)  # [direction, pixel] of h and of x
    row, column = lines.order // width, lines.order % width
    up, left = row[:, None] - row, column[:, None] - column
    triangle = ((up == 0) & (left == 0)) | ((up > 0) & (left.abs() <= up))
    expected = triangle if kind == "row" else (up >= 0) & (left >= 0)
    for d in range(len(jacobian)):
        assert torch.equal(depends[d, :, d], expected)


def test_directions_do_not_mix():
    values, lines = walk("diagonal", 3, 4)
    both = line_lstm(*values, lines)
    for d in range(2):
        alone = [value[d : d + 1] for value in values[:4]] + [values[4][:, d : d + 1]]
        torch.testing.assert_close(line_lstm(*alone, lines)[0], both[d], rtol=0, atol=1e-12)


def test_float32_inputs_of_any_layout():
    values, lines = walk("diagonal", 3, 4)
    x, *others = (value.detach().float() for value in values)
    strided = x.permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)
    assert not strided.is_contiguous()
    result = line_lstm(strided, *others, lines)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), line_lstm(*values, lines), rtol=0, atol=1e-5)


def test_backward_twice_gives_the_same_and_changes_nothing():
    values, lines = walk("diagonal", 3, 4)
    out = line_lstm(*values, lines)
    kept, weights = out.detach().clone(), torch.ones_like(out)
    first = torch.autograd.grad(out, values, weights, retain_graph=True)
    second = torch.autograd.grad(out, values, weights)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(out, kept)
    assert torch.equal(weights, torch.ones_like(out))


def test_reorder_is_indexing():
    index = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    x = torch.arange(42.0, dtype=torch.float64).view(3, 7, 2).requires_grad_()
    assert torch.equal(reorder(x, index, index.argsort()), x[:, index])
    assert torch.autograd.gradcheck(lambda v: reorder(v, index, index.argsort()), x)
