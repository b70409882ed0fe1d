"""Nats against closed forms of others and against Monte Carlo."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Normal, kl_divergence

from drawnet.nn.likelihood import (
    NegativeLogLikelihood,
    bernoulli_nats,
    gaussian_kl_nats,
    gaussian_log_ratio_nats,
)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_equals_torch_distributions():
    mu, log_sigma = random(4, 3, 5, seed=0), random(4, 3, 5, seed=1)
    expected = kl_divergence(Normal(mu, log_sigma.exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl_nats(mu, log_sigma), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("latent", [1, 2, 100])
def test_kl_of_the_prior_is_zero_for_any_number_of_latents(latent):
    # With -1/2 a step in place of -latent/2 this would be (latent - 1)/2.
    zeros = torch.zeros(2, 3, latent)
    assert (gaussian_kl_nats(zeros, zeros) == 0).all()


@settings(deadline=None, max_examples=50)
@given(st.floats(-5, 5), st.floats(-4, 2))
def test_kl_is_never_negative(mu, log_sigma):
    kl = gaussian_kl_nats(*(torch.tensor([v], dtype=torch.float64) for v in (mu, log_sigma)))
    assert kl >= -1e-12


def test_log_ratio_equals_torch_distributions():
    mu, log_sigma, z = random(4, 5, seed=0), random(4, 5, seed=1), random(4, 5, seed=2)
    expected = (Normal(mu, log_sigma.exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
    torch.testing.assert_close(gaussian_log_ratio_nats(mu, log_sigma, z), expected, rtol=1e-12, atol=1e-12)


def test_mean_log_ratio_is_the_kl():
    num_draws = 100_000
    mu, log_sigma = 0.7 * random(3, seed=0), 0.5 * random(3, seed=1)
    z = mu + log_sigma.exp() * random(num_draws, 3, seed=2)
    ratios = gaussian_log_ratio_nats(mu.expand_as(z), log_sigma.expand_as(z), z)
    standard_error = ratios.std() / math.sqrt(num_draws)
    assert standard_error < 0.01
    assert (ratios.mean() - gaussian_kl_nats(mu, log_sigma)).abs() < 4 * standard_error


def test_mean_inverse_ratio_is_one():
    # E_Q[P(z)/Q(z)] = 1: what makes exp(-nats) an unbiased importance weight.
    num_draws = 100_000
    mu, log_sigma = torch.tensor([0.4, -0.3], dtype=torch.float64), torch.tensor([0.2, 0.1], dtype=torch.float64)
    z = mu + log_sigma.exp() * random(num_draws, 2, seed=3)
    weights = (-gaussian_log_ratio_nats(mu.expand_as(z), log_sigma.expand_as(z), z)).exp()
    standard_error = weights.std() / math.sqrt(num_draws)
    assert standard_error < 0.01
    assert (weights.mean() - 1).abs() < 4 * standard_error


def test_bernoulli_equals_torch_distributions():
    logits = 3 * random(4, 3, 5, 6, seed=0)
    x = (random(4, 3, 5, 6, seed=1) > 0).double()
    expected = -Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_nats(logits, x), expected, rtol=1e-12, atol=1e-12)


def test_bernoulli_probabilities_of_all_images_sum_to_one():
    logits = random(1, 1, 2, 3, seed=0)
    numbers = torch.arange(2**6)
    images = torch.stack([numbers >> bit & 1 for bit in range(6)], 1).double().view(-1, 1, 2, 3)
    total = (-bernoulli_nats(logits.expand_as(images), images)).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


def test_intensity_is_a_probability_and_its_own_best_mean():
    x = torch.tensor([[[[0.2, 0.7]]]], dtype=torch.float64)
    entropy = -(x * x.log() + (1 - x) * (1 - x).log()).sum()
    best = bernoulli_nats(torch.logit(x), x)
    torch.testing.assert_close(best, entropy.view(1))
    assert bernoulli_nats(torch.logit(x) + 0.1, x) > best
    assert bernoulli_nats(torch.logit(x) - 0.1, x) > best


def test_certain_and_wrong_logits_stay_finite():
    logits = torch.tensor([[[[1000.0, -1000.0]]]], requires_grad=True)
    nats = bernoulli_nats(logits, torch.tensor([[[[0.0, 1.0]]]]))
    assert nats.item() == 2000
    (gradient,) = torch.autograd.grad(nats, logits)
    assert gradient.flatten().tolist() == [1, -1]


def test_nats_are_the_sum_of_all_parts_of_each_image():
    parts = {"reconstruction": torch.tensor([1.0, 2.0]), "kl": torch.tensor([[0.5, 0.25, 0.0], [4.0, 8.0, 16.0]])}
    assert NegativeLogLikelihood(parts, exact=False).nats.tolist() == [1.75, 30]
