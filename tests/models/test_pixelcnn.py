"""PixelCNN against slow loops, sums over all images, and what may depend on what."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig

from .slow_pixelcnn import SlowPixelCNN, receptive_field
from .small_draw import seeded
from .small_pixelcnn import condition_for, every_variant, images_for, small_model, variant

# ---------------------------------------------------------------------------- the network, slowly


@every_variant
def test_logits_equal_the_slow_loops(channels, levels, conditions, skip):
    model = variant(channels, levels, conditions, skip)
    x, condition = images_for(model, 1), condition_for(model, 1)
    slow = SlowPixelCNN(model).logits(x[0], None if condition is None else condition[0])
    torch.testing.assert_close(model.logits(x, condition)[0], slow, rtol=0, atol=1e-11)


@every_variant
def test_nats_are_of_the_logits(channels, levels, conditions, skip):
    model = variant(channels, levels, conditions, skip)
    x, condition = images_for(model), condition_for(model)
    likelihood = model.nll(x, condition=condition)
    assert likelihood.exact
    assert set(likelihood.parts) == {"pixels"}
    logits = model.logits(x, condition)
    if levels == 2:
        logits = torch.stack([torch.zeros_like(logits[:, :, 0]), logits[:, :, 0]], 2)
    picked = logits.log_softmax(2).gather(2, (x * (levels - 1)).round().long()[:, :, None])
    torch.testing.assert_close(likelihood.nats, -picked.flatten(1).sum(1), rtol=0, atol=1e-10)
    assert torch.equal(model.nll(x, generator=seeded(), condition=condition).nats, likelihood.nats)


# ---------------------------------------------------------------------------- a distribution


@pytest.mark.parametrize(
    ("channels", "height", "width", "levels", "conditions"),
    [(1, 3, 3, 2, 0), (1, 2, 4, 2, 2), (3, 1, 1, 3, 0), (3, 1, 2, 3, 0), (3, 2, 1, 3, 1)],
)
def test_probabilities_of_all_images_sum_to_one(channels, height, width, levels, conditions):
    model = variant(channels, levels, conditions, True, height=height, width=width)
    values = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    x = torch.cartesian_prod(*[values] * (channels * height * width)).view(-1, channels, height, width)
    condition = condition_for(model, 1)
    with torch.no_grad():
        p = -model.nll(x, condition=condition if condition is None else condition.expand(len(x), -1, -1, -1)).nats
    assert len(p) == levels ** (channels * height * width)
    assert p.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert p.std() > 0.3  # not the same for all


def dependence(model: PixelCNN, level: int) -> Tensor:
    """`[value, value]`: whether the first's logit has a gradient in the second, for one of some random images.

    Values in raster order, R, G, B. A ReLU may be closed for all the images: ask several networks.
    """
    cfg = model.config
    x = torch.rand(8, cfg.num_channels, cfg.height, cfg.width, generator=seeded(), dtype=torch.float64)
    x.requires_grad_()
    outputs = model.logits(x)[:, :, level].permute(0, 2, 3, 1).flatten(1)
    rows = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in outputs.sum(0)]
    return torch.stack([(row != 0).any(0).permute(1, 2, 0).flatten() for row in rows])


# Wide enough for the blind spot and for pixels out of reach; every level of a colour has its own logit.
@pytest.mark.parametrize(
    ("channels", "levels", "height", "width"), [(1, 2, 3, 8), (3, 2, 3, 8), (1, 3, 2, 4), (3, 3, 2, 3)]
)
def test_logits_depend_on_all_that_the_paper_shows_them_and_nothing_else(channels, levels, height, width):
    expected = receptive_field(height, width, channels, num_layers=2)
    earlier = torch.ones_like(expected).tril(-1)
    assert not (expected & ~earlier).any()
    assert (earlier & ~expected).any() == (width == 8)
    sizes = {"num_channels": channels, "num_levels": levels, "height": height, "width": width}
    for level in range(1 if levels == 2 else levels):
        seen = torch.zeros_like(expected)
        for seed in range(4):
            seen |= dependence(small_model(seed, hidden_size=9, head_size=9, **sizes), level)
        assert torch.equal(seen, expected)


def test_condition_is_seen_everywhere_it_should_be():
    """Every colour sees all maps of its own place; a 1x1 convolution brings none that comes later."""
    closed = torch.ones(3, 8, 3, 2, dtype=torch.bool)
    for seed in range(3):
        model = small_model(seed, num_channels=3, num_condition_maps=2, height=3, width=8, hidden_size=9, head_size=9)
        condition = torch.randn(8, 2, 3, 8, generator=seeded(), dtype=torch.float64).requires_grad_()
        outputs = model.logits(images_for(model, 8), condition)[:, :, 0]
        for row, column, channel in itertools.product(range(3), range(8), range(3)):
            (gradient,) = torch.autograd.grad(outputs[:, channel, row, column].sum(), condition, retain_graph=True)
            seen = (gradient != 0).any(0)
            closed[row, column, channel] &= ~seen[:, row, column]
            assert not seen[:, row + 1 :].any()
            assert not seen[:, row, column + 1 :].any()
    assert not closed.any()


def test_images_of_a_batch_do_not_mix():
    model = small_model()
    x = images_for(model)
    changed = x.clone()
    changed[1] = 1 - changed[1]
    before, after = model.nll(x).nats, model.nll(changed).nats
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert before[1] != after[1]


# ---------------------------------------------------------------------------- gradients


@every_variant
def test_every_parameter_in_use_receives_gradient(channels, levels, conditions, skip):
    received: dict[str, Tensor] = {}
    for seed in range(8):  # a ReLU that is closed for all images is open with other weights
        model = small_model(
            seed, num_channels=channels, num_levels=levels, num_condition_maps=conditions, skip=skip, hidden_size=6
        )
        model.nll(images_for(model, 20), condition=condition_for(model, 20)).nats.sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            received[name] = received.get(name, torch.tensor(False)) | (parameter.grad != 0)
    masks = {f"{name}.weight": module.mask for name, module in model.named_modules() if hasattr(module, "mask")}
    for name, some in received.items():
        assert torch.equal(some, masks.get(name, torch.ones_like(some))), name


def test_gradient_of_nll_equals_finite_differences():
    model = small_model(height=2, width=3, num_channels=3, num_levels=3, hidden_size=3, head_size=3)
    x = images_for(model, 2)
    names, parameters = zip(*model.named_parameters(), strict=True)
    model.forward = model.nll  # what functional_call runs

    def nats(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (x,)).nats

    assert torch.autograd.gradcheck(nats, parameters, fast_mode=True)


def test_learning_finds_what_independent_pixels_cannot():
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(height=6, width=6, num_layers=2, hidden_size=8, head_size=8))
    generator = seeded()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def stripes(num_images: int) -> Tensor:
        """A random row, repeated: 6 bits = 4.16 nats; independent pixels need 36 bits = 24.95."""
        row = torch.rand(num_images, 1, 1, 6, generator=generator).round()
        return row.expand(-1, -1, 6, -1).contiguous()

    for _ in range(120):
        optimizer.zero_grad()
        model.nll(stripes(32)).nats.mean().backward()
        optimizer.step()
    assert 4 < model.nll(stripes(200)).nats.mean() < 5


# ---------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", -1),
        ("num_channels", 2),
        ("num_levels", 1),
        ("num_levels", 257),
        ("num_layers", 0),
        ("hidden_size", 0),
        ("head_size", 0),
        ("num_condition_maps", -1),
    ],
)
def test_impossible_sizes_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        PixelCNNConfig(**{field: value})


@pytest.mark.parametrize("field", ["hidden_size", "head_size"])
def test_fewer_maps_than_colours_are_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 2"):
        PixelCNNConfig(**{"num_channels": 3, field: 2})


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 4, 5), (2, 1, 5, 4), (1, 2, 1, 4, 5), ()])
def test_images_of_a_wrong_shape_are_refused(shape):
    model = small_model()
    x, known = torch.zeros(shape, dtype=torch.float64), torch.zeros(2, 1, 4, 5, dtype=torch.bool)
    for run in (lambda: model.nll(x), lambda: list(model.complete(x, known))):
        with pytest.raises(ValueError, match="x has shape") as error:
            run()
        assert str(tuple(shape)) in str(error.value)
        assert "[batch, 1, 4, 5]" in str(error.value)


@pytest.mark.usefixtures("unchecked_shapes")
def test_other_wrong_input_is_refused():
    model, conditional = small_model(), small_model(num_condition_maps=2)
    x = images_for(model, 2)
    known = torch.zeros(2, 1, 4, 5, dtype=torch.bool)
    maps = torch.zeros(2, 2, 4, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"x has dtype torch\.uint8"):
        model.nll(x.byte())
    with pytest.raises(ValueError, match=r"known has shape \(2, 1, 5, 4\).*: .* \(2, 1, 4, 5\)"):
        list(model.complete(x, known.mT))
    with pytest.raises(ValueError, match=r"x has a value 0\.5"):
        model.nll(torch.full_like(x, 0.5))
    with pytest.raises(ValueError, match="num_images is 0"):
        list(model.sample(0))
    with pytest.raises(ValueError, match="condition is given"):
        model.nll(x, condition=maps)
    for run in (lambda: conditional.nll(x), lambda: list(conditional.sample(2))):
        with pytest.raises(ValueError, match=r"condition is not given: .* \[2, 2, 4, 5\]"):
            run()
    with pytest.raises(ValueError, match=r"condition is of shape \(1, 2, 4, 5\)"):
        list(conditional.complete(x, known, condition=maps[:1]))
