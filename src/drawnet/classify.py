"""Classifiers: their error on a whole split, and the report that says how to read it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from drawnet.checkpoint import Checkpoint
from drawnet.data.batches import Source
from drawnet.data.labelled import Labelled, LabelledDataset
from drawnet.evaluate import Estimate, spread_indices
from drawnet.models.ram import RAM
from drawnet.models.registry import Classifier

BATCH_SIZE = 250


@dataclass(frozen=True)
class ClassifierEvaluation:
    """What a classifier scores on a split.

    Attributes:
        num_images: how many images.
        error: share of them whose most probable class is not their label; its standard error is the binomial one.
        nats: cross-entropy, -log p(label | image).
    """

    num_images: int
    error: Estimate
    nats: Estimate


@torch.no_grad()
def evaluate_classifier(
    model: Classifier,
    split: Source[Labelled],
    *,
    num_images: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClassifierEvaluation:
    """Score a classifier on a split of fixed images, in float32, by one look at each image; nothing is random.

    Args:
        model: evaluated on its own device.
        split: the images.
        num_images: look at so many only, evenly spread over the split; None takes all.
        progress: called with the number of images done and to do.

    Raises:
        ValueError: `num_images` below 1, or images that are not of the model's shape.
    """
    if num_images is not None and num_images < 1:
        raise ValueError(f"num_images is {num_images}: it must be at least 1")
    device = next(model.parameters()).device
    model = model.float()
    total = min(len(split), num_images if num_images is not None else len(split))
    nats, wrong = [], 0
    for indices in spread_indices(total, len(split)).split(BATCH_SIZE):
        batch = split.batch(indices).to(device)
        log_probs = model.look(batch.images).log_probs
        nats.append(-log_probs.gather(1, batch.labels[:, None]).squeeze(1))
        wrong += int((log_probs.argmax(1) != batch.labels).sum())
        progress(sum(map(len, nats)), total)
    error = wrong / total
    return ClassifierEvaluation(
        total, Estimate(error, math.sqrt(error * (1 - error) / total)), Estimate.of(torch.cat(nats))
    )


def classifier_fields(evaluation: ClassifierEvaluation) -> dict[str, Any]:
    """The evaluation's share of report.json."""
    nats = dataclasses.asdict(evaluation.nats)
    if math.isnan(evaluation.nats.standard_error):  # JSON has no NaN
        nats["standard_error"] = None
    return {
        "num_images": evaluation.num_images,
        "error": dataclasses.asdict(evaluation.error),
        "nats": nats,
        "parts": {"cross-entropy": evaluation.nats.mean},
    }


def classifier_report(
    checkpoint: Checkpoint,
    dataset: LabelledDataset,
    split_name: str,
    *,
    model_name: str,
    command: str,
    num_images: int | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Evaluate a checkpoint on a split: the content of report.json and of `classify evaluate --json`.

    Args:
        checkpoint: what to evaluate.
        dataset: the images.
        split_name: "validation" or "test".
        model_name: what to call the model.
        command: the command that asks for this.
        num_images: see `evaluate_classifier`.
        device: where to evaluate.
        progress: see `evaluate_classifier`.

    Raises:
        ValueError: see `evaluate_classifier` and `Checkpoint.load_classifier`.
    """
    model = checkpoint.load_classifier().to(device)
    evaluation = evaluate_classifier(model, getattr(dataset, split_name), num_images=num_images, progress=progress)
    return {
        "model": model_name,
        "dataset": dataset.name,
        "split": split_name,
        **classifier_fields(evaluation),
        "estimator": estimator(model),
        "num_glimpses": getattr(model.config, "num_glimpses", None),
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "updates": checkpoint.trained.updates,
        "train_seconds": checkpoint.trained.seconds,
        "threads": checkpoint.trained.threads,
        "command": command,
    }


def estimator(model: Classifier) -> str:
    """How the error of a classifier is measured, in words."""
    how = ", every place at the mean of the policy" if isinstance(model, RAM) else ""
    return (
        "share of images whose most probable class is not their label, with its binomial standard error; "
        f"one look at each image{how}"
    )
