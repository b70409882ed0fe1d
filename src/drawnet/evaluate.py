"""Evaluation: the bound over a whole split, in float32, with its standard error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from drawnet.data.dataset import Split
from drawnet.models.draw import Draw

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
class Evaluation:
    """What a model scores on a split.

    Attributes:
        num_images: how many images.
        exact: whether `nats` is -log p(x), or an upper bound of it (one sample of z an image).
        nats: per image.
        parts: mean nats of every part.
        kl_per_step: mean KL nats of every step; None for a model without steps.
        importance: the importance-weighted bound; None if not asked for.
    """

    num_images: int
    exact: bool
    nats: Estimate
    parts: dict[str, float]
    kl_per_step: list[float] | None
    importance: ImportanceEstimate | None


@torch.no_grad()
def evaluate(
    model: Draw,
    split: Split,
    *,
    importance_samples: int = 0,
    num_images: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a model on a split, image by image in order.

    Args:
        model: evaluated in float32 whatever it was trained in, on its own device.
        split: the images; one whose pixels are resampled draws them from `seed`.
        importance_samples: k of the importance-weighted bound, 0 for none. k samples cost k evaluations.
        num_images: look at the first so many only; None takes all.
        seed: of the latents.
        progress: called with the number of images done and to do.

    Raises:
        ValueError: `importance_samples` or `num_images` is out of range, or the images are not of the model's shape.
    """
    if importance_samples < 0:
        raise ValueError(f"importance_samples is {importance_samples}: it must be 0 or more")
    if num_images is not None and num_images < 1:
        raise ValueError(f"num_images is {num_images}: it must be at least 1")
    device = next(model.parameters()).device
    model = model.float()
    generator = torch.Generator(device).manual_seed(seed)
    pixel_generator = torch.Generator().manual_seed(seed + 1)
    importance_generator = torch.Generator(device).manual_seed(
        seed + 2
    )  # its own: the plain bound is the same for any k
    total = min(len(split), num_images if num_images is not None else len(split))
    nats, parts, importance, exact = [], [], [], True
    for start in range(0, total, BATCH_SIZE):
        indices = torch.arange(start, min(start + BATCH_SIZE, total))
        x = split.batch(indices, pixel_generator).to(device)
        likelihood = model.nll(x, generator=generator)
        exact = likelihood.exact
        nats.append(likelihood.nats)
        parts.append({name: part.double().sum(0) for name, part in likelihood.parts.items()})
        if importance_samples:
            samples = (
                model.nll(x, generator=importance_generator, kl="sampled").nats for _ in range(importance_samples)
            )
            log_weights = torch.stack([-sample.double() for sample in samples])
            importance.append(math.log(importance_samples) - log_weights.logsumexp(0))
        progress(int(indices[-1]) + 1, total)
    sums = {name: torch.stack([part[name] for part in parts]).sum(0) / total for name in parts[0]}
    iw = Estimate.of(torch.cat(importance)) if importance else None
    return Evaluation(
        num_images=total,
        exact=exact,
        nats=Estimate.of(torch.cat(nats)),
        parts={name: mean.sum().item() for name, mean in sums.items()},
        kl_per_step=sums["kl"].tolist() if "kl" in sums and sums["kl"].ndim else None,
        importance=ImportanceEstimate(iw.mean, iw.standard_error, importance_samples) if iw else None,
    )


def bits_per_dim(nats: float, num_values: int) -> float:
    """nats / (D ln 2) for an image of D values."""
    return nats / (num_values * math.log(2))


def evaluation_fields(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation's share of report.json."""
    importance = evaluation.importance
    return {
        "num_images": evaluation.num_images,
        "exact": evaluation.exact,
        "nats": _json(evaluation.nats),
        "parts": evaluation.parts,
        "kl_per_step": evaluation.kl_per_step,
        "importance": importance and {"num_samples": importance.num_samples, **_json(importance)},
    }


def _json(estimate: Estimate) -> dict[str, float | None]:
    """JSON has no NaN."""
    error = estimate.standard_error
    return {"mean": estimate.mean, "standard_error": None if math.isnan(error) else error}
