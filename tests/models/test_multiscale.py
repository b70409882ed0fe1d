"""The multi-scale network: a distribution over large images, made of the two it consists of."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from drawnet.models.multiscale import MultiScale, MultiScaleConfig
from drawnet.models.pixelcnn import PixelCNN
from drawnet.models.pixelrnn import PixelRNN
from drawnet.nn.pixels import pixel_nats

from .small_draw import seeded
from .small_pixelcnn import images_for, with_visible_numbers

SMALL = MultiScaleConfig(
    height=4,
    width=6,
    small_num_layers=1,
    small_hidden_size=4,
    num_layers=2,
    hidden_size=5,
    head_size=4,
    num_condition_maps=3,
)
every_layer = pytest.mark.parametrize("layer", ["pixelcnn", "row", "diagonal"])


def small_model(seed: int = 0, **sizes) -> MultiScale:
    return with_visible_numbers(MultiScale(replace(SMALL, **sizes)), seed)


def on_grid(row: int, column: int, model: MultiScale) -> bool:
    return row % model.config.reduction == 0 and column % model.config.reduction == 0


def last_canvas(frames) -> Tensor:
    *_, last = frames
    return last.canvas


# ---------------------------------------------------------------------------- a distribution


@torch.no_grad()
def sum_of_probabilities(model: MultiScale) -> float:
    cfg = model.config
    size = cfg.num_channels * cfg.height * cfg.width
    total = 0.0
    for start in range(0, 2**size, 8192):
        numbers = torch.arange(start, min(start + 8192, 2**size))
        x = (numbers[:, None] >> torch.arange(size) & 1).double()
        total += (-model.nll(x.view(-1, cfg.num_channels, cfg.height, cfg.width)).nats).exp().sum().item()
    return total


@every_layer
@pytest.mark.parametrize(
    ("channels", "height", "width", "reduction"), [(1, 2, 4, 2), (1, 3, 3, 3), (3, 2, 2, 2)], ids=["2", "3", "rgb"]
)
def test_probabilities_of_all_images_sum_to_one(layer, channels, height, width, reduction):
    sizes = {"num_channels": channels, "height": height, "width": width, "reduction": reduction}
    assert sum_of_probabilities(small_model(layer=layer, **sizes)) == pytest.approx(1, abs=1e-9)


def test_probabilities_of_all_4x4_images_sum_to_one():
    tiny = {"num_layers": 1, "small_hidden_size": 2, "hidden_size": 2, "head_size": 2, "num_condition_maps": 1}
    assert sum_of_probabilities(small_model(height=4, width=4, **tiny)) == pytest.approx(1, abs=1e-9)


@every_layer
@pytest.mark.parametrize("reduction", [2, 3])
def test_parts_are_those_of_the_two_networks(layer, reduction):
    model = small_model(layer=layer, num_channels=3, num_levels=4, width=12, height=6, reduction=reduction)
    network = PixelCNN if layer == "pixelcnn" else PixelRNN
    assert isinstance(model.small, network)
    assert isinstance(model.large, network)
    x = images_for(model)
    small = torch.stack(
        [torch.stack([x[:, :, r, c] for c in range(0, 12, reduction)], 2) for r in range(0, 6, reduction)], 2
    )
    likelihood = model.nll(x)
    assert likelihood.exact
    assert set(likelihood.parts) == {"small", "upsampling"}
    torch.testing.assert_close(likelihood.parts["small"], model.small.nll(small).nats)
    nats = pixel_nats(model.large.logits(x, model.upsample(2 * small - 1)), x, 4)
    others = sum(
        nats[:, :, row, column].sum(1)
        for row, column in itertools.product(range(6), range(12))
        if not on_grid(row, column, model)
    )
    torch.testing.assert_close(likelihood.parts["upsampling"], others)


def test_large_network_sees_the_small_image_ahead_and_nothing_else_ahead():
    """Its first logits depend on later pixels on the grid, by the condition alone; never on others."""
    seen = torch.zeros(4, 6, dtype=torch.bool)
    for seed in range(3):
        model = small_model(seed)
        x = torch.rand(8, 1, 4, 6, generator=seeded(seed), dtype=torch.float64).requires_grad_()
        logits = model.large.logits(x, model.upsample(2 * x[:, :, ::2, ::2] - 1))
        for column in range(3):
            (gradient,) = torch.autograd.grad(logits[..., 0, column].sum(), x, retain_graph=True)
            ahead = (gradient[:, 0] != 0).any(0)
            ahead[0, :column] = False
            seen |= ahead
    expected = torch.zeros(4, 6, dtype=torch.bool)
    # The first deconvolution reaches one small pixel to each side, the second a large pixel more.
    expected[0:4:2, 0:6:2] = True
    assert torch.equal(seen, expected)


@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_upsampling_keeps_places(reduction):
    """A small pixel reaches the places of itself and of its neighbours, and one large pixel more."""
    model = small_model(height=12, width=24, reduction=reduction)
    small = torch.rand(8, 1, 12 // reduction, 24 // reduction, generator=seeded(), dtype=torch.float64)
    moved = small.clone()
    row, column = 1, 2
    moved[:, :, row, column] += 0.5
    condition, other = model.upsample(small), model.upsample(moved)
    assert condition.shape == (8, 3, 12, 24)
    changed = (condition != other).any(0).any(0)
    expected = torch.zeros(12, 24, dtype=torch.bool)
    top, left = row * reduction, column * reduction
    expected[
        max(0, top - reduction - 1) : top + 2 * reduction + 1, max(0, left - reduction - 1) : left + 2 * reduction + 1
    ] = True
    assert torch.equal(changed, expected)


@every_layer
def test_every_parameter_receives_gradient(layer):
    missing: set[str] | None = None
    for seed in range(3):
        model = small_model(seed, layer=layer)
        model.nll(images_for(model, 10), generator=seeded()).nats.sum().backward()
        names = {name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()}
        missing = names if missing is None else missing & names
    assert not missing


# ---------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("channels", [1, 3])
@every_layer
def test_cached_and_naive_samplers_draw_the_same_images(layer, channels):
    model = small_model(layer=layer, num_channels=channels, num_levels=3)
    cached, naive = (list(model.sample(3, generator=seeded(2), cached=cached)) for cached in (True, False))
    assert len(cached) == len(naive) == 2 + 4
    for a, b in zip(cached, naive, strict=True):
        assert torch.equal(a.canvas, b.canvas)


def test_samples_follow_the_likelihood():
    model = small_model(height=2, width=2, small_hidden_size=8, hidden_size=8, head_size=8)
    with torch.no_grad():
        for parameter in model.upsample.parameters():
            parameter.mul_(3)  # the condition matters
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4).view(16, 1, 2, 2)
    p = (-model.nll(x).nats).exp()
    num = 20_000
    drawn = last_canvas(model.sample(num, generator=seeded()))
    share = (drawn.flatten(1)[:, None] == x.flatten(1)).all(2).double().mean(0)
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / num).sqrt()).all()


def test_the_small_image_is_drawn_first_and_stays():
    model = small_model()
    frames = [frame.canvas for frame in model.sample(5, generator=seeded(3))]
    generator = seeded(3)
    small = [frame.canvas for frame in model.small.sample(5, generator=generator)]
    for canvas, small_canvas in zip(frames, small, strict=False):
        for row, column in itertools.product(range(4), range(6)):
            assert torch.equal(canvas[:, :, row, column], small_canvas[:, :, row // 2, column // 2])
    for canvas in frames[len(small) :]:
        assert torch.equal(canvas[:, :, ::2, ::2], small[-1])


@every_layer
def test_completion_keeps_what_is_known(layer):
    model = small_model(layer=layer, num_levels=3, num_channels=3)
    x = images_for(model, 4)
    for seed in range(3):
        known = torch.rand(4, 1, 4, 6, generator=seeded(seed)) < 0.5
        wanted = known.expand_as(x)
        for frame in model.complete(torch.where(known, x, torch.nan), known, generator=seeded(seed)):
            assert torch.equal(frame.canvas[wanted], x[wanted])
        assert (frame.canvas * 2 == (frame.canvas * 2).round()).all()
    everything = torch.ones(4, 1, 4, 6, dtype=torch.bool)
    assert torch.equal(last_canvas(model.complete(x, everything)), x)


def test_completing_a_sample_with_its_own_noise_gives_the_sample():
    model = small_model(num_levels=3)
    sample = last_canvas(model.sample(4, generator=seeded(9)))
    nothing = torch.zeros(4, 1, 4, 6, dtype=torch.bool)
    for known in (nothing, model.grid | nothing, model.grid | nothing | (torch.arange(4) < 2)[:, None]):
        x = torch.where(known, sample, 0.0)
        assert torch.equal(last_canvas(model.complete(x, known, generator=seeded(9))), sample)


# ---------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", 0),
        ("num_channels", 2),
        ("num_levels", 1),
        ("reduction", 1),
        ("reduction", 0),
        ("reduction", 3),
        ("small_num_layers", 0),
        ("small_hidden_size", 0),
        ("num_layers", 0),
        ("hidden_size", 0),
        ("head_size", 0),
        ("num_condition_maps", 0),
    ],
)
def test_impossible_sizes_are_refused_by_name(field, value):
    for layer in ("pixelcnn", "row"):
        with pytest.raises(ValueError, match=f"^{field} is {value}"):
            MultiScaleConfig(layer=layer, **{field: value})


@pytest.mark.usefixtures("unchecked_shapes")
def test_other_wrong_input_is_refused():
    with pytest.raises(ValueError, match="layer is 'column'"):
        MultiScaleConfig(layer="column")
    model = small_model()
    x, known = images_for(model, 2), torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    for run in (lambda v: model.nll(v), lambda v: list(model.complete(v, known))):
        with pytest.raises(ValueError, match=r"x has shape \(2, 1, 6, 4\): .*\[batch, 1, 4, 6\]"):
            run(x.mT)
        with pytest.raises(ValueError, match=r"x has dtype torch\.uint8"):
            run(x.byte())
    with pytest.raises(ValueError, match=r"known has shape \(2, 1, 6, 4\)"):
        list(model.complete(x, known.mT))
    with pytest.raises(ValueError, match=r"x has a value 0\.5"):
        model.nll(torch.full_like(x, 0.5))
    with pytest.raises(ValueError, match="num_images is 0"):
        list(model.sample(0))
