"""report.json: a number with everything that is needed to read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from drawnet.checkpoint import Checkpoint
from drawnet.data import Dataset
from drawnet.evaluate import bits_per_dim, evaluate, evaluation_fields
from drawnet.models.registry import ModelConfig
from drawnet.models.vae import VAEConfig

# Of intensities read as probabilities; the paper says so of its own colour numbers.
CAVEAT = "a cross-entropy of intensities, as in the paper: not the compression cost of the image"


def pixel_kind(config: ModelConfig, dataset: Dataset) -> str:
    """What the nats of a model are a code length of: "bits", "256 levels"; or why they are none: "density" (a Gaussian
    decoder), "intensities" (read as Bernoulli probabilities)."""
    if isinstance(config, VAEConfig) and config.decoder == "gaussian":
        return "density"
    if (num_levels := getattr(config, "num_levels", 2)) > 2:
        return f"{num_levels} levels"
    return "bits" if dataset.binarization else "intensities"


def report(
    checkpoint: Checkpoint,
    dataset: Dataset,
    split_name: str,
    *,
    model_name: str,
    command: str,
    num_images: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
    **estimators: int,
) -> dict[str, Any]:
    """Evaluate a checkpoint on a split: the content of report.json and of `evaluate --json`.

    Args:
        checkpoint: what to evaluate.
        dataset: the images.
        split_name: "train", "validation" or "test".
        model_name: what to call the model.
        command: the command that asks for this.
        num_images: see `evaluate`.
        seed: see `evaluate`.
        device: where to evaluate.
        progress: see `evaluate`.
        estimators: `importance_samples` and the others of `evaluate`.

    Raises:
        ValueError: see `evaluate` and `Checkpoint.load_model`.
    """
    model = checkpoint.load_model().to(device)
    evaluation = evaluate(
        model,
        getattr(dataset, split_name),
        num_images=num_images,
        seed=seed,
        progress=progress,
        **estimators,
    )
    pixels = pixel_kind(model.config, dataset)
    is_code_length = pixels not in ("intensities", "density")
    num_values = model.config.num_channels * model.config.height * model.config.width
    return {
        "model": model_name,
        "dataset": dataset.name,
        "binarization": dataset.binarization,
        "split": split_name,
        **evaluation_fields(evaluation),
        "pixels": pixels,
        "caveat": CAVEAT if pixels == "intensities" else None,
        "bits_per_dim": bits_per_dim(evaluation.nats.mean, num_values) if is_code_length else None,
        "num_latent_samples": 0 if evaluation.exact else 1,
        "seed": seed,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "updates": checkpoint.trained.updates,
        "train_seconds": checkpoint.trained.seconds,
        "threads": checkpoint.trained.threads,
        "command": command,
    }
