"""Whole runs of classifiers by name: Table 1 of DRAW, and the easier images of the recurrent attention model's paper.

`cluttered-100-glimpses-8` is the paper's best row. The first two words are the images, the rest is the model:
`glimpses` the Differentiable RAM, `ram` RAM itself, each with so many glimpses; `conv` the convolutional network.
"""

from __future__ import annotations

import dataclasses

from drawnet.data.cluttered_mnist import RECIPES
from drawnet.models.conv_classifier import ConvClassifierConfig
from drawnet.models.glimpse_classifier import GlimpseClassifierConfig
from drawnet.models.ram import RAMConfig
from drawnet.models.registry import ClassifierConfig
from drawnet.presets import RunConfig
from drawnet.train import TrainingConfig

NUM_GLIMPSES = (8, 4)  # the rows of Table 1


def classifier_run(dataset: str, model: ClassifierConfig) -> RunConfig:
    """An hour of a classifier. The papers state no recipe: learning rate, batch size and averaging are ours.

    Args:
        dataset: one of `RECIPES`.
        model: the classifier.
    """
    # All validation images: every second one alone is harder (docs/design.md).
    training = TrainingConfig(minutes=60, learning_rate=1e-3, num_validation_images=10_000)
    if isinstance(model, GlimpseClassifierConfig):
        # Its gradient passes through every place it looked at, and explodes for some images (docs/design.md).
        training = dataclasses.replace(training, learning_rate=3e-4, clip_norm=1.0)
    elif isinstance(model, RAMConfig):
        # The policy learns from a noisy gradient, which is not to decide how far everything else moves.
        training = dataclasses.replace(training, clip="per-tensor")
    return RunConfig(dataset, model=model, training=training)


def _presets() -> dict[str, RunConfig]:
    presets = {}
    for dataset, recipe in RECIPES.items():
        images, side = dataset.replace("-mnist", ""), recipe.side
        for t in NUM_GLIMPSES:
            presets[f"{images}-glimpses-{t}"] = classifier_run(dataset, GlimpseClassifierConfig(side, side, 1, t))
        for t in NUM_GLIMPSES:
            presets[f"{images}-ram-{t}"] = classifier_run(dataset, RAMConfig(side, side, 1, t))
        presets[f"{images}-conv"] = classifier_run(dataset, ConvClassifierConfig(side, side))
    return presets


CLASSIFIER_PRESETS = _presets()
