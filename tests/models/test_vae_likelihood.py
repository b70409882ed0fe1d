"""The variational auto-encoder's nats against integrals over z and over x."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from drawnet.models.vae import VAE, gaussian_nats

from .small_draw import seeded
from .small_vae import both_decoders, images_for, small_vae


def nodes(limit: float, num_nodes: int) -> tuple[Tensor, float]:
    return torch.linspace(-limit, limit, num_nodes, dtype=torch.float64), 2 * limit / (num_nodes - 1)


def test_analytic_kl_equals_integral_and_average():
    model = small_vae()
    x = images_for(model)
    with torch.no_grad():
        kl = model.nll(x).parts["kl"]
        mu, log_sigma = (v[..., None] for v in model.encode(x))
    z, step = nodes(30.0, 4001)
    log_q = -0.5 * ((z - mu) / log_sigma.exp()) ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
    log_p = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(kl, (log_q.exp() * (log_q - log_p)).sum((1, 2)) * step, rtol=0, atol=1e-8)
    with torch.no_grad():
        draws = model.nll(x.repeat(20_000, 1, 1, 1), generator=seeded(), kl="sampled").parts["kl"].view(-1, 3)
    assert ((draws.mean(0) - kl).abs() < 4 * draws.std(0) / math.sqrt(len(draws))).all()


@torch.no_grad()
def integrated_probabilities(model: VAE, x: Tensor) -> Tensor:
    """p(x) = integral of N(z; 0, 1) p(x|z) over one latent."""
    z, step = nodes(8.0, 321)
    likelihood = torch.stack([(-model.decoder_nats(x, v.expand(len(x), 1))).exp() for v in z])
    prior = (-0.5 * z**2).exp() / math.sqrt(2 * math.pi)
    return (prior[:, None] * likelihood).sum(0) * step


@both_decoders
def test_nats_bound_and_estimate_the_integrated_likelihood(decoder):
    model = small_vae(height=2, width=2, latent_size=1, decoder=decoder)
    with torch.no_grad():
        model.decoder[0].weight.mul_(2.5)  # z matters, so that the bound is visibly not tight
        model.log_variance.bias.fill_(0.6)  # q wider than p: no importance weight is huge
        if model.pixel_log_variance is not None:
            model.pixel_log_variance.weight.mul_(0.5)
    x = torch.stack([torch.arange(16) >> bit & 1 for bit in range(4)], 1).double().view(16, 1, 2, 2)
    p = integrated_probabilities(model, x)
    if decoder == "bernoulli":
        assert p.sum().item() == pytest.approx(1, abs=1e-9)
    num_draws = 20_000
    with torch.no_grad():
        sampled, analytic = (
            model.nll(x.repeat(num_draws, 1, 1, 1), generator=seeded(11), kl=kl).nats.view(num_draws, 16)
            for kl in ("sampled", "analytic")
        )
    weights = (-sampled).exp()
    standard_error = weights.std(0) / math.sqrt(num_draws)
    assert (standard_error < 0.03 * p).all()
    assert ((weights.mean(0) - p).abs() < 4.5 * standard_error).all()
    for nats in (sampled, analytic):
        assert (nats.mean(0) + p.log() > 4 * nats.std(0) / math.sqrt(num_draws)).all()


@pytest.mark.parametrize("width", [1, 2])
@torch.no_grad()
def test_gaussian_decoder_integrates_to_one(width):
    model = small_vae(height=1, width=width, decoder="gaussian")
    pixels, step = nodes(20.0, 401)
    x = torch.cartesian_prod(*[pixels] * width).view(-1, 1, 1, width)
    for z in torch.tensor([[0.0, 0.0], [1.5, -2.0]], dtype=torch.float64):
        density = (-model.decoder_nats(x, z.expand(len(x), 2))).exp()
        assert (density.sum() * step**width).item() == pytest.approx(1, abs=1e-8)
        mean = (density[:, None] * x.flatten(1)).sum(0) * step**width
        torch.testing.assert_close(mean, model.decode(z[None]).flatten(), rtol=0, atol=1e-8)


def test_gaussian_nats_can_be_negative():
    zeros, narrow = torch.zeros(2, 3), torch.full((2, 3), -4.0)
    expected = 3 * (0.5 * math.log(2 * math.pi) - 2)  # sigma = e^-2, at the mean
    assert gaussian_nats(zeros, narrow, zeros).tolist() == pytest.approx([expected] * 2)
    assert expected < 0
