"""The images that a model with two latents knows: figure 4 of Kingma and Welling (2013)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from drawnet.figures.drawing import scale_for, to_pictures
from drawnet.figures.sheet import arrange, in_rows

CELL_SIDE = 56


def manifold_latents(num_sides: int) -> Float[Tensor, "place 2"]:
    """Evenly spaced places of the unit square, each in the middle of its cell, through the inverse Gaussian CDF.

    Row by row from the top left, where the first latent is smallest and the second largest.

    Args:
        num_sides: places on each side of the square.

    Raises:
        ValueError: `num_sides` below 1.
    """
    if num_sides < 1:
        raise ValueError(f"num_sides is {num_sides}: it must be at least 1")
    places = torch.special.ndtri((torch.arange(num_sides, dtype=torch.float64) + 0.5) / num_sides).float()
    down, right = torch.meshgrid(places.flip(0), places, indexing="ij")
    return torch.stack([right, down], 2).flatten(0, 1)


@torch.no_grad()
def latent_manifold(decode: Callable[[Tensor], Tensor], num_sides: int = 20) -> Image.Image:
    """The decoder's mean at every place of `manifold_latents`.

    Args:
        decode: takes z `[place, 2]` to images in [0, 1], `[place, channel, height, width]`.
        num_sides: images on each side.
    """
    images = decode(manifold_latents(num_sides))
    height, width = images.shape[2:]
    cells = to_pictures(images, scale_for(height, width, CELL_SIDE))
    return arrange(num_sides, num_sides, *cells.shape[1:3]).page(in_rows(cells, num_sides))
