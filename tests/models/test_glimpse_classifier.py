"""The Differentiable RAM against loops written from the paper, and its gradients against finite differences."""

import math

import pytest
import torch
import torch.nn.functional as F

from drawnet import engine
from drawnet.models.glimpse_classifier import GlimpseClassifier, GlimpseClassifierConfig
from drawnet.nn.attention import filter_banks

from .slow_draw import SlowDraw, read_plane, window
from .small_classifiers import images_and_labels, seeded, small_glimpse_classifier


def slow_log_probs(model: GlimpseClassifier, image: list) -> tuple[list[float], list[tuple[float, ...]]]:
    """Section 4.1 in Python floats, one image `[channel][row][column]`: log-probabilities, and gX, gY, delta, ...

    The loops for W(h), the LSTM and the read are those that DRAW itself is tested with.
    """
    cfg, slow = model.config, SlowDraw(model)
    h, cell = slow.weights["initial"]
    windows = []
    for _ in range(cfg.num_glimpses):
        where = window(slow.linear("read_attention.linear", h), cfg.read_size, cfg.height, cfg.width)
        windows.append(where)
        r = [v for plane in image for row in read_plane(plane, where, cfg.read_size) for v in row]
        h, cell = slow.lstm("lstm", r, h, cell)
    logits = slow.linear("classify", h)
    log_total = math.log(sum(math.exp(v) for v in logits))
    return [v - log_total for v in logits], windows


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("num_glimpses", [1, 3])
def test_the_forward_pass_is_the_papers(num_channels: int, num_glimpses: int) -> None:
    model = small_glimpse_classifier(num_channels=num_channels, num_glimpses=num_glimpses)
    x, labels = images_and_labels(model)
    look = model.look(x)
    nats = model.loss(x, labels).nats
    for n in range(len(x)):
        log_probs, windows = slow_log_probs(model, x[n].tolist())
        assert look.log_probs[n].tolist() == pytest.approx(log_probs, rel=1e-9)
        assert nats[n].item() == pytest.approx(-log_probs[labels[n]], rel=1e-9)
        assert len(look.glimpses) == num_glimpses
        for (found,), expected in zip(look.glimpses, windows, strict=True):
            values = (found.center_x, found.center_y, found.stride, found.sigma, found.gamma)
            assert [v[n].item() for v in values] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (60, 60), (28, 40)])
def test_the_first_glimpse_covers_the_image(height: int, width: int) -> None:
    """Its filters are centred from the first to the last pixel of the longer side, and leave no gap between them."""
    model = GlimpseClassifier(GlimpseClassifierConfig(height, width))
    x = torch.rand(2, 1, height, width, generator=seeded())
    (first,), *_ = model.look(x).glimpses
    longer = max(height, width)
    assert first.center_x.tolist() == pytest.approx([(width + 1) / 2] * 2)
    assert first.center_y.tolist() == pytest.approx([(height + 1) / 2] * 2)
    assert (2 * first.half_width).tolist() == pytest.approx([longer - 1] * 2)
    for bank in filter_banks(first, height, width):
        weight = bank.sum(1)  # of every pixel in all filters together
        assert weight.min() > 0.4 * weight.mean()


def test_the_start_is_that_of_draw() -> None:
    model = GlimpseClassifier(GlimpseClassifierConfig())
    stride = 99 / 11
    assert model.read_attention.linear.bias.tolist() == pytest.approx([0, 0, 2 * math.log(stride / 2), 0, 1])
    assert (model.initial == 0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    """Of every parameter, in float64: through the cells, and through the places of all glimpses."""
    model = small_glimpse_classifier()
    x, labels = images_and_labels(model)
    model.loss(x, labels).total.backward()
    generator = seeded(5)
    for name, p in model.named_parameters():
        direction = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        assert p.grad is not None
        slope = _slope(model, p, direction, x, labels)
        assert (p.grad * direction).sum().item() == pytest.approx(slope, rel=1e-6, abs=1e-9), name


def _slope(model: GlimpseClassifier, p: torch.Tensor, direction: torch.Tensor, x, labels, step: float = 1e-5) -> float:
    losses = []
    with torch.no_grad():
        for sign in (1, -1):
            p.add_(direction, alpha=sign * step)
            losses.append(model.loss(x, labels).total.item())
            p.sub_(direction, alpha=sign * step)
    return (losses[0] - losses[1]) / (2 * step)


@pytest.mark.parametrize("which", range(5))
def test_where_to_look_is_learned_from_the_class(which: int) -> None:
    """Each of the five numbers of eq. (21) alone has a gradient that is not zero, and the right one."""
    model = small_glimpse_classifier()
    x, labels = images_and_labels(model)
    model.loss(x, labels).total.backward()
    bias = model.read_attention.linear.bias
    direction = F.one_hot(torch.tensor(which), 5).double()
    assert bias.grad is not None
    assert abs(bias.grad[which]) > 1e-4
    assert bias.grad[which].item() == pytest.approx(_slope(model, bias, direction, x, labels), rel=1e-6)


def test_a_freshly_made_network_has_gradient_for_the_place_of_its_first_glimpse() -> None:
    torch.manual_seed(0)
    model = GlimpseClassifier(GlimpseClassifierConfig(30, 30, num_glimpses=1, hidden_size=16, read_size=5))
    x = torch.rand(3, 1, 30, 30, generator=seeded())
    model.loss(x, torch.tensor([0, 1, 2])).total.backward()
    assert model.read_attention.linear.bias.grad is not None
    assert (model.read_attention.linear.bias.grad.abs() > 1e-7).all()


@pytest.mark.skipif(engine.native() is None, reason="installed without the compiled engine")
def test_the_engines_reading_is_the_plain_one() -> None:
    torch.manual_seed(0)
    model = GlimpseClassifier(GlimpseClassifierConfig(40, 30, num_glimpses=4, hidden_size=32))
    x = torch.rand(6, 1, 40, 30, generator=seeded())
    labels = torch.arange(6)
    found = {}
    for choice in ("plain", "float32", "auto"):
        model.engine = choice
        model.zero_grad()
        loss = model.loss(x, labels)
        loss.total.backward()
        found[choice] = [loss.nats, *(p.grad for p in model.parameters())]
    for choice in ("float32", "auto"):
        for fast, plain in zip(found[choice], found["plain"], strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-5)


def test_a_choice_of_plain_never_asks_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawnet.engine.reading.native", None)  # whoever asks it fails
    model = GlimpseClassifier(GlimpseClassifierConfig(20, 20, num_glimpses=2, hidden_size=4))
    model.engine = "plain"
    model.loss(torch.rand(2, 1, 20, 20), torch.tensor([0, 1])).total.backward()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"read_size": 1}, "read_size is 1: .*at least 2 x 2"),
        ({"read_size": 12, "height": 8}, "read_size is 12: the image has only 8 x 100"),
        ({"num_glimpses": 0}, "num_glimpses is 0"),
        ({"num_channels": 2}, "num_channels is 2"),
    ],
)
def test_sizes_out_of_range_are_named(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GlimpseClassifierConfig(**sizes)


@pytest.mark.usefixtures("unchecked_shapes")
def test_images_of_another_shape_are_refused() -> None:
    model = GlimpseClassifier(GlimpseClassifierConfig(20, 20))
    for x in (torch.rand(2, 3, 20, 20), torch.rand(2, 1, 28, 28), torch.zeros(2, 1, 20, 20, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="x has"):
            model.loss(x, torch.tensor([0, 1]))
        with pytest.raises(ValueError, match="x has"):
            model.look(x)
