"""Labelled images and classifiers small enough to train in a second."""

from __future__ import annotations

import torch

from drawnet.data.cluttered_mnist import ClutteredSplit, Recipe
from drawnet.data.labelled import LabelledDataset
from drawnet.models.conv_classifier import ConvClassifierConfig
from drawnet.models.glimpse_classifier import GlimpseClassifierConfig
from drawnet.models.ram import RAMConfig
from drawnet.models.registry import ClassifierConfig
from drawnet.presets import RunConfig
from drawnet.train import TrainingConfig

SIDE, NUM_CLASSES = 10, 3
RECIPE = Recipe(SIDE, num_distractors=1, distractor_side=2)

TOY_CLASSIFIERS: dict[str, ClassifierConfig] = {
    "glimpse-classifier": GlimpseClassifierConfig(
        SIDE, SIDE, num_glimpses=3, hidden_size=12, read_size=3, num_classes=NUM_CLASSES
    ),
    "ram": RAMConfig(
        SIDE, SIDE, num_glimpses=3, hidden_size=12, glimpse_size=8, patch_size=3, num_scales=2, num_classes=NUM_CLASSES
    ),
    "conv-classifier": ConvClassifierConfig(
        SIDE, SIDE, num_maps=3, kernel_size=3, hidden_size=12, num_classes=NUM_CLASSES
    ),
}


def bars(num_images: int, seed: int) -> ClutteredSplit:
    """6 x 6 pixels: a row, a column, or both, in the middle."""
    labels = torch.randint(NUM_CLASSES, (num_images,), generator=torch.Generator().manual_seed(seed))
    digits = torch.zeros(num_images, 1, 6, 6, dtype=torch.uint8)
    digits[labels != 1, :, 2:4, :] = 255
    digits[labels != 0, :, :, 2:4] = 255
    return ClutteredSplit(digits, labels.to(torch.uint8), RECIPE)


def toy_labelled() -> LabelledDataset:
    shape = (1, SIDE, SIDE)
    return LabelledDataset("bars", bars(60, 0), bars(20, 1).fixed(1), bars(30, 2).fixed(2), shape, NUM_CLASSES)


def toy_classifier_config(model: str = "glimpse-classifier", **training: object) -> RunConfig:
    plan = {"epochs": 5.0, "batch_size": 10, "warmup_updates": 3, "num_validations": 2, **training}
    return RunConfig("bars", model=TOY_CLASSIFIERS[model], training=TrainingConfig(**plan))  # type: ignore[arg-type]
