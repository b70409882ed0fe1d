from __future__ import annotations

import numpy as np
import pytest
import torch

from drawnet.figures.drawing import to_pictures
from drawnet.figures.manifold import latent_manifold, manifold_latents
from drawnet.figures.sheet import arrange


def _normal_cdf(z: torch.Tensor) -> torch.Tensor:
    return 0.5 * (1 + torch.erf(z.double() / 2**0.5))


@pytest.mark.parametrize("num_sides", [1, 2, 5, 20])
def test_the_places_are_the_middles_of_even_cells_of_the_unit_square(num_sides):
    places = _normal_cdf(manifold_latents(num_sides)).reshape(num_sides, num_sides, 2)
    middles = (torch.arange(num_sides, dtype=torch.float64) + 0.5) / num_sides
    for row in range(num_sides):
        for column in range(num_sides):
            # The first latent grows to the right, the second upwards.
            expected = torch.stack([middles[column], middles[num_sides - 1 - row]])
            torch.testing.assert_close(places[row, column], expected, rtol=0, atol=1e-6)


def test_the_places_are_symmetric_and_finite():
    z = manifold_latents(7).reshape(7, 7, 2)
    torch.testing.assert_close(z[:, :, 0], -z.flip(1)[:, :, 0])
    torch.testing.assert_close(z[:, :, 1], -z.flip(0)[:, :, 1])
    torch.testing.assert_close(z[:, :, 0], z.flip(0)[:, :, 1].T)
    assert torch.isfinite(manifold_latents(1000)).all()
    assert (z[3, 3] == 0).all()


def test_no_places_are_refused():
    with pytest.raises(ValueError, match="num_sides is 0"):
        manifold_latents(0)


def test_every_image_stands_at_its_place():
    def decode(z: torch.Tensor) -> torch.Tensor:
        """Red is the CDF of the first latent, green of the second; wider than high."""
        red, green = _normal_cdf(z).T
        return torch.stack([red, green, torch.zeros_like(red)], 1)[:, :, None, None].expand(-1, 3, 4, 8).float()

    page = np.asarray(latent_manifold(decode, num_sides=3))
    sheet = arrange(3, 3, 28, 56)
    assert page.shape[:2] == sheet.size[::-1]
    images = to_pictures(decode(manifold_latents(3)), 7)
    for i in range(9):
        cell = page[sheet.top[i // 3] :, sheet.left[i % 3] :][:28, :56]
        np.testing.assert_array_equal(cell, images[i])
    corners = {(row, column): page[sheet.top[row], sheet.left[column]].tolist() for row in (0, 2) for column in (0, 2)}
    low, high = round(255 / 6), round(255 * 5 / 6)
    assert corners == {
        (0, 0): [low, high, 0], (0, 2): [high, high, 0], (2, 0): [low, low, 0], (2, 2): [high, low, 0]
    }  # fmt: skip


def test_there_are_20_by_20_images_and_no_gradients():
    seen = []

    def decode(z: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(z.shape), torch.is_grad_enabled()))
        return torch.zeros(len(z), 1, 2, 2)

    latent_manifold(decode)
    assert seen == [((400, 2), False)]
