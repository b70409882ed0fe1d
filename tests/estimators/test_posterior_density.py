"""Appendix D of Kingma and Welling (2013) against a model whose log p(x) is known."""

from typing import Any

import pytest
import torch
from torch import Tensor

from drawnet.estimators.posterior_density import fit_gaussian, posterior_density_log_likelihood
from estimators.linear_gaussian import LinearGaussian

MODEL = LinearGaussian.drawn(4, 2, 1.0, seed=0)
X = MODEL.sample(10, seed=1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def estimate(seed: int = 0, **changes: Any) -> Tensor:
    arguments: dict[str, Any] = {"num_samples": 250, "num_burn_in": 150, "num_leapfrog": 4, "step_size": 0.3} | changes
    return posterior_density_log_likelihood(
        MODEL.log_likelihood(X), 10, 2, generator=seeded(seed), dtype=torch.float64, **arguments
    )


@pytest.mark.parametrize("changes", [{}, {"num_samples": 100, "num_thin": 3}, {"step_size": 4.0}])
def test_within_0_15_nats_and_0_05_on_average(changes: dict[str, Any]) -> None:
    errors = (estimate(**changes) - MODEL.log_marginal(X)).abs()
    assert errors.max() < 0.15
    assert errors.mean() < 0.05


def test_more_samples_come_closer() -> None:
    few, many = (estimate(num_samples=n) - MODEL.log_marginal(X) for n in (10, 400))
    assert few.abs().mean() > 0.1
    assert many.abs().mean() < 0.05


def test_fit_is_mean_and_covariance() -> None:
    samples = torch.randn(50, 2, 3, generator=seeded(0), dtype=torch.float64) * torch.tensor([1.0, 2.0, 5.0])
    q = fit_gaussian(samples)
    for image in range(2):
        torch.testing.assert_close(q.mean[image], samples[:, image].mean(0))
        torch.testing.assert_close(q.covariance_matrix[image], samples[:, image].T.cov(), rtol=1e-4, atol=1e-4)


def test_samples_in_a_line_have_a_density() -> None:
    line = torch.randn(20, 1, 1, generator=seeded(0)).repeat(1, 1, 2)
    assert fit_gaussian(line).log_prob(line).isfinite().all()


def test_a_chain_that_never_moves_is_named() -> None:
    def nowhere(z: Tensor) -> Tensor:
        return torch.tensor([0.0, -torch.inf], dtype=z.dtype) - z.square().sum(1)

    with pytest.raises(ValueError, match="image 1 never moved"):
        posterior_density_log_likelihood(nowhere, 2, 2, num_samples=5, num_burn_in=5)


def test_seeds_and_progress() -> None:
    few = {"num_samples": 20, "num_burn_in": 20}
    assert torch.equal(estimate(**few), estimate(**few))
    assert not torch.equal(estimate(**few), estimate(1, **few))
    state, seen = torch.get_rng_state(), []
    posterior_density_log_likelihood(
        MODEL.log_likelihood(X), 10, 2, num_samples=4, num_burn_in=3, num_thin=2, generator=seeded(0),
        dtype=torch.float64, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(k, 19) for k in range(1, 20)]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 0}, "num_images is 0"),
        ({"latent_size": 0}, "latent_size is 0"),
        ({"num_thin": 0}, "num_thin is 0"),
        ({"num_burn_in": -1}, "num_burn_in is -1"),
        ({"num_samples": 2}, "num_samples is 2: it must be above latent_size, 2"),
        ({"num_leapfrog": 0}, "num_leapfrog is 0"),
        ({"step_size": -0.1}, "step_size is -0.1"),
    ],
)
def test_bad_numbers(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"num_images": 10, "latent_size": 2, "num_samples": 5, "num_burn_in": 2} | changes
    with pytest.raises(ValueError, match=message):
        posterior_density_log_likelihood(MODEL.log_likelihood(X), **arguments)
