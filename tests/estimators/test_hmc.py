"""HMC: reversible, volume-preserving, with the right stationary distribution."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from drawnet.estimators.hmc import TARGET_ACCEPTANCE, StepSize, adapt, leapfrog, starting_step, transition
from estimators.linear_gaussian import LinearGaussian


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def bent(z: Tensor) -> Tensor:
    """A log density that is not Gaussian, with bounded second derivatives."""
    return 1.5 * z[:, 0].sin() * (2 * z[:, 1]).sin() - z.square().sum(1) / 2


def steps(value: float, num_chains: int) -> Tensor:
    return torch.full((num_chains,), value, dtype=torch.float64)


def test_the_closed_forms_of_the_test_model_agree() -> None:
    """log p(x) = log p(z) p(x | z) - log p(z | x), whatever z."""
    model = LinearGaussian.drawn(3, 2, 0.5, seed=0)
    x, z = model.sample(4, seed=1), draws(4, 2)
    torch.testing.assert_close(model.log_joint(x)(z) - model.posterior(x).log_prob(z), model.log_marginal(x))


def test_leapfrog_by_hand() -> None:
    """log p = -z^2 / 2: the gradient is -z. Two steps of 0.5, with each half step of the momentum written out."""
    z, p = 1.0, 0.3
    for _ in range(2):
        p -= 0.25 * z
        z += 0.5 * p
        p -= 0.25 * z
    start = torch.tensor([[1.0]], dtype=torch.float64)
    found = leapfrog(start, 0.3 * start, lambda z: -z.square().sum(1) / 2, steps(0.5, 1), 2)
    torch.testing.assert_close(torch.stack(found).flatten(), torch.tensor([z, p], dtype=torch.float64))


def test_leapfrog_is_reversible_and_keeps_volume() -> None:
    z, momentum, size = draws(5, 2), draws(5, 2, seed=1), torch.linspace(0.01, 0.3, 5, dtype=torch.float64)
    new_z, new_momentum = leapfrog(z, momentum, bent, size, 7)
    back_z, back_momentum = leapfrog(new_z, -new_momentum, bent, size, 7)
    torch.testing.assert_close(back_z, z)
    torch.testing.assert_close(-back_momentum, momentum)
    assert (new_z - z).abs().min() > 1e-4

    def flat(state: Tensor) -> Tensor:
        return torch.cat(leapfrog(state[None, :2], state[None, 2:], bent, size[-1:], 3), 1)[0]

    state, h = draws(4, seed=2), 1e-5  # the gradient inside is detached: differences
    columns = [(flat(state + h * e) - flat(state - h * e)) / (2 * h) for e in torch.eye(4, dtype=torch.float64)]
    assert torch.linalg.det(torch.stack(columns, 1)).item() == pytest.approx(1, abs=1e-6)


def test_energy_error_is_of_second_order() -> None:
    z, momentum = draws(20, 2), draws(20, 2, seed=1)

    def error(size: float, num_steps: int) -> Tensor:
        new_z, new_momentum = leapfrog(z, momentum, bent, steps(size, 20), num_steps)
        return (new_momentum.square().sum(1) - momentum.square().sum(1)) / 2 - bent(new_z) + bent(z)

    ratio = error(0.002, 100) / error(0.001, 200)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4), rtol=0.02, atol=0)


def test_acceptance_is_one_at_tiny_steps() -> None:
    z = draws(50, 2)
    moved, acceptance = transition(z, bent, steps(1e-5, 50), num_leapfrog=3, generator=seeded(0))
    assert acceptance.min() > 1 - 1e-6
    assert (moved != z).all()


def test_acceptance_is_the_metropolis_probability() -> None:
    """One long step, worked out from the same draws."""
    z = draws(200, 1)
    moved, acceptance = transition(
        z, lambda z: -z.square().sum(1) / 2, steps(1.7, 200), num_leapfrog=1, generator=seeded(3)
    )
    generator = seeded(3)
    p = torch.randn(z.shape, generator=generator, dtype=z.dtype)
    jitter, uniform = torch.rand(2, 200, generator=generator, dtype=z.dtype)
    size = 1.7 * (0.8 + 0.4 * jitter[:, None])
    half = p - size / 2 * z
    new_z = z + size * half
    new_p = half - size / 2 * new_z
    expected = ((z**2 + p**2 - new_z**2 - new_p**2) / 2).exp().clamp(max=1).flatten()
    torch.testing.assert_close(acceptance, expected)
    torch.testing.assert_close(moved[:, 0], torch.where(uniform < expected, new_z[:, 0], z[:, 0]))
    assert 0.1 < (moved == z).double().mean() < 0.9


def test_samples_have_the_posteriors_mean_and_covariance() -> None:
    model = LinearGaussian.drawn(3, 2, 0.7, seed=0)
    x = model.sample(1, seed=1)
    z, generator = draws(2000, 2), seeded(5)
    acceptance = z
    for _ in range(60):
        z, acceptance = transition(z, model.log_joint(x), steps(0.35, 2000), num_leapfrog=3, generator=generator)
    assert 0.3 < acceptance.mean() < 0.97  # so that a wrong rule of acceptance shows
    posterior = model.posterior(x)
    deviation = posterior.stddev[0]
    error = (z.mean(0) - posterior.mean[0]) / (deviation / 2000**0.5)
    assert error.abs().max() < 4
    torch.testing.assert_close(
        z.T.cov(), posterior.covariance_matrix[0], rtol=0, atol=4 * 2**0.5 * deviation.max().item() ** 2 / 2000**0.5
    )


def test_a_bent_density_has_its_moments() -> None:
    """For any p, E[z_j d log p / d z_j] = -1 (integration by parts)."""
    z, generator = draws(4000, 2), seeded(5)
    acceptance = z
    for _ in range(60):
        z, acceptance = transition(z, bent, steps(0.4, 4000), num_leapfrog=4, generator=generator)
    assert acceptance.mean() < 0.97
    z = z.requires_grad_()
    products = (z * torch.autograd.grad(bent(z).sum(), z)[0]).detach()
    error = (products.mean(0) + 1) / (products.std(0) / 4000**0.5)
    assert error.abs().max() < 4


def test_paths_as_long_as_a_period_do_not_stop_a_chain() -> None:
    """Of N(0, 1) the exact dynamics have period 2 pi: 21 steps of 0.3 lead back to where they began."""
    z, generator, size = 3 + 0.01 * draws(1000, 1), seeded(0), steps(0.3, 1000)
    for _ in range(10):
        z, _ = transition(z, lambda z: -z.square().sum(1) / 2, size, num_leapfrog=21, generator=generator)
    assert abs(z.mean()) < 0.15


@pytest.mark.parametrize("start", [0.001, 3.0])
def test_step_sizes_reach_the_target(start: float) -> None:
    scale = torch.tensor([1.0, 0.1] * 20, dtype=torch.float64)[:, None]  # wide and narrow chains, side by side
    z = draws(40, 5) * scale
    step, seen = starting_step(start, z), []
    generator = seeded(0)
    for k in range(600):
        z, acceptance = transition(
            z, lambda z: -(z / scale).square().sum(1) / 2, step.value, num_leapfrog=4, generator=generator
        )
        step = adapt(step, acceptance)
        if k >= 350:
            seen.append(acceptance)
    assert torch.stack(seen).mean().item() == pytest.approx(TARGET_ACCEPTANCE, abs=0.05)
    wide, narrow = step.value[::2].log().mean().exp(), step.value[1::2].log().mean().exp()
    assert (wide / narrow).item() == pytest.approx(10, rel=0.3)


def test_adapt_by_hand() -> None:
    step = StepSize(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0.6, 0.6, 0.7]))
    value, mean = adapt(step, torch.tensor([1.0, 1.0, 0.1]))
    torch.testing.assert_close(mean, torch.tensor([0.64, 0.64, 0.64]))
    torch.testing.assert_close(value, torch.tensor([0.98, 0.98, 1.96]))
    value, _ = adapt(StepSize(torch.ones(1), torch.tensor([0.65])), torch.tensor([0.66]))
    torch.testing.assert_close(value, torch.tensor([1.02]))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), float("inf")])
def test_energies_that_are_not_finite_are_rejected(bad: float) -> None:
    def walled(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 0, -z.square().sum(1) / 2, bad * torch.ones(len(z), dtype=z.dtype))

    z = acceptance = draws(100, 1).abs()
    for k in range(5):
        z, acceptance = transition(z, walled, steps(1.0, 100), num_leapfrog=2, generator=seeded(k))
        assert (z > 0).all()
        assert acceptance.isfinite().all()
    assert (acceptance == 0).any()
    assert (acceptance > 0).any()
    outside = -z
    stuck, acceptance = transition(outside, walled, steps(0.1, 100), num_leapfrog=2, generator=seeded(0))
    assert torch.equal(stuck, outside)
    assert not acceptance.any()


def test_chains_are_independent_and_seeds_repeat() -> None:
    def run(density: Callable[[Tensor], Tensor], seed: int) -> Tensor:
        return transition(draws(6, 2), density, steps(0.2, 6), num_leapfrog=2, generator=seeded(seed)).z

    def broken(z: Tensor) -> Tensor:
        return bent(z) * torch.tensor([1, 1, float("nan"), 1, 1, 1], dtype=z.dtype)

    assert torch.equal(run(bent, 0), run(bent, 0))
    assert not torch.equal(run(bent, 0), run(bent, 1))
    others = [0, 1, 3, 4, 5]
    assert torch.equal(run(broken, 0)[others], run(bent, 0)[others])


def test_it_works_under_no_grad_and_in_float32() -> None:
    with torch.no_grad():
        z, acceptance = transition(draws(3, 2).float(), bent, torch.full((3,), 0.1), num_leapfrog=2)
    assert (z.dtype, acceptance.dtype, z.requires_grad) == (torch.float32, torch.float32, False)


def test_bad_numbers() -> None:
    with pytest.raises(ValueError, match="num_leapfrog is 0"):
        transition(draws(3, 2), bent, steps(0.1, 3), num_leapfrog=0)
    for step_size in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="step_size is"):
            starting_step(step_size, draws(3, 2))
