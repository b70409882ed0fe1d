"""Evaluation: nats over a whole split, exact or a bound, in float32, with their standard error."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drawnet.data.dataset import Split
from drawnet.estimators.ais import ais_log_likelihood
from drawnet.estimators.posterior_density import posterior_density_log_likelihood
from drawnet.models.registry import LatentModel, Model

BATCH_SIZE = 250


@dataclass(frozen=True)
class Estimate:
    """A mean over images and the standard error of that mean, in nats per image."""

    mean: float
    standard_error: float

    @staticmethod
    def of(nats: Tensor) -> Estimate:
        """From one value an image, `[image]`. One image alone has no standard error: NaN."""
        deviation = nats.double().std().item() if len(nats) > 1 else math.nan
        return Estimate(nats.double().mean().item(), deviation / math.sqrt(len(nats)))


@dataclass(frozen=True)
class ImportanceEstimate(Estimate):
    """An importance-weighted bound (Burda et al. 2015, eq. 8) and its number of samples k."""

    num_samples: int


@dataclass(frozen=True)
class AnnealedEstimate(Estimate):
    """By annealed importance sampling: in expectation an upper bound of -log p(x), see `ais_log_likelihood`."""

    num_temperatures: int
    num_chains: int


@dataclass(frozen=True)
class PosteriorDensityEstimate(Estimate):
    """By appendix D of Kingma and Welling (2013), neither an upper nor a lower bound, and L, its samples."""

    num_samples: int


@dataclass(frozen=True)
class Evaluation:
    """What a model scores on a split.

    Attributes:
        num_images: how many images.
        exact: whether `nats` is -log p(x), or an upper bound of it (one sample of z an image).
        nats: per image.
        parts: mean nats of every part.
        kl_per_step: mean KL nats of every step; None for a model without steps.
        importance: the importance-weighted bound; this and those below are None if not asked for.
        annealed: the estimate by annealed importance sampling.
        posterior_density: the estimate of appendix D.
    """

    num_images: int
    exact: bool
    nats: Estimate
    parts: dict[str, float]
    kl_per_step: list[float] | None
    importance: ImportanceEstimate | None
    annealed: AnnealedEstimate | None
    posterior_density: PosteriorDensityEstimate | None


@torch.no_grad()
def evaluate(
    model: Model,
    split: Split,
    *,
    importance_samples: int = 0,
    ais_temperatures: int = 0,
    ais_chains: int = 16,
    posterior_samples: int = 0,
    num_images: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a model on a split, image by image in order.

    Args:
        model: evaluated in float32 whatever it was trained in, on its own device.
        split: the images; one whose pixels are resampled draws them from `seed`.
        importance_samples: k of the importance-weighted bound, 0 for none. k samples cost k evaluations. This and
            the next are for models with latents; an exact likelihood needs none.
        ais_temperatures: of annealed importance sampling, 0 for none. Every one costs about 20 evaluations a chain.
        ais_chains: for each image.
        posterior_samples: L of the estimator of appendix D for a few latents, 0 for none. Every one, and each
            of the 500 transitions before the first, costs about 20 evaluations.
        num_images: look at so many only, evenly spread over the split; None takes all.
        seed: of the latents.
        progress: called with the number of images done and to do.

    Raises:
        ValueError: a number is out of range, the model has nothing to weight, or the
            images are not of its shape or levels.
    """
    asked = {
        "importance_samples": importance_samples,
        "ais_temperatures": ais_temperatures,
        "posterior_samples": posterior_samples,
    }
    for name, number in asked.items():
        if number < 0:
            raise ValueError(f"{name} is {number}: it must be 0 or more")
        if number and not isinstance(model, LatentModel):
            raise ValueError(f"{name} is {number}: {type(model).__name__} has no latents, its nats are exact")
    if num_images is not None and num_images < 1:
        raise ValueError(f"num_images is {num_images}: it must be at least 1")
    device = next(model.parameters()).device
    model = model.float()
    generator = torch.Generator(device).manual_seed(seed)
    pixel_generator = torch.Generator().manual_seed(seed + 1)
    # Their own generators: the plain bound is the same whatever else is asked for.
    importance_generator, ais_generator, posterior_generator = (
        torch.Generator(device).manual_seed(seed + offset) for offset in (2, 3, 4)
    )
    total = min(len(split), num_images if num_images is not None else len(split))
    chosen = spread_indices(total, len(split))
    nats, parts, importance, annealed, posterior, exact = [], [], [], [], [], True
    for start in range(0, total, BATCH_SIZE):
        indices = chosen[start : start + BATCH_SIZE]
        x = split.batch(indices, pixel_generator).to(device)
        likelihood = model.nll(x, generator=generator)
        exact = likelihood.exact
        nats.append(likelihood.nats)
        parts.append({name: part.double().sum(0) for name, part in likelihood.parts.items()})
        if importance_samples:
            assert isinstance(model, LatentModel)
            samples = (
                model.nll(x, generator=importance_generator, kl="sampled").nats for _ in range(importance_samples)
            )
            log_weights = torch.stack([-sample.double() for sample in samples])
            importance.append(math.log(importance_samples) - log_weights.logsumexp(0))
        if ais_temperatures or posterior_samples:
            assert isinstance(model, LatentModel)
            log_likelihood, size = _log_likelihood(model, x), math.prod(model.latent_shape)
            if ais_temperatures:
                log_p = ais_log_likelihood(
                    log_likelihood,
                    len(x),
                    size,
                    num_chains=ais_chains,
                    num_temperatures=ais_temperatures,
                    generator=ais_generator,
                    device=device,
                )
                annealed.append(-log_p)
            if posterior_samples:
                log_p = posterior_density_log_likelihood(
                    log_likelihood,
                    len(x),
                    size,
                    num_samples=posterior_samples,
                    generator=posterior_generator,
                    device=device,
                )
                posterior.append(-log_p)
        progress(start + len(indices), total)
    sums = {name: torch.stack([part[name] for part in parts]).sum(0) / total for name in parts[0]}
    iw, ais, density = (Estimate.of(torch.cat(v)) if v else None for v in (importance, annealed, posterior))
    return Evaluation(
        num_images=total,
        exact=exact,
        nats=Estimate.of(torch.cat(nats)),
        parts={name: mean.sum().item() for name, mean in sums.items()},
        kl_per_step=sums["kl"].tolist() if "kl" in sums and sums["kl"].ndim else None,
        importance=ImportanceEstimate(iw.mean, iw.standard_error, importance_samples) if iw else None,
        annealed=AnnealedEstimate(ais.mean, ais.standard_error, ais_temperatures, ais_chains) if ais else None,
        posterior_density=PosteriorDensityEstimate(density.mean, density.standard_error, posterior_samples)
        if density
        else None,
    )


