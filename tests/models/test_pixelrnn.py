"""Row LSTM and Diagonal BiLSTM against slow loops, enumeration, and the Jacobian's zeros."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig
from drawnet.models.pixelrnn_steps import PixelRNNSteps
from drawnet.nn.pixels import pixel_nats

from .slow_pixelrnn import SlowPixelRNN

both_layers = pytest.mark.parametrize("layer", ["row", "diagonal"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_rnn(layer: str, seed: int = 0, scale: float = 0.6, **fields) -> PixelRNN:
    """A tiny float64 model, every parameter from N(0, scale^2)."""
    sizes = {"height": 3, "width": 4, "num_layers": 2, "hidden_size": 3, "head_size": 4, **fields}
    model = PixelRNN(PixelRNNConfig(layer=layer, **sizes)).double()
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale, generator=generator)
    return model


def images_for(model: PixelRNN, num_images: int = 3, seed: int = 1) -> Tensor:
    cfg = model.config
    shape = (num_images, cfg.num_channels, cfg.height, cfg.width)
    return torch.randint(cfg.num_levels, shape, generator=seeded(seed)).double() / (cfg.num_levels - 1)


def condition_for(model: PixelRNN, num_images: int = 3, seed: int = 2) -> Tensor | None:
    cfg = model.config
    shape = (num_images, cfg.num_condition_maps, cfg.height, cfg.width)
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64) if cfg.num_condition_maps else None


# ---------------------------------------------------------------------------- the equations, slowly


@both_layers
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"skip": False, "num_condition_maps": 2, "height": 4, "width": 3},
        {"num_channels": 3, "num_levels": 3, "num_condition_maps": 1, "hidden_size": 4},
        {"height": 1, "width": 4},
        {"height": 4, "width": 1},
    ],
)
def test_logits_and_gradients_equal_the_slow_loops(layer, fields):
    model = small_rnn(layer, **fields)
    x, condition = images_for(model), condition_for(model)
    names, parameters = zip(*model.named_parameters(), strict=True)
    results = []
    for logits in (model.logits(x, condition), SlowPixelRNN(model).logits(x, condition)):
        nats = pixel_nats(logits, x, model.config.num_levels).sum()
        results.append((logits, torch.autograd.grad(nats, parameters, allow_unused=True)))
    (fast, fast_grads), (slow, slow_grads) = results
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    for name, a, b, parameter in zip(names, fast_grads, slow_grads, parameters, strict=True):
        a, b = (torch.zeros_like(parameter) if grad is None else grad for grad in (a, b))
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


# ---------------------------------------------------------------------------- a probability


@both_layers
@pytest.mark.parametrize(
    "fields",
    [
        {"height": 3, "width": 3},
        {"height": 2, "width": 4},
        {"height": 1, "width": 1, "num_channels": 3, "num_levels": 3},
        {"height": 2, "width": 1, "num_channels": 3, "num_levels": 3},
        {"height": 1, "width": 2, "num_channels": 3, "num_levels": 3, "num_condition_maps": 2},
    ],
)
def test_all_images_have_probability_one_together(layer, fields):
    model = small_rnn(layer, **fields)
    cfg = model.config
    num_values = cfg.num_channels * cfg.height * cfg.width
    levels = torch.tensor(list(itertools.product(range(cfg.num_levels), repeat=num_values)), dtype=torch.float64)
    x = (levels / (cfg.num_levels - 1)).view(-1, cfg.num_channels, cfg.height, cfg.width)
    condition = condition_for(model, 1)
    likelihood = model.nll(x, condition=None if condition is None else condition.expand(len(x), -1, -1, -1))
    assert likelihood.exact
    assert set(likelihood.parts) == {"pixels"}
    probabilities = (-likelihood.nats).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-9)
    assert probabilities.max() > 4 * probabilities.min()  # the model has an opinion


# ---------------------------------------------------------------------------- who sees whom


def dependence(model: PixelRNN, seeds: range = range(4)) -> Tensor:
    """`[value, value]` in raster order, colours inside a pixel: which logits ever depend on which input."""
    cfg = model.config
    num_values = cfg.num_channels * cfg.height * cfg.width
    seen = torch.zeros(num_values, num_values, dtype=torch.bool)
    for seed in seeds:
        x = torch.rand(1, cfg.num_channels, cfg.height, cfg.width, generator=seeded(seed), dtype=torch.float64)
        jacobian = torch.autograd.functional.jacobian(lambda v: model.logits(v)[0].sum(1), x)
        jacobian = jacobian[:, :, :, 0].permute(1, 2, 0, 4, 5, 3)  # row, column, channel of output and input
        seen |= jacobian.reshape(num_values, num_values) != 0
    return seen


def row_context(height: int, width: int) -> Tensor:
    """`[pixel, pixel]`: which other pixels a model of one Row LSTM layer may see.

    k rows up, the LSTM has seen the states of 2k + 1 pixels; each has looked at itself and its left neighbour; and
    there the 7 x 7 layer has looked at three rows above and three pixels to the left.
    """
    seen = torch.zeros(height, width, height, width, dtype=torch.bool)
    for i, j, k in itertools.product(range(height), range(width), range(height)):
        for m in range(max(0, j - k), min(width, j + k + 1)):
            for looked in range(max(0, m - 1), m + 1):
                if i >= k:
                    left = max(0, looked - 3)
                    seen[i, j, i - k, left:looked] = True
                    seen[i, j, max(0, i - k - 3) : i - k, left : looked + 4] = True
    return seen.view(height * width, height * width)


@both_layers
@pytest.mark.parametrize(("num_channels", "height", "width"), [(1, 3, 9), (1, 5, 3), (3, 2, 6)])
def test_a_value_depends_on_its_context_and_on_nothing_else(layer, num_channels, height, width):
    sizes = {"height": height, "width": width, "num_layers": 1, "hidden_size": 6, "head_size": 24}
    model = small_rnn(layer, num_channels=num_channels, **sizes)
    before = torch.ones((height * width * num_channels,) * 2, dtype=torch.bool).tril(-1)
    if layer == "row":
        others = row_context(height, width).repeat_interleave(num_channels, 0).repeat_interleave(num_channels, 1)
        within = torch.ones(num_channels, num_channels, dtype=torch.bool).tril(-1)  # R, then G, then B of a pixel
        expected = others | torch.block_diag(*[within] * (height * width)).bool()
    else:
        # All, but for one: the last value of the row above is in no map of that row (mask A), so that it is seen
        # only from where the 7 x 7 layer reaches it.
        expected = before.clone().view(height, width, num_channels, height, width, num_channels)
        for i, j in itertools.product(range(1, height), range(width - 4)):
            expected[i, j, :, i - 1, -1, -1] = False
        expected = expected.view_as(before)
    assert not (expected & ~before).any()
    assert torch.equal(dependence(model), expected)


@both_layers
def test_conditions_are_seen_everywhere_and_images_do_not_mix(layer):
    model = small_rnn(layer, num_condition_maps=2, head_size=24)
    x, condition = images_for(model), condition_for(model)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.logits(x, v).sum((1, 2)), condition)
    seen = jacobian.abs().sum(4) > 0  # image, row, column; image, row, column
    for m in range(3):
        assert not seen[m, :, :, [k for k in range(3) if k != m]].any()
        assert all(seen[m, i, j, m, i, j] for i in range(3) for j in range(4))
    other = x.clone()
    other[1] = 1 - other[1]
    before, after = (model.nll(v, condition=condition).nats for v in (x, other))
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]], rtol=0, atol=1e-12)
    assert before[1] != after[1]


# ---------------------------------------------------------------------------- drawing


def last_canvas(frames) -> Tensor:
    *_, last = frames
    return last.canvas


DRAWN = [
    {},
    {"num_channels": 3},
    {"num_levels": 5, "skip": False},
    {"num_channels": 3, "num_levels": 3, "num_condition_maps": 2},
    {"height": 1, "width": 1, "num_channels": 3},
    {"height": 5, "width": 1},
    {"height": 1, "width": 9},
]


@both_layers
@pytest.mark.parametrize("fields", DRAWN)
def test_cached_logits_equal_those_of_the_whole_network(layer, fields):
    model = small_rnn(layer, **fields)
    x, condition = images_for(model), condition_for(model)
    steps = PixelRNNSteps(model.first, list(model.layers), list(model.skips), model.head, condition)
    with torch.no_grad():
        whole = model.logits(x, condition)
    for row in range(x.shape[2]):
        steps.start_row(x, row)
        for column in range(x.shape[3]):
            for channel in range(x.shape[1]):
                shown = x.clone()  # what is not drawn yet is not looked at
                shown[:, channel:, row, column] = 7
                shown[:, :, row, column + 1 :] = 7
                shown[:, :, row + 1 :] = 7
                logits = steps.logits(shown, row, column, channel)
                torch.testing.assert_close(logits, whole[:, channel, :, row, column], rtol=0, atol=1e-10)


@both_layers
@pytest.mark.parametrize("fields", DRAWN)
def test_cached_and_naive_samplers_draw_the_same_images(layer, fields):
    model = small_rnn(layer, **fields)
    x, condition = images_for(model), condition_for(model)
    nothing = torch.zeros_like(x[:, :1], dtype=torch.bool)
    some = torch.rand(nothing.shape, generator=seeded(4)) < 0.3
    for known in (nothing, some):
        cached, naive = (
            list(model.complete(x, known, generator=seeded(2), condition=condition, cached=cached))
            for cached in (True, False)
        )
        assert len(cached) == len(naive)
        for a, b in zip(cached, naive, strict=True):
            assert torch.equal(a.canvas, b.canvas)
    if condition is None:
        drawn = last_canvas(model.sample(len(x), generator=seeded(2)))
        assert torch.equal(drawn, last_canvas(model.complete(x, nothing, generator=seeded(2), cached=False)))


@both_layers
def test_samples_follow_the_likelihood(layer):
    model = small_rnn(layer, height=2, width=2)
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4).view(16, 1, 2, 2)
    p = (-model.nll(x).nats).exp()
    num = 20_000
    drawn = last_canvas(model.sample(num, generator=seeded()))
    share = (drawn.flatten(1)[:, None] == x.flatten(1)).all(2).double().mean(0)
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / num).sqrt()).all()


@both_layers
def test_completion_keeps_what_is_known_and_continues_a_sample(layer):
    model = small_rnn(layer, num_channels=3, num_levels=3)
    x = images_for(model)
    for seed in range(3):
        known = torch.rand(3, 1, 3, 4, generator=seeded(seed)) < 0.5
        wanted = known.expand_as(x)
        for frame in model.complete(torch.where(known, x, 9.0), known, generator=seeded(seed)):
            assert torch.equal(frame.canvas[wanted], x[wanted])
    (frame,) = model.complete(x, torch.ones(3, 1, 3, 4, dtype=torch.bool))
    assert torch.equal(frame.canvas, x)
    sample = last_canvas(model.sample(3, generator=seeded(9)))
    top = (torch.arange(12).view(3, 4) < 6).expand(3, 1, 3, 4)
    completed = last_canvas(model.complete(torch.where(top, sample, 0.5), top, generator=seeded(9)))
    assert torch.equal(completed, sample)


def test_samplers_work_in_float32_and_leave_no_graph():
    for layer in ("row", "diagonal"):
        for cached in (True, False):
            canvas = last_canvas(small_rnn(layer).float().sample(2, generator=seeded(), cached=cached))
            assert canvas.dtype == torch.float32
            assert not canvas.requires_grad


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
        PixelRNNConfig(**{field: value})


@pytest.mark.usefixtures("unchecked_shapes")
def test_other_wrong_input_is_refused():
    model, conditional = small_rnn("row"), small_rnn("diagonal", num_condition_maps=2)
    x, maps = images_for(model), condition_for(conditional)
    known = torch.zeros(3, 1, 3, 4, dtype=torch.bool)
    for fields in ({"hidden_size": 2}, {"head_size": 2}):
        with pytest.raises(ValueError, match="is 2: it must be at least 3"):
            PixelRNNConfig(num_channels=3, **fields)
    with pytest.raises(ValueError, match="x has dtype"):
        model.nll(x.byte())
    for wrong in (x.mT, x[0], x.expand(-1, 3, -1, -1)):
        for run in (lambda v=wrong: model.nll(v), lambda v=wrong: list(model.complete(v, known))):
            with pytest.raises(ValueError, match=r"x has shape .* \[batch, 1, 3, 4\]"):
                run()
    with pytest.raises(ValueError, match=r"known has shape \(3, 1, 4, 3\).*: .* \(3, 1, 3, 4\)"):
        list(model.complete(x, known.mT))
    with pytest.raises(ValueError, match=r"x has a value 0\.5"):
        model.nll(torch.full_like(x, 0.5))
    with pytest.raises(ValueError, match="num_images is 0"):
        list(model.sample(0))
    with pytest.raises(ValueError, match="condition is given"):
        model.nll(x, condition=maps)
    for run in (lambda: conditional.nll(x), lambda: list(conditional.sample(2))):
        with pytest.raises(ValueError, match="condition is not given"):
            run()
    with pytest.raises(ValueError, match="condition is of shape"):
        list(conditional.complete(x, known, condition=maps[:1]))


@pytest.mark.usefixtures("unchecked_shapes")
def test_unknown_layer_is_refused():
    with pytest.raises(ValueError, match="layer is 'spiral': it must be 'row' or 'diagonal'"):
        PixelRNNConfig(layer="spiral")
