"""When the engine is used, and that using it is like using PyTorch."""

import copy
import warnings

import pytest
import torch

from drawnet import engine
from drawnet.engine import draw as fast
from drawnet.models.draw import Draw, DrawConfig

SMALL = DrawConfig(height=6, width=5, num_glimpses=2, hidden_size=4, latent_size=3, read_size=2, write_size=2)

needs_engine = pytest.mark.skipif(engine.native() is None, reason="installed without the compiled engine")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Draw(SMALL)


@pytest.fixture
def x():
    return torch.rand(4, 1, 6, 5, generator=torch.Generator().manual_seed(0)).round()


@pytest.fixture
def calls(monkeypatch):
    """How the engine was asked: the value of `mixed` of every call."""
    asked = []
    infer = fast.infer

    def watched(*args, **kwargs):
        asked.append(kwargs["mixed"])
        return infer(*args, **kwargs)

    monkeypatch.setattr(fast, "infer", watched)
    monkeypatch.delenv("DRAWNET_ENGINE", raising=False)
    return asked


def backward(model, x):
    model.zero_grad()
    model.nll(x, generator=torch.Generator().manual_seed(0)).nats.mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@needs_engine
def test_chosen_by_attribute_and_gradient(model, x, calls):
    model.nll(x)
    assert calls == [engine.instruction_sets()[-1][1]]  # auto
    calls.clear()
    for choice, expected in {"float32": [False], "mixed": [True], "plain": []}.items():
        model.engine = choice
        model.nll(x)
        assert calls == expected
        calls.clear()
    model.engine = "mixed"
    with torch.no_grad():
        model.nll(x)
    model.requires_grad_(False).nll(x)
    assert calls == [False, False]  # evaluation is float32


@needs_engine
def test_environment_replaces_auto_only(model, x, calls, monkeypatch):
    monkeypatch.setenv("DRAWNET_ENGINE", "plain")
    model.nll(x)
    assert calls == []
    model.engine = "float32"
    model.nll(x)
    assert calls == [False]


def test_a_wrong_name_is_refused(model, x, monkeypatch, unchecked_shapes):
    model.engine = "fast"
    with pytest.raises(ValueError, match="engine is 'fast': it must be auto, plain, float32, mixed"):
        model.nll(x)
    monkeypatch.setenv("DRAWNET_ENGINE", "quick")
    model.engine = "auto"
    with pytest.raises(ValueError, match="DRAWNET_ENGINE is 'quick'"):
        model.nll(x)


def test_plain_where_the_engine_cannot(model, x, calls):
    gradient_of = x.clone().requires_grad_()
    model.nll(gradient_of).nats.sum().backward()
    assert gradient_of.grad is not None
    assert gradient_of.grad.abs().sum() > 0
    copy.deepcopy(model).double().nll(x.double())
    gradients = torch.func.grad(lambda p: torch.func.functional_call(Nats(model), p, (x,)))(
        {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    )
    assert len(gradients) == len(list(model.parameters()))
    assert calls == []


class Nats(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.nll(x).nats.mean()


def test_without_the_compiled_module_plain_and_one_warning(model, x, monkeypatch):
    def missing(name):
        raise ImportError(f"no {name}")

    monkeypatch.setattr(engine.importlib, "import_module", missing)
    engine.native.cache_clear()
    try:
        model.engine = "mixed"
        with warnings.catch_warnings(record=True) as caught:
            model.nll(x).nats.sum().backward()
            model.nll(x)
        assert len(caught) == 1
        assert "DRAW runs on plain PyTorch" in str(caught[0].message)
        assert engine.precision("float32", training=True) is None
    finally:
        engine.native.cache_clear()


@needs_engine
def test_images_in_any_memory_order(model, x):
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    model.engine = "float32"
    a, b = backward(model, x), backward(model, turned)
    assert all(torch.equal(a[name], b[name]) for name in a)


@needs_engine
def test_weights_in_any_memory_order(model, x):
    model.engine = "float32"
    expected = backward(model, x)
    model.mu.weight.data = model.mu.weight.data.t().contiguous().t()
    got = backward(model, x)
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@needs_engine
def test_two_batches_before_their_gradients(model, x):
    model.engine = "float32"
    other = 1 - x
    a, b = backward(model, x), backward(model, other)
    model.zero_grad()
    first = model.nll(x, generator=torch.Generator().manual_seed(0)).nats.mean()
    second = model.nll(other, generator=torch.Generator().manual_seed(0)).nats.mean()
    first.backward()
    second.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, a[name] + b[name])


@needs_engine
def test_backward_twice(model, x):
    model.engine = "float32"
    once = backward(model, x)
    model.zero_grad()
    loss = model.nll(x, generator=torch.Generator().manual_seed(0)).nats.mean()
    loss.backward(retain_graph=True)
    loss.backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, 2 * once[name])
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@needs_engine
def test_a_second_derivative_is_refused(model, x):
    model.engine = "float32"
    (gradient,) = torch.autograd.grad(model.nll(x).nats.mean(), model.canvas_0, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        gradient.sum().backward()


@needs_engine
def test_weights_changed_before_the_gradient(model, x):
    model.engine = "float32"
    loss = model.nll(x).nats.mean()
    with torch.no_grad():
        model.mu.bias.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@needs_engine
def test_frozen_weights_get_no_gradient(model, x):
    model.engine = "float32"
    everything = backward(model, x)
    model.canvas_0.requires_grad_(False)
    model.canvas_0.grad = None
    rest = backward(model, x)
    assert rest.keys() == everything.keys() - {"canvas_0"}
    assert all(torch.equal(rest[name], everything[name]) for name in rest)


@needs_engine
def test_engines_are_used_again(model, x):
    model.engine = "float32"
    backward(model, x)
    idle = [native for _, native in fast._Engine._idle]
    for _ in range(3):
        backward(model, x)
    assert {id(native) for _, native in fast._Engine._idle} == {id(native) for native in idle}
    for num_images in range(1, 9):
        backward(model, x[:1].expand(num_images, -1, -1, -1))
    assert len(fast._Engine._idle) <= fast.MAX_IDLE_ENGINES


@needs_engine
def test_threads_change_nothing_but_rounding(model, x):
    model.engine = "float32"
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = backward(model, x)
        torch.set_num_threads(3)
        three = backward(model, x)
    finally:
        torch.set_num_threads(before)
    for name in one:
        torch.testing.assert_close(three[name], one[name], rtol=1e-5, atol=1e-7)


@needs_engine
def test_stopping_in_the_middle_of_a_drawing(model):
    frames = model.sample(2)
    next(frames)
    other = list(model.sample(2, generator=torch.Generator().manual_seed(0)))
    again = list(model.sample(2, generator=torch.Generator().manual_seed(0)))
    next(frames)
    assert all(torch.equal(a.canvas, b.canvas) for a, b in zip(other, again, strict=True))
    del frames


def test_copies_and_checkpoints_know_nothing_of_the_engine(model):
    model.engine = "plain"
    assert copy.deepcopy(model).engine == "plain"
    assert not any("engine" in name for name in model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.precision("plain", training=True)


@needs_engine
def test_evaluation_keeps_nothing_for_a_gradient(model, x, monkeypatch):
    kept = []
    start = fast._Engine.__init__

    def watched(self, sizes, *, mixed, keep):
        kept.append(keep)
        start(self, sizes, mixed=mixed, keep=keep)

    monkeypatch.setattr(fast._Engine, "__init__", watched)
    with torch.no_grad():
        model.nll(x)
    model.nll(x)
    list(model.sample(1))
    model.requires_grad_(False).nll(x)
    assert kept == [False, True, False, False]