def spread_indices(count: int, num_images: int) -> Tensor:
    """`count` of the indices below `num_images`, evenly spread: a split may be sorted, as binarized MNIST's test
    split is by digit."""
    return torch.arange(count) * num_images // count


def _log_likelihood(model: LatentModel, x: Tensor) -> Callable[[Tensor], Tensor]:
    """log p(x | z) of z `[row, latent]`; row c * batch + i is of image i."""

    def log_likelihood(z: Tensor) -> Tensor:
        return -model.decoder_nats(x.repeat(len(z) // len(x), 1, 1, 1), z.unflatten(1, model.latent_shape))

    return log_likelihood


def bits_per_dim(nats: float, num_values: int) -> float:
    """nats / (D ln 2) for an image of D values."""
    return nats / (num_values * math.log(2))


def evaluation_fields(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation's share of report.json."""
    return {
        "num_images": evaluation.num_images,
        "exact": evaluation.exact,
        "nats": _json(evaluation.nats),
        "parts": evaluation.parts,
        "kl_per_step": evaluation.kl_per_step,
        "importance": evaluation.importance and _json(evaluation.importance),
        "annealed": evaluation.annealed and _json(evaluation.annealed),
        "posterior_density": evaluation.posterior_density and _json(evaluation.posterior_density),
    }


def _json(estimate: Estimate) -> dict[str, float | None]:
    """JSON has no NaN."""
    error = estimate.standard_error
    return dataclasses.asdict(estimate) | {"standard_error": None if math.isnan(error) else error}
