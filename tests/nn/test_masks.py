"""Masked convolutions against the definition of the masks, pixel by pixel and colour by colour."""

from __future__ import annotations

import itertools

import pytest
import torch

from drawnet.nn.masks import MaskedConv2d, causal_mask, colour_groups

from .slow_masks import may_see, slow_convolution

SIZES = [
    pytest.param("A", 1, 4, 7, 1, 1, id="A-7x7"),
    pytest.param("A", 3, 7, (5, 3), 3, 1, id="A-5x3-rgb"),
    pytest.param("B", 4, 3, 3, 1, 1, id="B-3x3"),
    pytest.param("B", 7, 4, 3, 3, 1, id="B-3x3-rgb"),
    pytest.param("B", 5, 16, (1, 3), 3, 4, id="B-1x3-rgb-four-gates"),
    pytest.param("B", 6, 3, 1, 3, 1, id="B-1x1-rgb"),
]
every_size = pytest.mark.parametrize(("kind", "num_in", "num_out", "kernel_size", "colours", "parts"), SIZES)


def test_colour_groups_by_hand():
    assert colour_groups(3, 3).tolist() == [0, 1, 2]
    assert colour_groups(4, 1).tolist() == [0, 0, 0, 0]
    assert colour_groups(6, 3).tolist() == [0, 0, 1, 1, 2, 2]
    assert colour_groups(12, 3, num_parts=2).tolist() == [0, 0, 1, 1, 2, 2] * 2
    for num_features in range(3, 20):  # not divisible: in order, no colour without maps, none with two more
        groups = colour_groups(num_features, 3)
        counts = torch.bincount(groups)
        assert groups.tolist() == sorted(groups.tolist())
        assert len(counts) == 3
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("num_features", "num_colours", "num_parts"), [(2, 3, 1), (7, 1, 2), (8, 3, 4)])
def test_features_that_cannot_be_shared_out_are_refused(num_features, num_colours, num_parts):
    with pytest.raises(ValueError, match=f"num_features is {num_features}"):
        colour_groups(num_features, num_colours, num_parts)


@pytest.mark.parametrize("size", [(2, 3), (3, 2), (4, 4)])
def test_even_kernels_are_refused(size):
    with pytest.raises(ValueError, match="kernel_size is"):
        causal_mask("B", colour_groups(1, 1), colour_groups(1, 1), size)


@pytest.mark.parametrize("kind", ["A", "B"])
def test_masks_by_hand(kind):
    one = colour_groups(1, 1)
    centre = int(kind == "B")
    assert causal_mask(kind, one, one, (5, 3))[0, 0].int().tolist() == [[1, 1, 1], [1, 1, 1], [1, centre, 0]]
    rgb = colour_groups(3, 3)
    own = causal_mask(kind, rgb, rgb, (1, 1))[:, :, 0, 0].int().tolist()  # [out][in]
    assert own == {"A": [[0, 0, 0], [1, 0, 0], [1, 1, 0]], "B": [[1, 0, 0], [1, 1, 0], [1, 1, 1]]}[kind]


def layer_of(kind, num_in, num_out, kernel_size, colours, parts):
    torch.manual_seed(0)
    return MaskedConv2d(num_in, num_out, kernel_size, kind, colours, parts).double()


@every_size
def test_mask_is_the_order_of_pixels_and_colours(kind, num_in, num_out, kernel_size, colours, parts):
    layer = layer_of(kind, num_in, num_out, kernel_size, colours, parts)
    _, _, rows, columns = layer.mask.shape
    part = num_out // parts
    for o, i, r, c in itertools.product(range(num_out), range(num_in), range(rows), range(columns)):
        seer, seen = (o % part) * colours // part, i * colours // num_in
        assert layer.mask[o, i, r, c] == may_see(kind, r - (rows - 1), c - columns // 2, seer, seen)


@every_size
def test_convolution_equals_the_slow_loops(kind, num_in, num_out, kernel_size, colours, parts):
    layer = layer_of(kind, num_in, num_out, kernel_size, colours, parts)
    x = torch.randn(2, num_in, 4, 5, dtype=torch.float64)
    out = layer(x)
    assert out.shape == (2, num_out, 4, 5)
    torch.testing.assert_close(out, slow_convolution(layer, x, kind, colours, parts), rtol=0, atol=1e-12)


def test_masked_weights_do_nothing_and_stay_as_they_are():
    layer = layer_of("A", 3, 6, 7, 3, 1)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    before, weight = layer(x), layer.weight.detach().clone()
    assert torch.equal(layer.weight, weight)  # the mask was not multiplied into it
    assert (weight[~layer.mask] != 0).all()
    layer(x).square().sum().backward()
    assert layer.weight.grad is not None
    assert (layer.weight.grad[~layer.mask] == 0).all()
    assert (layer.weight.grad[layer.mask] != 0).all()
    with torch.no_grad():
        layer.weight[~layer.mask] = 1e6
    assert torch.equal(layer(x), before)


def test_starting_weights_count_what_is_seen():
    torch.manual_seed(0)
    layer = MaskedConv2d(32, 16, 3, "B")
    bound = (32 * 5) ** -0.5  # 3 above, one left, one here
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert 0.7 * bound < layer.bias.abs().max() <= bound
