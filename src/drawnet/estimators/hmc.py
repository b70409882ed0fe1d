"""Hamiltonian Monte Carlo for many independent chains at once.

Source: R. M. Neal, "MCMC using Hamiltonian dynamics" (2011, arXiv 1206.1901), sections 2.3 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

TARGET_ACCEPTANCE = 0.65  # near the best for many latents: Neal (2011), section 4.4
_STEP_SIZE_UP = 1.02
_STEP_SIZE_DOWN = 0.98
_ACCEPTANCE_DECAY = 0.9
_JITTER = 0.2  # paths of one length can be a period of the dynamics, again and again: the chain would stand still

# Of every chain `[chain, latent]` its log density, up to a constant: `[chain]`. A chain's value depends on it alone.
LogDensity = Callable[[Tensor], Tensor]


class Transition(NamedTuple):
    """Where the chains are after a transition, and min(1, exp(-dH)) of what each proposed."""

    z: Float[Tensor, "chain latent"]
    acceptance: Float[Tensor, "chain"]


class StepSize(NamedTuple):
    """The step size of each chain and a running mean of its acceptance probability."""

    value: Float[Tensor, "chain"]
    mean_acceptance: Float[Tensor, "chain"]


def leapfrog(
    z: Float[Tensor, "chain latent"],
    momentum: Float[Tensor, "chain latent"],
    log_density: LogDensity,
    step_size: Float[Tensor, "chain"],
    num_leapfrog: int,
) -> tuple[Float[Tensor, "chain latent"], Float[Tensor, "chain latent"]]:
    """Follow the dynamics of H = -log p(z) + |momentum|^2 / 2; keeps volumes, and goes back if the momentum is turned.

    momentum += step/2 grad log p(z);  z += step momentum;  momentum += step/2 grad log p(z)   (Neal 2011, section 2.3)

    Args:
        z: where the chains are.
        momentum: as long as z.
        log_density: log p, up to a constant.
        step_size: of each chain.
        num_leapfrog: number of steps.

    Returns:
        z and momentum after the steps.
    """
    step = step_size[:, None]
    gradient = _gradient(log_density, z)
    for _ in range(num_leapfrog):
        momentum = momentum + step / 2 * gradient
        z = z + step * momentum
        gradient = _gradient(log_density, z)
        momentum = momentum + step / 2 * gradient
    return z, momentum


def transition(
    z: Float[Tensor, "chain latent"],
    log_density: LogDensity,
    step_size: Float[Tensor, "chain"],
    *,
    num_leapfrog: int,
    generator: torch.Generator | None = None,
) -> Transition:
    """One transition of every chain, which leaves p invariant.

    momentum ~ N(0, I), leapfrog steps, accepted with probability min(1, exp(H - H*))     (Neal 2011, section 3.2)

    The step sizes of this path are drawn within 20 % of those given. A chain whose energy is not finite, before or
    after, stays where it is.

    Args:
        z: where the chains are.
        log_density: log p, up to a constant.
        step_size: of each chain.
        num_leapfrog: steps of the path.
        generator: draws momenta, step sizes and acceptances; None is torch's own.

    Raises:
        ValueError: `num_leapfrog` is below 1.
    """
    if num_leapfrog < 1:
        raise ValueError(f"num_leapfrog is {num_leapfrog}: it must be at least 1")
    momentum = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
    jitter, uniform = torch.rand(2, len(z), generator=generator, dtype=z.dtype, device=z.device)
    new_z, new_momentum = leapfrog(
        z, momentum, log_density, step_size * (1 + _JITTER * (2 * jitter - 1)), num_leapfrog
    )
    log_ratio = _energy(log_density, z, momentum) - _energy(log_density, new_z, new_momentum)
    acceptance = torch.where(log_ratio.isfinite(), log_ratio.clamp(max=0).exp(), 0)
    return Transition(torch.where((uniform < acceptance)[:, None], new_z, z), acceptance)


def adapt(step: StepSize, acceptance: Float[Tensor, "chain"]) -> StepSize:
    """Steps 2 % longer where the running mean of the acceptance is above `TARGET_ACCEPTANCE`, 2 % shorter elsewhere.

    While it adapts, a chain's kernel depends on its past and no longer leaves p exactly invariant: adapt first, then
    sample with fixed step sizes.

    Args:
        step: the step sizes so far.
        acceptance: of the last transition.
    """
    mean = _ACCEPTANCE_DECAY * step.mean_acceptance + (1 - _ACCEPTANCE_DECAY) * acceptance
    return StepSize(step.value * torch.where(mean > TARGET_ACCEPTANCE, _STEP_SIZE_UP, _STEP_SIZE_DOWN), mean)


def starting_step(step_size: float, z: Float[Tensor, "chain latent"]) -> StepSize:
    """The same step size for every chain, taken to be on target.

    Raises:
        ValueError: `step_size` is not above 0.
    """
    if not step_size > 0:
        raise ValueError(f"step_size is {step_size}: it must be above 0")
    return StepSize(z.new_full((len(z),), step_size), z.new_full((len(z),), TARGET_ACCEPTANCE))


def _energy(log_density: LogDensity, z: Tensor, momentum: Tensor) -> Tensor:
    with torch.no_grad():
        return momentum.square().sum(1) / 2 - log_density(z)


def _gradient(log_density: LogDensity, z: Tensor) -> Tensor:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        # Chains are independent, so the gradient of the sum holds each chain's own.
        return torch.autograd.grad(log_density(z).sum(), z)[0]
