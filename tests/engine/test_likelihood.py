"""The compiled engine against plain PyTorch in float64: nats and gradients over random networks and batches."""

import dataclasses

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from drawnet import engine
from drawnet.models.draw import Draw, DrawConfig

pytestmark = pytest.mark.skipif(engine.native() is None, reason="installed without the compiled engine")

grids = st.none() | st.integers(2, 13)
networks = st.builds(
    DrawConfig,
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    num_channels=st.sampled_from([1, 3]),
    num_glimpses=st.integers(1, 4),
    hidden_size=st.integers(1, 40),
    latent_size=st.integers(1, 20),
    read_size=grids,
    write_size=grids,
)
SMALL = DrawConfig(height=9, width=7, num_glimpses=3, hidden_size=17, latent_size=5, read_size=2, write_size=5)


def network(config, scale, seed=0):
    """Weights that are far from torch's start, attention windows all over the image for scale 1."""
    torch.manual_seed(seed)
    model = Draw(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(scale * torch.randn(p.shape) / (p.shape[-1] ** 0.5 if p.dim() == 2 else 2))
    return model


def batch_of(config, size, seed=0):
    shape = (size, config.num_channels, config.height, config.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).round()


class FixedNoise:
    """The same draws for models of all dtypes."""

    def __init__(self, config, batch_size):
        generator = torch.Generator().manual_seed(1)
        shape = (config.num_glimpses, batch_size, config.latent_size)
        self.draws = torch.randn(shape, generator=generator)

    def install(self, model):
        model._noise = lambda num_images, generator: iter(self.draws.to(model.canvas_0.dtype))


def nats_and_gradients(model, x, choice, kl, noise):
    """Every part of the nats, and the gradient of a random weighting of them."""
    model.engine = choice
    noise.install(model)
    parts = model.nll(x.to(model.canvas_0.dtype), kl=kl).parts
    generator = torch.Generator().manual_seed(2)
    weights = {name: torch.randn(part.shape, generator=generator).to(part) for name, part in parts.items()}
    model.zero_grad()
    sum((parts[name] * weights[name]).sum() for name in parts).backward()
    return {name: part.detach() for name, part in parts.items()}, {n: p.grad for n, p in model.named_parameters()}


def relative_error(value, reference):
    return ((value.double() - reference).norm() / reference.norm().clamp_min(1e-12)).item()


def compare(config, batch_size, kl="analytic", scale=0.5, seed=0):
    """Relative errors of each way to compute: of the worst nats, the worst gradient, and all gradients as one."""
    x, noise = batch_of(config, batch_size, seed), FixedNoise(config, batch_size)
    model = network(config, scale, seed)
    truth = Draw(config).double()
    truth.load_state_dict(model.state_dict())
    nats, gradients = nats_and_gradients(truth, x, "plain", kl, noise)
    total = torch.cat([g.flatten() for g in gradients.values()]).norm()
    errors = {}
    for choice in ("float32", "plain", "mixed"):
        own_nats, own_gradients = nats_and_gradients(model, x, choice, kl, noise)
        everything = [*own_nats.values(), *own_gradients.values()]
        assert all(value.isfinite().all() for value in everything), choice
        mistakes = {name: (own_gradients[name].double() - g).norm() for name, g in gradients.items()}
        errors[choice] = (
            max(relative_error(own_nats[name], nats[name]) for name in nats),
            # of tensors whose gradients nearly cancel, relative to a share of the whole
            max((mistakes[name] / g.norm().clamp_min(0.02 * total)).item() for name, g in gradients.items()),
            (torch.stack(list(mistakes.values())).norm() / total).item(),
        )
    return errors


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=networks, batch_size=st.integers(1, 40), kl=st.sampled_from(["analytic", "sampled"]))
@example(config=SMALL, batch_size=1, kl="analytic")
@example(config=dataclasses.replace(SMALL, num_glimpses=1), batch_size=2, kl="sampled")
def test_float32_equals_autograd(config, batch_size, kl):
    errors = compare(config, batch_size, kl)
    for own, plain in zip(errors["float32"], errors["plain"], strict=True):
        assert own < max(1e-5, 4 * plain), errors  # four times what float32 PyTorch itself loses


@settings(max_examples=40, deadline=None, derandomize=True)
@given(config=networks, batch_size=st.integers(1, 40), kl=st.sampled_from(["analytic", "sampled"]))
def test_mixed_rounds_the_factors_of_products_and_nothing_else(config, batch_size, kl):
    model, x, noise = network(config, 0.5), batch_of(config, batch_size), FixedNoise(config, batch_size)
    slow = Draw(config).double()
    slow.load_state_dict(model.state_dict())
    slow.encoder, slow.decoder = RoundedCell(slow.encoder), RoundedCell(slow.decoder)
    slow.mu, slow.log_sigma, slow.write = map(RoundedLinear, (slow.mu, slow.log_sigma, slow.write))
    for attention in (slow.read_attention, slow.write_attention):
        if attention is not None:
            attention.linear = RoundedLinear(attention.linear)
    nats, gradients = nats_and_gradients(slow, x, "plain", kl, noise)
    own_nats, own_gradients = nats_and_gradients(model, x, "mixed", kl, noise)
    assert all(relative_error(own_nats[name], nats[name]) < 1e-3 for name in nats)
    total = torch.cat([g.flatten() for g in gradients.values()]).norm()
    for (name, own), reference in zip(own_gradients.items(), gradients.values(), strict=True):
        # where float32 and float64 disagree about which way to round, a whole bf16 step is between them
        assert (own.double() - reference).norm() < 0.01 * total, name


