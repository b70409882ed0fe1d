"""Small PixelCNNs and images for their tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from drawnet.models.multiscale import MultiScale
from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig

from .small_draw import seeded

Model = TypeVar("Model", bound=nn.Module)
SMALL = PixelCNNConfig(height=4, width=5, num_layers=2, hidden_size=5, head_size=4)

# channels, levels, condition maps, skip
VARIANTS = [
    pytest.param(1, 2, 0, True, id="binary"),
    pytest.param(1, 4, 2, False, id="grey-conditional-no-skip"),
    pytest.param(3, 2, 2, True, id="rgb-bits-conditional"),
    pytest.param(3, 4, 0, True, id="rgb"),
    pytest.param(3, 4, 0, False, id="rgb-no-skip"),
]
every_variant = pytest.mark.parametrize(("channels", "levels", "conditions", "skip"), VARIANTS)


def small_model(seed: int = 0, **sizes) -> PixelCNN:
    return with_visible_numbers(PixelCNN(replace(SMALL, **sizes)), seed)


def with_visible_numbers(model: Model, seed: int = 0) -> Model:
    """In float64, with random numbers of visible size in every parameter."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            # biases above 0 keep most ReLUs alive
            parameter.copy_(0.5 * values.abs() if parameter.ndim == 1 else 1.5 * parameter[0].numel() ** -0.5 * values)
    return model


def images_for(model: PixelCNN | MultiScale, num_images: int = 3, seed: int = 1) -> Tensor:
    cfg = model.config
    shape = (num_images, cfg.num_channels, cfg.height, cfg.width)
    return torch.randint(cfg.num_levels, shape, generator=seeded(seed)).double() / (cfg.num_levels - 1)


def condition_for(model: PixelCNN, num_images: int = 3) -> Tensor | None:
    cfg = model.config
    if not cfg.num_condition_maps:
        return None
    shape = (num_images, cfg.num_condition_maps, cfg.height, cfg.width)
    return torch.randn(shape, generator=seeded(8), dtype=torch.float64)


def variant(channels: int, levels: int, conditions: int, skip: bool, **sizes) -> PixelCNN:
    return small_model(num_channels=channels, num_levels=levels, num_condition_maps=conditions, skip=skip, **sizes)


def last_canvas(frames) -> Tensor:
    *_, last = frames
    return last.canvas
