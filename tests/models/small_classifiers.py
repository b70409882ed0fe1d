"""Small classifiers in float64 for the tests, with random numbers in every parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from drawnet.models.conv_classifier import ConvClassifier, ConvClassifierConfig
from drawnet.models.glimpse_classifier import GlimpseClassifier, GlimpseClassifierConfig
from drawnet.models.ram import RAM, RAMConfig
from drawnet.models.registry import Classifier


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomised(model: Classifier, scale: float = 0.5, seed: int = 0) -> Classifier:
    """Float64, so that no parameter hides behind a zero."""
    model, generator = model.double(), seeded(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def small_glimpse_classifier(**sizes: int) -> GlimpseClassifier:
    defaults = {"height": 6, "width": 7, "num_glimpses": 3, "hidden_size": 4, "read_size": 3, "num_classes": 3}
    return randomised(GlimpseClassifier(GlimpseClassifierConfig(**{**defaults, **sizes})))  # type: ignore[return-value]


def small_ram(scale: float = 0.5, seed: int = 0, **sizes: float) -> RAM:
    defaults = {
        "height": 9, "width": 8, "num_glimpses": 3, "hidden_size": 5, "glimpse_size": 4, "patch_size": 3,
        "num_scales": 2, "location_sigma": 0.4, "num_classes": 3,
    }  # fmt: skip
    return randomised(RAM(RAMConfig(**{**defaults, **sizes})), scale, seed)  # type: ignore[arg-type, return-value]


def small_conv_classifier(**sizes: int) -> ConvClassifier:
    defaults = {"height": 20, "width": 15, "num_maps": 2, "kernel_size": 3, "hidden_size": 5, "num_classes": 3}
    return randomised(ConvClassifier(ConvClassifierConfig(**{**defaults, **sizes})))  # type: ignore[return-value]


def images_and_labels(model: Classifier, num_images: int = 4, seed: int = 1) -> tuple[Tensor, Tensor]:
    cfg, generator = model.config, seeded(seed)
    shape = (num_images, cfg.num_channels, cfg.height, cfg.width)
    images = torch.rand(shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(cfg.num_classes, (num_images,), generator=generator)
