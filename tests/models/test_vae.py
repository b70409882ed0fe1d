"""The variational auto-encoder against slow loops, the published network, and what people get wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from drawnet.models.vae import VAE, VAEConfig
from toy import bars

from .small_draw import seeded
from .small_vae import CONVOLUTIONAL, both_decoders, images_for, small_vae

# ---------------------------------------------------------------------------- the equations, slowly


def slow_linear(layer: torch.nn.Linear, values: list[float]) -> list[float]:
    rows = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    return [sum(w * v for w, v in zip(row, values, strict=True)) + b for row, b in rows]


def slow_nats(model: VAE, x: list[float], noise: list[float]) -> tuple[float, float, float]:
    """-log p(x|z), KL(q||p) and log q(z|x) - log p(z) of one image, appendices B and C."""
    h = [math.tanh(v) for v in slow_linear(model.encoder[0], x)]
    mu, log_variance = slow_linear(model.mu, h), slow_linear(model.log_variance, h)
    z = [m + math.exp(0.5 * s) * e for m, s, e in zip(mu, log_variance, noise, strict=True)]
    h = [math.tanh(v) for v in slow_linear(model.decoder[0], z)]
    y = [1 / (1 + math.exp(-v)) for v in slow_linear(model.mean_logits, h)]
    if model.pixel_log_variance is None:
        reconstruction = -sum(p * math.log(q) + (1 - p) * math.log(1 - q) for p, q in zip(x, y, strict=True))
    else:
        variances = [math.exp(v) for v in slow_linear(model.pixel_log_variance, h)]
        densities = (
            math.exp(-((p - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            for p, m, v in zip(x, y, variances, strict=True)
        )
        reconstruction = -math.log(math.prod(densities))
    kl = -0.5 * sum(1 + s - m**2 - math.exp(s) for m, s in zip(mu, log_variance, strict=True))
    log_q = sum(
        -0.5 * math.log(2 * math.pi) - s / 2 - (v - m) ** 2 / (2 * math.exp(s))
        for v, m, s in zip(z, mu, log_variance, strict=True)
    )
    return reconstruction, kl, log_q - sum(-0.5 * math.log(2 * math.pi) - v**2 / 2 for v in z)


@both_decoders
@pytest.mark.parametrize("num_channels", [1, 3])
def test_nll_equals_the_slow_loops(decoder, num_channels):
    model = small_vae(decoder=decoder, num_channels=num_channels)
    x = images_for(model)
    noise = torch.randn(3, 2, generator=seeded(7), dtype=torch.float64)
    analytic = model.nll(x, generator=seeded(7))
    sampled = model.nll(x, generator=seeded(7), kl="sampled")
    assert not analytic.exact
    assert not sampled.exact
    for m in range(3):
        reconstruction, kl, log_ratio = slow_nats(model, x[m].flatten().tolist(), noise[m].tolist())
        for likelihood, expected in ((analytic, kl), (sampled, log_ratio)):
            assert likelihood.parts["reconstruction"][m].item() == pytest.approx(reconstruction, rel=0, abs=1e-10)
            assert likelihood.parts["kl"][m].item() == pytest.approx(expected, rel=0, abs=1e-10)
            assert likelihood.nats[m].item() == pytest.approx(reconstruction + expected, rel=0, abs=1e-10)


@both_decoders
@pytest.mark.parametrize("num_channels", [1, 3])
def test_convolutional_nll_is_made_of_its_parts(decoder, num_channels):
    model = small_vae(height=5, width=6, decoder=decoder, num_channels=num_channels, **CONVOLUTIONAL)
    x = images_for(model)
    likelihood = model.nll(x, generator=seeded(7))
    mu, variance = model.mu(h := model.encoder(x.flatten(1))), model.log_variance(h).exp()
    z = mu + variance.sqrt() * torch.randn(3, 2, generator=seeded(7), dtype=torch.float64)
    maps = model.decoder(z)
    mean = model.mean_logits(maps).view_as(x).sigmoid()
    if model.pixel_log_variance is None:
        log_p = torch.distributions.Bernoulli(mean, validate_args=False).log_prob(x)
    else:
        sigma = model.pixel_log_variance(maps).view_as(x).mul(0.5).exp()
        log_p = torch.distributions.Normal(mean, sigma).log_prob(x)
    torch.testing.assert_close(likelihood.parts["reconstruction"], -log_p.sum((1, 2, 3)))
    torch.testing.assert_close(likelihood.parts["kl"], 0.5 * (mu**2 + variance - variance.log() - 1).sum(1))
    torch.testing.assert_close(model.decode(z), mean)
    assert (likelihood.parts["kl"] > 0.1).all()


def test_frames_hold_the_means_of_the_likelihood():
    model = small_vae()
    x = images_for(model)
    (frame,) = model.reconstruct(x, generator=seeded(5))
    nats = torch.nn.functional.binary_cross_entropy(frame.canvas, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(model.nll(x, generator=seeded(5)).parts["reconstruction"], nats)
    (frame,) = model.sample(3, generator=seeded(5))
    z = torch.randn(3, *model.latent_shape, generator=seeded(5), dtype=torch.float64)
    assert torch.equal(frame.canvas, model.decode(z))
    assert frame.read is None
    assert frame.write is None


# ---------------------------------------------------------------------------- the published network


def test_published_network():
    model = VAE(VAEConfig())
    layers = {name: (m.in_features, m.out_features) for name, m in model.named_modules() if hasattr(m, "in_features")}
    assert layers == {
        "encoder.0": (784, 500),
        "mu": (500, 20),
        "log_variance": (500, 20),
        "decoder.0": (20, 500),
        "mean_logits": (500, 784),
    }
    kinds = [type(m) for m in model.modules() if not list(m.children())]
    assert [kinds.count(kind) for kind in (torch.nn.Linear, torch.nn.Tanh)] == [5, 2]
    assert len(kinds) == 7
    assert sum(p.numel() for p in model.parameters()) == 785 * 500 + 2 * 501 * 20 + 21 * 500 + 501 * 784
    frey = VAE(VAEConfig(height=28, width=20, hidden_size=200, latent_size=2, decoder="gaussian"))
    assert sum(p.numel() for p in frey.parameters()) == 561 * 200 + 2 * 201 * 2 + 3 * 200 + 2 * 201 * 560


def test_normal_initialization_is_the_papers():
    torch.manual_seed(0)
    for name, parameter in VAE(VAEConfig(decoder="gaussian")).named_parameters():
        # Standard errors: 0.1 / sqrt(n) of the mean and 0.01 sqrt(2 / n) of the variance.
        assert abs(parameter.mean().item()) < 0.4 / math.sqrt(parameter.numel()), name
        assert abs(parameter.var().item() - 0.01) < 0.06 / math.sqrt(parameter.numel()), name


@both_decoders
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_output_can_start_at_the_mean_image(decoder, network):
    model = small_vae(num_channels=3, decoder=decoder, network=network)
    mean_image = images_for(model, num_images=1)[0].float()
    mean_image[0, 0] = torch.tensor([0.0, 1.0, 0.5])
    model.start_output_at(mean_image)
    with torch.no_grad():
        (model.mean_logits if network == "mlp" else model.mean_logits.convolution).weight.zero_()
    for frame in model.sample(2, generator=seeded()):
        torch.testing.assert_close(frame.canvas.float(), mean_image.clamp(0.01, 0.99).expand(2, -1, -1, -1))


# ---------------------------------------------------------------------------- gradients and learning


@both_decoders
@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_gradient_of_nll_equals_finite_differences(decoder, kl):
    model = small_vae(height=1, width=2, hidden_size=3, decoder=decoder)
    x = images_for(model, num_images=2)
    names, parameters = zip(*model.named_parameters(), strict=True)

    def parts(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(names, parameters, strict=True))
        likelihood = torch.func.functional_call(model, values, (x,), {"generator": seeded(), "kl": kl})
        return tuple(likelihood.parts.values())

    model.forward = model.nll  # what functional_call runs
    assert torch.autograd.gradcheck(parts, (x.requires_grad_(), *parameters))


@both_decoders
def test_decoder_nats_have_the_right_gradient_in_z(decoder):
    model = small_vae(decoder=decoder)
    z = torch.randn(3, 2, generator=seeded(), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: model.decoder_nats(images_for(model), z), (z,))


@pytest.mark.parametrize(("options", "num_updates"), [({}, 300), (CONVOLUTIONAL, 200)], ids=["mlp", "convolutional"])
def test_learning_beats_independent_pixels(options, num_updates):
    torch.manual_seed(0)
    model = VAE(VAEConfig(height=8, width=8, hidden_size=32, latent_size=4, **options))
    split = bars(1000, seed=0)
    x = split.images.float()
    # The best that a model without z can do: the entropy of independent pixels.
    independent_nats = torch.distributions.Bernoulli(x.mean(0)).entropy().sum()
    generator = seeded()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(num_updates):
        optimizer.zero_grad()
        batch = x[torch.randint(len(x), (64,), generator=generator)]
        model.nll(batch, generator=generator).nats.mean().backward()
        optimizer.step()
    with torch.no_grad():
        likelihood = model.eval().nll(bars(500, seed=1).images.float(), generator=generator)
    assert likelihood.nats.mean() < independent_nats - 12
    assert likelihood.parts["kl"].mean() > 1


# ---------------------------------------------------------------------------- randomness


def test_every_image_draws_fresh_noise():
    model = small_vae(latent_size=500)
    with torch.no_grad():  # q becomes N(0, I), so that the z that are seen are the noise itself
        for head in (model.mu, model.log_variance):
            head.weight.zero_()
            head.bias.zero_()
    seen = []
    model.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    x = images_for(model, num_images=6)
    generator = seeded()
    model.nll(x, generator=generator)
    list(model.sample(6, generator=generator))
    list(model.reconstruct(x, generator=generator))
    noise = torch.cat(seen)
    assert noise.shape == (18, 500)
    # 500 values an image: correlations have a standard error of 0.045.
    assert (torch.corrcoef(noise) - torch.eye(18)).abs().max() < 0.22
    assert (noise.var(1) - 1).abs().max() < 0.3


def test_a_seed_decides_every_number():
    model = small_vae()
    x = images_for(model)
    for run in (
        lambda generator: model.nll(x, generator=generator).nats,
        lambda generator: next(model.sample(3, generator=generator)).canvas,
        lambda generator: next(model.reconstruct(x, generator=generator)).canvas,
        lambda generator: model.wake_sleep_loss(x, generator=generator),
    ):
        state = torch.get_rng_state()
        assert torch.equal(run(seeded(0)), run(seeded(0)))
        assert not torch.equal(run(seeded(0)), run(seeded(1)))
        assert torch.equal(torch.get_rng_state(), state)
        first = run(None)  # torch's own
        torch.set_rng_state(state)
        assert torch.equal(run(None), first)
        assert not torch.equal(run(None), first)


def test_images_of_a_batch_do_not_mix():
    model = small_vae(**CONVOLUTIONAL)
    x = images_for(model)
    changed = x.clone()
    changed[1] = 1 - changed[1]
    before, after = (model.nll(v, generator=seeded()).nats for v in (x, changed))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert before[1] != after[1]


def test_sampling_never_touches_the_encoder():
    model = small_vae()
    (before,) = model.sample(3, generator=seeded())
    with torch.no_grad():
        for part in (model.encoder, model.mu, model.log_variance):
            for parameter in part.parameters():
                parameter.fill_(math.nan)
    (after,) = model.sample(3, generator=seeded())
    assert torch.equal(before.canvas, after.canvas)
    assert model.nll(images_for(model), generator=seeded()).nats.isnan().all()


# ---------------------------------------------------------------------------- wrong input


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, 0) for field in ("height", "width", "hidden_size", "latent_size")),
        ("num_channels", 2),
        ("network", "cnn"),
        ("decoder", "normal"),
        ("initialization", "xavier"),
    ],
)
def test_impossible_options_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value!r}: it must be"):
        VAEConfig(**{field: value})


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        *((torch.zeros(shape), "x has shape") for shape in [(2, 2, 3), (2, 3, 2, 3), (2, 1, 3, 2), (2, 6), ()]),
        *((torch.ones(2, 1, 2, 3, dtype=dtype), "x has dtype") for dtype in (torch.uint8, torch.int64, torch.bool)),
    ],
)
def test_wrong_images_are_refused(x, message):
    model = small_vae().float()
    runs = (
        model.nll,
        model.encode,
        model.wake_sleep_loss,
        lambda x: list(model.reconstruct(x)),
        lambda x: model.decoder_nats(x, torch.zeros(2, 2)),
    )
    for run in runs:
        with pytest.raises(ValueError, match=message) as error:
            run(x)
        assert str(tuple(x.shape) if "shape" in message else x.dtype) in str(error.value)


@pytest.mark.parametrize("num_images", [0, -1])
def test_no_samples_is_refused(num_images):
    with pytest.raises(ValueError, match=f"num_images is {num_images}"):
        next(small_vae().sample(num_images))