class RoundedProduct(torch.autograd.Function):
    """x W^T with all factors rounded to bf16, on the way back too; sums in float64."""

    @staticmethod
    def forward(ctx, x, weight):
        x, weight = x.bfloat16().double(), weight.bfloat16().double()
        ctx.save_for_backward(x, weight)
        return x @ weight.mT

    @staticmethod
    def backward(ctx, d):
        x, weight = ctx.saved_tensors
        return d.bfloat16().double() @ weight, d.bfloat16().double().mT @ x


class RoundedLinear(torch.nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x):
        return RoundedProduct.apply(x, self.weight) + self.bias


class RoundedCell(torch.nn.Module):
    def __init__(self, cell):
        super().__init__()
        for name, parameter in cell.named_parameters():
            setattr(self, name, parameter)

    def forward(self, x, state):
        gates = RoundedProduct.apply(x, self.weight_ih) + RoundedProduct.apply(state[0], self.weight_hh)
        i, f, g, o = (gates + self.bias_ih + self.bias_hh).chunk(4, 1)
        cell = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


@pytest.mark.parametrize("read_size", [None, 2])
def test_the_papers_network(read_size):
    config = DrawConfig(read_size=read_size, write_size=5 if read_size else None, num_glimpses=8)
    errors = compare(config, 20, scale=0.1)
    assert max(errors["float32"]) < 1e-5, errors
    assert 1e-5 < errors["mixed"][2] < 0.01, errors  # mixed is mixed


@pytest.mark.parametrize("kind", ["far", "near_zero_variance", "huge_variance", "huge_stride", "saturated"])
@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(SMALL, num_channels=3, read_size=12, write_size=2)])
def test_extreme_attention_and_canvas(config, kind):
    model = network(config, 0.2)
    bias = {"far": (0, 300.0), "near_zero_variance": (2, -9.5), "huge_variance": (2, 30.0), "huge_stride": (3, 9.5)}
    with torch.no_grad():
        if kind == "saturated":
            model.canvas_0.copy_(torch.linspace(-200, 200, model.canvas_0.numel()).view_as(model.canvas_0))
        else:
            position, value = bias[kind]
            model.read_attention.linear.bias[position] = value
            model.write_attention.linear.bias[position] = value
    x, noise = batch_of(config, 5), FixedNoise(config, 5)
    truth = Draw(config).double()
    truth.load_state_dict(model.state_dict())
    nats, gradients = nats_and_gradients(truth, x, "plain", "analytic", noise)
    own_nats, own_gradients = nats_and_gradients(model, x, "float32", "analytic", noise)
    mixed = nats_and_gradients(model, x, "mixed", "analytic", noise)
    assert all(value.isfinite().all() for part in mixed for value in part.values())
    assert all(relative_error(own_nats[name], nats[name]) < 1e-5 for name in nats)
    for name, gradient in gradients.items():
        error = (own_gradients[name].double() - gradient).norm()
        assert error <= 1e-4 * gradient.norm() + 1e-4, (name, error, gradient.norm())


def test_a_number_that_is_not_finite_stays_visible():
    model = network(SMALL, 0.2)
    with torch.no_grad():
        model.mu.bias[0] = float("nan")
    for choice in ("float32", "mixed"):
        model.engine = choice
        assert model.nll(batch_of(SMALL, 3)).nats.isnan().all(), choice


def test_same_seed_same_nats_as_plain_and_the_same_again():
    model, x = network(SMALL, 0.5), batch_of(SMALL, 7)
    results = {}
    for choice in ("plain", "float32", "mixed", "float32 again", "mixed again"):
        model.engine = choice.split()[0]
        generator = torch.Generator().manual_seed(5)
        results[choice] = (model.nll(x, generator=generator).nats.detach(), generator.get_state())
    assert torch.allclose(results["float32"][0], results["plain"][0], rtol=1e-5)
    assert all(torch.equal(state, results["plain"][1]) for _, state in results.values())
    for choice in ("float32", "mixed"):
        assert torch.equal(results[choice][0], results[f"{choice} again"][0])


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("verb", ["sample", "reconstruct"])
def test_drawing_equals_plain(attention, verb):
    config = SMALL if attention else dataclasses.replace(SMALL, read_size=None, write_size=None, num_channels=3)
    model, x = network(config, 0.5), batch_of(config, 6)
    frames = {}
    for choice in ("plain", "mixed"):  # without gradients mixed is float32
        model.engine = choice
        what = 6 if verb == "sample" else x
        frames[choice] = list(getattr(model, verb)(what, generator=torch.Generator().manual_seed(3)))
    assert len(frames["plain"]) == len(frames["mixed"]) == config.num_glimpses
    for a, b in zip(*frames.values(), strict=True):
        torch.testing.assert_close(a.canvas, b.canvas, rtol=1e-5, atol=1e-6)
        for window, own in ((a.read, b.read), (a.write, b.write)):
            assert (window is None) == (own is None)
            for name in ("center_x", "center_y", "stride", "sigma", "gamma") if window else ():
                torch.testing.assert_close(getattr(own, name), getattr(window, name), rtol=1e-5, atol=1e-5)
