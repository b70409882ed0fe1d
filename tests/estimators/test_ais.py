"""AIS against a model whose log p(x) is known."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from drawnet.estimators.ais import Schedule, ais_log_likelihood, ais_log_weights, temperatures, tune_step_sizes
from estimators.linear_gaussian import LinearGaussian

MODEL = LinearGaussian.drawn(4, 2, 1.0, seed=0)
X = MODEL.sample(3, seed=1)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def estimate(x: Tensor = X, seed: int = 0, **changes: Any) -> Tensor:
    arguments: dict[str, Any] = {"num_chains": 20, "num_temperatures": 100, "num_leapfrog": 4} | changes
    return ais_log_likelihood(
        MODEL.log_likelihood(x), len(x), 2, step_size=0.3, generator=seeded(seed), dtype=torch.float64, **arguments
    )


def test_temperatures() -> None:
    assert temperatures(4, "linear").tolist() == [0, 0.25, 0.5, 0.75, 1]

    def logistic(v: float) -> float:
        return 1 / (1 + math.exp(-v))

    expected = [(logistic(4 * (2 * k / 10 - 1)) - logistic(-4)) / (logistic(4) - logistic(-4)) for k in range(11)]
    torch.testing.assert_close(temperatures(10), torch.tensor(expected, dtype=torch.float64))
    schedules: tuple[Schedule, ...] = ("sigmoid", "linear")
    for schedule in schedules:
        assert temperatures(1, schedule).tolist() == [0, 1]
        assert temperatures(1000, schedule)[[0, -1]].tolist() == [0, 1]
        assert (temperatures(1000, schedule).diff() > 0).all()


def test_one_temperature_is_importance_sampling_from_the_prior() -> None:
    """log w = log p(x | z_0)."""
    log_p = estimate(num_temperatures=1, num_chains=7)
    generator = seeded(0)
    torch.randn(3, 2, generator=generator, dtype=torch.float64)  # the pilot's
    z = torch.randn(21, 2, generator=generator, dtype=torch.float64)
    log_w = torch.stack([MODEL.log_likelihood(X)(z[3 * chain : 3 * chain + 3]) for chain in range(7)])
    torch.testing.assert_close(log_p, log_w.exp().mean(0).log())


def test_weights_by_hand_where_the_chains_hardly_move() -> None:
    """With steps of 1e-9, log w = sum of (beta_k - beta_{k-1}) log p(x | z_0) = log p(x | z_0)."""
    z = torch.randn(3, 2, generator=seeded(0), dtype=torch.float64)
    still = torch.full((9, 3), 1e-9, dtype=torch.float64)
    log_w = ais_log_weights(MODEL.log_likelihood(X), z, temperatures(10), still, num_leapfrog=2)
    torch.testing.assert_close(log_w, MODEL.log_likelihood(X)(z), rtol=0, atol=1e-5)


@pytest.mark.parametrize("schedule", ["sigmoid", "linear"])
def test_within_a_tenth_of_a_nat(schedule: Schedule) -> None:
    log_p = ais_log_likelihood(
        MODEL.log_likelihood(X), 3, 2, num_chains=100, num_temperatures=200, num_leapfrog=4, step_size=0.3,
        schedule=schedule, generator=seeded(0), dtype=torch.float64,
    )  # fmt: skip
    assert log_p.dtype == torch.float64
    torch.testing.assert_close(log_p, MODEL.log_marginal(X), rtol=0, atol=0.1)


@pytest.mark.parametrize("num_temperatures", [2, 5])
def test_weights_are_unbiased_with_few_temperatures(num_temperatures: int) -> None:
    """E[w] = p(x), though each log w is far below log p(x) on average; the tuned step sizes do not spoil it."""
    num_chains = 20_000
    x, betas, generator = X[:1], temperatures(num_temperatures, "linear") ** 2, seeded(0)
    likelihood = MODEL.log_likelihood(x)
    pilot, z = (torch.randn(n, 2, generator=generator, dtype=torch.float64) for n in (1, num_chains))
    step_sizes = tune_step_sizes(likelihood, pilot, betas, 0.3, num_leapfrog=2, generator=generator)
    log_w = ais_log_weights(
        likelihood, z, betas, step_sizes.repeat(1, num_chains), num_leapfrog=2, generator=generator
    )
    ratio = (log_w - MODEL.log_marginal(x)).exp()
    error = ratio.std().item() / math.sqrt(num_chains)
    assert error < 0.05
    assert ratio.mean().item() == pytest.approx(1, abs=4 * error)
    assert log_w.mean() < MODEL.log_marginal(x).item() - 0.5


def test_more_temperatures_come_closer_from_below() -> None:
    """The mean of log w over 100 single-chain estimates an image rises with K and stays below log p(x)."""
    x = X.repeat(100, 1)
    gaps = []
    for num_temperatures in (1, 5, 25, 125):
        log_w = estimate(x, num_chains=1, num_temperatures=num_temperatures)
        gaps.append((MODEL.log_marginal(x) - log_w).mean().item())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 5
    assert 0 < gaps[-1] < 0.2


def test_rows_are_chains_major_and_chains_do_not_mix() -> None:
    """Images far from each other: each gets its own log p(x), in its own place."""
    x = torch.cat([X[:1], X[:1] + 3, X[:1] - 6])
    torch.testing.assert_close(estimate(x, num_chains=50), MODEL.log_marginal(x), rtol=0, atol=0.3)
    rows = []

    def likelihood(z: Tensor) -> Tensor:
        rows.append(len(z))
        return MODEL.log_likelihood(X)(z)

    ais_log_likelihood(likelihood, 3, 2, num_chains=5, num_temperatures=3, num_leapfrog=1, dtype=torch.float64)
    assert set(rows) == {3, 15}


def test_seeds_and_progress() -> None:
    assert torch.equal(estimate(num_temperatures=5), estimate(num_temperatures=5))
    assert not torch.equal(estimate(num_temperatures=5), estimate(num_temperatures=5, seed=1))
    state, seen = torch.get_rng_state(), []
    ais_log_likelihood(
        MODEL.log_likelihood(X), 3, 2, num_chains=2, num_temperatures=3, num_leapfrog=1, generator=seeded(0),
        dtype=torch.float64, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(k, 6) for k in range(1, 7)]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_images": 0}, "num_images is 0"),
        ({"latent_size": 0}, "latent_size is 0"),
        ({"num_chains": 0}, "num_chains is 0"),
        ({"num_temperatures": 0}, "num_temperatures is 0"),
        ({"num_leapfrog": 0}, "num_leapfrog is 0"),
        ({"step_size": 0.0}, "step_size is 0"),
    ],
)
def test_bad_numbers(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"num_images": 3, "latent_size": 2, "num_chains": 2, "num_temperatures": 3} | changes
    with pytest.raises(ValueError, match=message):
        ais_log_likelihood(MODEL.log_likelihood(X), **arguments)


@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_schedule() -> None:
    with pytest.raises(ValueError, match="schedule is 'cosine': it must be 'sigmoid' or 'linear'"):
        temperatures(3, "cosine")  # type: ignore[arg-type]
