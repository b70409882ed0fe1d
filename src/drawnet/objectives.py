"""What training makes small: a scalar to differentiate, and what it says in nats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from drawnet.data.labelled import Labelled
from drawnet.models.classification import ClassificationLoss
from drawnet.models.registry import Classifier
from drawnet.models.vae import VAE
from drawnet.nn.likelihood import NegativeLogLikelihood

Loss = tuple[Tensor, dict[str, float]]  # to be differentiated; mean nats of the batch, part by part
Objective = Callable[[Any, torch.Generator], Loss]  # of a batch; the generator draws whatever is random


def likelihood(nll: Callable[..., NegativeLogLikelihood]) -> Objective:
    """The mean nats of a batch of images, by a model's `nll`."""

    def objective(x: Tensor, generator: torch.Generator) -> Loss:
        result = nll(x, generator=generator)
        return result.nats.mean(), {name: part.detach().sum().item() / len(x) for name, part in result.parts.items()}

    return objective


def wake_sleep(model: VAE) -> Objective:
    """The wake-sleep loss of a VAE (Hinton et al. 1995)."""

    def objective(x: Tensor, generator: torch.Generator) -> Loss:
        loss = model.wake_sleep_loss(x, generator=generator)
        return loss, {"wake-sleep": loss.item()}

    return objective


def classification(loss: Callable[..., ClassificationLoss]) -> Objective:
    """A classifier's `loss`; the nats are its cross-entropy, whatever else it learns from."""

    def objective(batch: Labelled, generator: torch.Generator) -> Loss:
        result = loss(batch.images, batch.labels, generator=generator)
        return result.total, {"cross-entropy": result.nats.detach().mean().item()}

    return objective


def objective_of(model: Any, name: str, *, compile: bool) -> Objective:
    """What a model is trained by.

    Args:
        model: a model of images or a classifier.
        name: "likelihood" (of the images, or of the labels given the images), or "wake-sleep".
        compile: torch.compile it.

    Raises:
        ValueError: wake-sleep, and the model has no such loss.
    """
    if name == "wake-sleep":
        if not isinstance(model, VAE):
            raise ValueError(f"objective is 'wake-sleep': it is for a VAE, not for {type(model).__name__}")
        return wake_sleep(model)
    compiled = torch.compile if compile else lambda function: function
    return classification(compiled(model.loss)) if isinstance(model, Classifier) else likelihood(compiled(model.nll))
