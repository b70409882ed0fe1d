"""Small networks and images for the tests of DRAW."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawnet.models.draw import Draw, DrawConfig

# Attention on and off on either side, one and three channels, neither of the images square.
VARIANTS = [
    pytest.param(
        read_size, write_size, num_channels, id=f"read-{read_size}-write-{write_size}-channels-{num_channels}"
    )
    for read_size in (2, None)
    for write_size in (3, None)
    for num_channels in (1, 3)
]
every_variant = pytest.mark.parametrize(("read_size", "write_size", "num_channels"), VARIANTS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small_draw(read_size: int | None = 2, write_size: int | None = 3, num_channels: int = 1, **sizes: int) -> Draw:
    """A float64 network with random numbers in every parameter, so that none hides behind a zero."""
    defaults = {"height": 4, "width": 5, "num_glimpses": 3, "hidden_size": 4, "latent_size": 2}
    config = DrawConfig(read_size=read_size, write_size=write_size, num_channels=num_channels, **{**defaults, **sizes})
    model = Draw(config).double()
    generator = seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def images_for(model: Draw, num_images: int = 3, seed: int = 1) -> Tensor:
    cfg = model.config
    shape = (num_images, cfg.num_channels, cfg.height, cfg.width)
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)
