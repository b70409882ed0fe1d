"""The likelihood of all small images: DRAW's nats against integrals over z."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from drawnet.models.draw import Draw

from .slow_draw import SlowDraw
from .small_draw import seeded, small_draw

ALL_IMAGES = torch.stack([torch.arange(16) >> bit & 1 for bit in range(4)], 1).double().view(16, 1, 2, 2)

# Two latents in one step or one latent in each of two: p(x) is an integral over a plane either way.
TINY = [
    pytest.param({"num_glimpses": 1, "latent_size": 2, "read_size": 2, "write_size": 2}, id="one-step-attention"),
    pytest.param({"num_glimpses": 2, "latent_size": 1, "read_size": 2, "write_size": 2}, id="two-steps-attention"),
    pytest.param({"num_glimpses": 2, "latent_size": 1, "read_size": None, "write_size": None}, id="two-steps-plain"),
]


def tiny_draw(sizes: dict) -> Draw:
    model = small_draw(**{"height": 2, "width": 2, "hidden_size": 3, **sizes})
    with torch.no_grad():
        for weight in (model.decoder.weight_ih, model.write.weight):
            weight.mul_(2.5)  # z matters, so that the bound is visibly not tight
        model.log_sigma.bias.fill_(0.3)  # Q wider than P: no importance weight is huge, and averages settle soon
        if model.write_attention is not None:
            model.write_attention.linear.bias[4] = 0  # gamma near 1: no image is nearly impossible
    return model


def integrated_probabilities(model: Draw) -> Tensor:
    """p(x) = integral of N(z; 0, I) D(x | c_T(z)) of all 16 images, on a grid over z in [-7, 7]^2."""
    slow = SlowDraw(model)
    nodes = torch.linspace(-7, 7, 43, dtype=torch.float64)
    log_prior = -0.5 * nodes**2 - 0.5 * math.log(2 * math.pi)
    total = torch.zeros(16, dtype=torch.float64)
    for i, first in enumerate(nodes.tolist()):
        for j, second in enumerate(nodes.tolist()):
            zs = [[first, second]] if model.config.num_glimpses == 1 else [[first], [second]]
            mean = torch.sigmoid(torch.tensor(slow.generate(zs).canvases[-1], dtype=torch.float64))
            likelihood = torch.where(ALL_IMAGES == 1, mean, 1 - mean).prod(-1).prod(-1).prod(-1)
            total += likelihood * (log_prior[i] + log_prior[j]).exp() * (nodes[1] - nodes[0]) ** 2
    return total


@torch.no_grad()
def repeated_nats(model: Draw, kl: str, num_draws: int, seed: int) -> Tensor:
    """nats of all 16 images, `[num_draws, 16]`."""
    x = ALL_IMAGES.repeat(num_draws, 1, 1, 1)
    return model.nll(x, generator=seeded(seed), kl=kl).nats.view(num_draws, 16)


@pytest.mark.parametrize("sizes", TINY)
def test_nats_bound_and_estimate_the_integrated_likelihood(sizes):
    model = tiny_draw(sizes)
    p = integrated_probabilities(model)
    assert p.sum().item() == pytest.approx(1, abs=1e-6)

    num_draws = 20_000
    sampled = repeated_nats(model, "sampled", num_draws, seed=11)
    analytic = repeated_nats(model, "analytic", num_draws, seed=12)

    # exp(-nats) of one draw is an unbiased estimate of p(x), of each image and of their sum 1.
    weights = (-sampled).exp()
    standard_error = weights.std(0) / math.sqrt(num_draws)
    assert (standard_error < 0.03 * p).all()
    assert ((weights.mean(0) - p).abs() < 4.5 * standard_error).all()
    sums = weights.sum(1)
    assert (sums.mean() - 1).abs() < 4 * sums.std() / math.sqrt(num_draws)

    # Both forms of the bound have one mean, and it lies above -log p(x) by KL(Q || posterior) > 0.
    variance_of_means = (analytic.var(0) + sampled.var(0)) / num_draws
    assert ((analytic.mean(0) - sampled.mean(0)).abs() < 4.5 * variance_of_means.sqrt()).all()
    gap = analytic.mean(0) + p.log()
    assert (gap > 4 * analytic.std(0) / math.sqrt(num_draws)).all()

    # With k draws the bound tightens to -log p(x) (Burda et al. 2015, theorem 1).
    bounds, errors = [], []
    for k in (1, 5, 50, 1000):
        groups = math.log(k) - torch.logsumexp(-sampled.view(-1, k, 16), 1)
        bounds.append(groups.mean(0))
        errors.append(groups.std(0) / math.sqrt(len(groups)))
    for looser, tighter, error in zip(bounds, bounds[1:], errors, strict=False):
        assert (tighter < looser + 3 * error).all()
    assert ((bounds[-1] + p.log()).abs() < 0.1 * gap + 4 * errors[-1]).all()


def test_samples_follow_the_integrated_likelihood():
    model = tiny_draw({"num_glimpses": 2, "latent_size": 1, "read_size": 2, "write_size": 2})
    num_images = 20_000
    *_, last = model.sample(num_images, generator=seeded(2))
    images = torch.bernoulli(last.canvas, generator=seeded(3)).flatten(1)
    counts = torch.bincount((images @ torch.tensor([1.0, 2.0, 4.0, 8.0]).double()).long(), minlength=16)
    p = integrated_probabilities(model)
    assert ((counts / num_images - p).abs() < 4 * (p * (1 - p) / num_images).sqrt()).all()
