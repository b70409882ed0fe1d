"""Annealed importance sampling of log p(x) for decoders.

Sources: R. M. Neal, "Annealed importance sampling" (2001, arXiv physics/9803008); Y. Wu, Y. Burda, R. Salakhutdinov,
R. Grosse, "On the quantitative analysis of decoder-based generative models" (2016, arXiv 1611.04273).

z goes from the prior N(0, I) to the posterior by way of p_k(z) ~ p(z) p(x | z)^beta_k with
0 = beta_0 < ... < beta_K = 1:

    log w = sum_k (beta_k - beta_{k-1}) log p(x | z_{k-1}),    z_0 ~ p(z),    z_k ~ HMC that leaves p_k invariant

Then E[w] = p(x), whatever K, so that E[log mean w] <= log p(x); K decides how far below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from drawnet.estimators.hmc import LogDensity, adapt, starting_step, transition

Schedule = Literal["sigmoid", "linear"]
_SIGMOID_SPAN = 4.0  # delta


def temperatures(num_temperatures: int, schedule: Schedule = "sigmoid") -> Float[Tensor, "temperatures"]:
    """beta_0 = 0, ..., beta_K = 1: evenly spaced, or closest together at both ends.

    sigmoid: beta_k ~ s(delta (2k/K - 1)), shifted and scaled to [0, 1], with s the logistic function and delta = 4
    (Wu et al. 2016).

    Args:
        num_temperatures: K.
        schedule: "sigmoid" or "linear".

    Raises:
        ValueError: `num_temperatures` is below 1, or there is no such schedule.
    """
    if num_temperatures < 1:
        raise ValueError(f"num_temperatures is {num_temperatures}: it must be at least 1")
    if schedule not in ("sigmoid", "linear"):
        raise ValueError(f"schedule is {schedule!r}: it must be 'sigmoid' or 'linear'")
    k = torch.linspace(0, 1, num_temperatures + 1, dtype=torch.float64)
    if schedule == "linear":
        return k
    raw = torch.sigmoid(_SIGMOID_SPAN * (2 * k - 1))
    return (raw - raw[0]) / (raw[-1] - raw[0])


def ais_log_likelihood(
    log_likelihood: LogDensity,
    num_images: int,
    latent_size: int,
    *,
    num_chains: int = 16,
    num_temperatures: int = 1000,
    num_leapfrog: int = 10,
    step_size: float = 0.1,
    schedule: Schedule = "sigmoid",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "image"]:
    """log of the mean weight of `num_chains` chains for each image, in nats: in expectation a lower bound of log p(x).

    A pilot run of one chain an image adapts the step size of every temperature and image. The chains that count take
    these as given: step sizes that followed their own chain, as in Wu et al., would make E[w] = p(x) only approximate.

    Args:
        log_likelihood: log p(x | z) in nats, `[chain]`, of z `[chain, latent]`, differentiable. Row c * num_images + i
            is chain c of image i. It is called with `num_images` rows (the pilot) and `num_chains * num_images`.
        num_images: how many images.
        latent_size: length of z.
        num_chains: for each image.
        num_temperatures: K.
        num_leapfrog: leapfrog steps of a transition.
        step_size: of the leapfrog steps, where the pilot starts; each temperature changes it by two per cent.
        schedule: see `temperatures`.
        generator: draws everything, on `device`; None is torch's own.
        dtype: of z.
        device: of z.
        progress: called with the number of temperatures done and in total, the pilot's among them.

    Raises:
        ValueError: a count is below 1, or `step_size` is not above 0.
    """
    counts = {"num_images": num_images, "latent_size": latent_size, "num_chains": num_chains}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")
    betas = temperatures(num_temperatures, schedule)
    total = 2 * num_temperatures

    def draw(num_rows: int) -> Tensor:
        return torch.randn(num_rows, latent_size, generator=generator, dtype=dtype, device=device)

    step_sizes = tune_step_sizes(
        log_likelihood,
        draw(num_images),
        betas,
        step_size,
        num_leapfrog=num_leapfrog,
        generator=generator,
        progress=lambda done, _: progress(done, total),
    )
    log_weights = ais_log_weights(
        log_likelihood,
        draw(num_chains * num_images),
        betas,
        step_sizes.repeat(1, num_chains),
        num_leapfrog=num_leapfrog,
        generator=generator,
        progress=lambda done, _: progress(num_temperatures + done, total),
    )
    return log_weights.reshape(num_chains, num_images).logsumexp(0) - math.log(num_chains)


def ais_log_weights(
    log_likelihood: LogDensity,
    z: Float[Tensor, "chain latent"],
    betas: Float[Tensor, "temperatures"],
    step_sizes: Float[Tensor, "transitions chain"],
    *,
    num_leapfrog: int,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "chain"]:
    """log w of each chain, in float64; E[w] = p(x).

    Args:
        log_likelihood: log p(x | z) in nats, `[chain]`, of z `[chain, latent]`.
        z: z_0, drawn from N(0, I).
        betas: see `temperatures`.
        step_sizes: of the transitions at beta_1, ..., beta_{K-1}; they must not depend on these chains.
        num_leapfrog: leapfrog steps of a transition.
        generator: draws the transitions; None is torch's own.
        progress: called with the number of temperatures done and in total.
    """
    num_temperatures = len(betas) - 1
    assert len(step_sizes) == num_temperatures - 1, (len(step_sizes), num_temperatures)
    log_weights = torch.zeros(len(z), dtype=torch.float64, device=z.device)
    for k in range(1, num_temperatures + 1):
        with torch.no_grad():
            log_weights += (betas[k] - betas[k - 1]).item() * log_likelihood(z).double()
        if k < num_temperatures:  # what a transition at beta_K would reach has no weight left to earn
            annealed = _annealed(log_likelihood, betas[k].item())
            z = transition(z, annealed, step_sizes[k - 1], num_leapfrog=num_leapfrog, generator=generator).z
        progress(k, num_temperatures)
    return log_weights


def tune_step_sizes(
    log_likelihood: LogDensity,
    z: Float[Tensor, "chain latent"],
    betas: Float[Tensor, "temperatures"],
    step_size: float,
    *,
    num_leapfrog: int,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "transitions chain"]:
    """The step sizes that chains arrive at which adapt them on the way, at beta_1, ..., beta_{K-1}.

    Args:
        log_likelihood: as for `ais_log_weights`.
        z: z_0, drawn from N(0, I).
        betas: see `temperatures`.
        step_size: at the start.
        num_leapfrog: leapfrog steps of a transition.
        generator: draws the transitions; None is torch's own.
        progress: called with the number of temperatures done and in total.

    Raises:
        ValueError: `step_size` is not above 0, or `num_leapfrog` is below 1.
    """
    num_temperatures = len(betas) - 1
    step, step_sizes = starting_step(step_size, z), z.new_empty(num_temperatures - 1, len(z))
    for k in range(1, num_temperatures):
        annealed = _annealed(log_likelihood, betas[k].item())
        step_sizes[k - 1] = step.value
        z, acceptance = transition(z, annealed, step.value, num_leapfrog=num_leapfrog, generator=generator)
        step = adapt(step, acceptance)
        progress(k, num_temperatures)
    progress(num_temperatures, num_temperatures)
    return step_sizes


def _annealed(log_likelihood: LogDensity, beta: float) -> LogDensity:
    """log p_k(z) = log N(z; 0, I) + beta log p(x | z), up to a constant."""
    return lambda z: beta * log_likelihood(z) - z.square().sum(1) / 2
