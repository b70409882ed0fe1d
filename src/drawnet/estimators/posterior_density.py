"""The marginal likelihood estimator of "Auto-Encoding Variational Bayes" (Kingma, Welling 2013), appendix D.

    1. L samples z of p(z | x), by HMC
    2. a density q(z) fitted to them
    3. L new samples of p(z | x):    1 / p(x) = E[q(z) / (p(z) p(x | z))] ~ their mean

The paper leaves the density of step 2 open; here it is a Gaussian with full covariance. The identity of step 3 holds
for every normalised q; the nearer q is to the posterior, the less the mean varies, and where q's tails are much
heavier than the posterior's a few samples decide it. For few latents (the paper: fewer than 5), as q has to be close.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from drawnet.estimators.hmc import LogDensity, adapt, starting_step, transition

_RIDGE = 1e-6  # of the mean variance, added to the diagonal: samples that lie in a plane have a density too


def posterior_density_log_likelihood(
    log_likelihood: LogDensity,
    num_images: int,
    latent_size: int,
    *,
    num_samples: int = 1000,
    num_burn_in: int = 500,
    num_thin: int = 1,
    num_leapfrog: int = 10,
    step_size: float = 0.1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Float[Tensor, "image"]:
    """log p(x) of each image, in nats, by appendix D of Kingma and Welling (2013).

    One chain an image, started at a draw from the prior. It adapts its step size during the burn-in only.

    Args:
        log_likelihood: log p(x | z) in nats, `[image]`, of z `[image, latent]`, differentiable.
        num_images: how many images.
        latent_size: length of z.
        num_samples: L, which is used twice: for q, and for the mean.
        num_burn_in: transitions before the first sample.
        num_thin: transitions from one sample to the next.
        num_leapfrog: leapfrog steps of a transition.
        step_size: of the leapfrog steps at the start.
        generator: draws everything, on `device`; None is torch's own.
        dtype: of z.
        device: of z.
        progress: called with the number of transitions done and in total.

    Raises:
        ValueError: a count is out of range, `step_size` is not above 0, or a chain never moved.
    """
    counts = {"num_images": num_images, "latent_size": latent_size, "num_thin": num_thin}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}: it must be at least 1")
    if num_burn_in < 0:
        raise ValueError(f"num_burn_in is {num_burn_in}: it must be 0 or more")
    if num_samples <= latent_size:
        raise ValueError(
            f"num_samples is {num_samples}: it must be above latent_size, {latent_size}, to fit a Gaussian"
        )

    def log_joint(z: Tensor) -> Tensor:
        """log p(z) p(x | z)."""
        return log_likelihood(z) - z.square().sum(1) / 2 - latent_size / 2 * math.log(2 * math.pi)

    z = torch.randn(num_images, latent_size, generator=generator, dtype=dtype, device=device)
    step = starting_step(step_size, z)
    fitted_to, new = z.new_empty(2, num_samples, num_images, latent_size)
    total = num_burn_in + 2 * num_samples * num_thin
    for done in range(1, total + 1):
        z, acceptance = transition(z, log_joint, step.value, num_leapfrog=num_leapfrog, generator=generator)
        if done <= num_burn_in:
            step = adapt(step, acceptance)
        elif (done - num_burn_in) % num_thin == 0:
            sample = (done - num_burn_in) // num_thin - 1
            (fitted_to if sample < num_samples else new)[sample % num_samples] = z
        progress(done, total)

    q = fit_gaussian(fitted_to)
    with torch.no_grad():
        log_ratios = torch.stack([log_q - log_joint(z) for log_q, z in zip(q.log_prob(new), new, strict=True)])
    return math.log(num_samples) - log_ratios.double().logsumexp(0)


def fit_gaussian(samples: Float[Tensor, "sample image latent"]) -> torch.distributions.MultivariateNormal:
    """A Gaussian for each image: mean and covariance of its samples, with a small ridge on the diagonal.

    Raises:
        ValueError: all samples of an image are the same.
    """
    if (stuck := (samples == samples[0]).all(2).all(0)).any():
        image = stuck.nonzero()[0].item()
        raise ValueError(
            f"the chain of image {image} never moved: log p(x | z) is not finite there, or step_size too big"
        )
    mean = samples.mean(0)
    centred = samples - mean
    covariance = torch.einsum("sij,sik->ijk", centred, centred) / (len(samples) - 1)
    ridge = _RIDGE * covariance.diagonal(dim1=1, dim2=2).mean(1)
    identity = torch.eye(samples.shape[2], dtype=samples.dtype, device=samples.device)
    return torch.distributions.MultivariateNormal(mean, covariance + ridge[:, None, None] * identity)
