"""Small variational auto-encoders for tests."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from drawnet.models.vae import VAE, VAEConfig

from .small_draw import seeded

both_decoders = pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
CONVOLUTIONAL = {"network": "convolutional", "initialization": "torch"}


def small_vae(**options: object) -> VAE:
    """A float64 network with random numbers in every parameter, so that none hides behind a zero."""
    sizes = {"height": 2, "width": 3, "hidden_size": 4, "latent_size": 2}
    model = VAE(VAEConfig(**{**sizes, **options})).double()
    generator = seeded()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            # Convolutions sum over hundreds of inputs: they get less each.
            parameter.copy_(0.5 * noise / max(1.0, parameter[0].numel() / 16) ** 0.5)
    return model


def images_for(model: VAE, num_images: int = 3, seed: int = 1) -> Tensor:
    cfg = model.config
    shape = (num_images, cfg.num_channels, cfg.height, cfg.width)
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64)
