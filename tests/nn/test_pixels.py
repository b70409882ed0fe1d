"""Discrete pixels: sums over all levels, and drawing as the inverse of the distribution function."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from drawnet.nn.pixels import draw_pixels, num_logits, pixel_levels, pixel_nats

LEVELS = [2, 3, 5, 256]


def random_logits(num_levels: int, *shape: int, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(num_levels)
    return scale * torch.randn(*shape, num_logits(num_levels), generator=generator, dtype=torch.float64)


def probabilities(logits: list[float], num_levels: int) -> list[float]:
    """Of every level: a sigmoid of one number, or a softmax."""
    weights = [1.0, math.exp(logits[0])] if num_levels == 2 else [math.exp(v) for v in logits]
    return [w / sum(weights) for w in weights]


def test_number_of_logits():
    assert [num_logits(k) for k in LEVELS] == [1, 3, 5, 256]
    for k in (1, 0):
        with pytest.raises(ValueError, match=f"num_levels is {k}"):
            num_logits(k)


@pytest.mark.parametrize("num_levels", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_every_level_survives_every_dtype(num_levels, dtype):
    levels = torch.arange(num_levels)
    x = (levels.double() / (num_levels - 1)).to(dtype)
    assert torch.equal(pixel_levels(x, num_levels), levels)
    # and other roundings of it, of either sign
    eps = torch.finfo(torch.float32).eps
    for factor in (1 - eps, 1 + eps):
        assert torch.equal(pixel_levels((x.double() * factor).to(dtype), num_levels), levels)


@pytest.mark.parametrize(
    ("value", "num_levels"), [(0.5, 2), (2.0, 2), (-1.0, 2), (0.9, 2), (0.3, 5), (1.25, 5), (0.5, 256)]
)
def test_other_intensities_are_refused(value, num_levels):
    with pytest.raises(ValueError, match=f"x has a value {value:.4g}: .* {num_levels} levels"):
        pixel_levels(torch.tensor([0.0, 1.0, value]), num_levels)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_intensities_that_are_not_numbers_are_refused(value):
    for num_levels in (2, 256):
        with pytest.raises(ValueError, match="x has a value"):
            pixel_levels(torch.tensor([0.0, value]), num_levels)


@pytest.mark.parametrize("num_levels", LEVELS)
def test_nats_equal_the_slow_loops_and_sum_to_one(num_levels):
    logits = random_logits(num_levels, 2, 3, 2, 2).movedim(-1, 2)
    total = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    for level in range(num_levels):
        x = torch.full((2, 3, 2, 2), level / (num_levels - 1), dtype=torch.float64)
        nats = pixel_nats(logits, x, num_levels)
        total += (-nats).exp()
        for index in [(0, 0, 0, 0), (1, 2, 0, 1), (1, 0, 1, 0)]:
            m, c, r, a = index
            expected = -math.log(probabilities(logits[m, c, :, r, a].tolist(), num_levels)[level])
            assert nats[index].item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_levels", LEVELS)
def test_every_value_meets_its_own_logits(num_levels):
    """Colours, rows and columns do not change places on the way from logits to nats."""
    shape = (2, 3, 2, 4)
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(num_levels, shape, generator=generator)
    weights = torch.randn(shape, generator=generator, dtype=torch.float64)
    if num_levels == 2:
        logits = (weights * (2 * levels - 1))[:, :, None]
    else:
        logits = torch.zeros(2, 3, num_levels, 2, 4, dtype=torch.float64)
        logits.scatter_(2, levels[:, :, None], weights[:, :, None])
    nats = pixel_nats(logits, levels.double() / (num_levels - 1), num_levels)
    torch.testing.assert_close(nats, -(weights.exp() / (weights.exp() + num_levels - 1)).log())


@pytest.mark.parametrize("num_levels", LEVELS)
def test_drawing_inverts_the_distribution_function(num_levels):
    """Over an even grid of uniforms every level comes as often as its probability says."""
    num = 20_000
    uniform = ((torch.arange(num) + 0.5) / num).double()
    for logits in random_logits(num_levels, 3):
        x = draw_pixels(logits.expand(num, -1), uniform, num_levels)
        counts = torch.bincount(pixel_levels(x, num_levels), minlength=num_levels)
        expected = torch.tensor(probabilities(logits.tolist(), num_levels), dtype=torch.float64)
        assert (counts / num - expected).abs().max() <= 1.01 / num


@pytest.mark.parametrize("num_levels", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_uniforms_draw_a_level(num_levels, dtype):
    logits = random_logits(num_levels, 500, scale=5).to(dtype)
    for value in (0.0, 1 - torch.finfo(dtype).eps / 2):
        x = draw_pixels(logits, torch.full((500,), value, dtype=dtype), num_levels)
        assert x.dtype == dtype
        assert ((x >= 0) & (x <= 1)).all()
        pixel_levels(x, num_levels)
