"""A data set and a run small enough to train in a second."""

from __future__ import annotations

import dataclasses

import torch

from drawnet.data import Dataset, Split
from drawnet.models.draw import DrawConfig
from drawnet.models.multiscale import MultiScaleConfig
from drawnet.models.pixelcnn import PixelCNNConfig
from drawnet.models.pixelrnn import PixelRNNConfig
from drawnet.models.registry import ModelConfig
from drawnet.models.vae import VAEConfig
from drawnet.presets import RunConfig
from drawnet.train import TrainingConfig


def bars(num_images: int, seed: int, resample: bool = False) -> Split:
    """8 x 8 images with one full row or column each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(num_images, 1, 8, 8, dtype=torch.uint8)
    for i, place in enumerate(torch.randint(16, (num_images,), generator=generator).tolist()):
        if place < 8:
            images[i, 0, place] = 1
        else:
            images[i, 0, :, place - 8] = 1
    return Split(images, max_value=1, resample=resample)


def toy_dataset() -> Dataset:
    return Dataset("toy", bars(60, 0, resample=True), bars(20, 1), bars(30, 2), "fixed")


TOY_MODELS: dict[str, ModelConfig] = {
    "draw": DrawConfig(8, 8, 1, num_glimpses=3, hidden_size=12, latent_size=2, read_size=2, write_size=3),
    "vae": VAEConfig(8, 8, 1, hidden_size=12, latent_size=2),
    "pixelcnn": PixelCNNConfig(8, 8, num_layers=2, hidden_size=4, head_size=6),
    "pixelrnn": PixelRNNConfig("diagonal", 8, 8, num_layers=1, hidden_size=4, head_size=6),
    "multiscale": MultiScaleConfig(
        "row", 8, 8, small_num_layers=1, small_hidden_size=4, num_layers=1, hidden_size=4, num_condition_maps=3
    ),
}


def toy_config(model: str = "draw", **training: object) -> RunConfig:
    plan = {"epochs": 5.0, "batch_size": 10, "warmup_updates": 3, "num_validations": 2, **training}
    return RunConfig(dataset="toy", model=TOY_MODELS[model], training=TrainingConfig(**plan))  # type: ignore[arg-type]


def with_training(config: RunConfig, **changes: object) -> RunConfig:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))  # type: ignore[arg-type]
