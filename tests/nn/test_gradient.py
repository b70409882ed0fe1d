"""Limits on gradients against loops over rows."""

import math

import pytest
import torch

from drawnet.nn.gradient import limited


def slowly_limited(rows: list[list[float]], times: float) -> list[list[float]]:
    """What `limited` lets through, in Python floats."""
    lengths = [math.hypot(*row) for row in rows]
    limit = times * sorted(lengths)[(len(rows) - 1) // 2]
    return [
        [v * limit / length for v in row] if length > limit > 0 else row
        for row, length in zip(rows, lengths, strict=True)
    ]


def gradient_through(gradient: torch.Tensor, times: float) -> torch.Tensor:
    values = torch.randn_like(gradient).requires_grad_()
    through = limited(values, times)
    assert torch.equal(through, values)
    (through * gradient).sum().backward()
    assert values.grad is not None
    return values.grad


@pytest.mark.parametrize("times", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("num_rows", [1, 4, 7])
def test_no_row_is_longer_than_so_many_times_the_median(num_rows: int, times: float) -> None:
    generator = torch.Generator().manual_seed(num_rows)
    gradient = torch.randn(num_rows, 5, generator=generator, dtype=torch.float64)
    gradient *= 10 ** torch.randn(num_rows, 1, generator=generator, dtype=torch.float64)
    found = gradient_through(gradient, times)
    torch.testing.assert_close(found, torch.tensor(slowly_limited(gradient.tolist(), times), dtype=torch.float64))
    if num_rows == 7:
        assert not torch.equal(found, gradient)


def test_one_row_is_left_alone_and_so_is_everything_where_half_is_zero() -> None:
    alone = torch.tensor([[3e7, -4e7]], dtype=torch.float64)
    assert torch.equal(gradient_through(alone, 1.0), alone)
    half = torch.tensor([[0.0, 0.0], [1e9, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert torch.equal(gradient_through(half, 2.0), half)


def test_what_is_not_finite_does_not_become_finite() -> None:
    gradient = torch.tensor([[1.0, 1.0], [math.inf, 0.0], [math.nan, 0.0]])
    assert not gradient_through(gradient, 2.0).isfinite().all()
