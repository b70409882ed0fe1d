"""Completion by models with latents: known pixels stay, the chain goes on from what it drew."""

import pytest
import torch
from torch import Tensor

from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.impute import NUM_ROUNDS, bits_or_means, impute
from drawnet.models.vae import VAE, VAEConfig

MODELS = [
    Draw(DrawConfig(8, 8, 1, num_glimpses=2, hidden_size=6, latent_size=2, read_size=2, write_size=2)),
    VAE(VAEConfig(8, 8, 1, hidden_size=6, latent_size=2)),
    VAE(VAEConfig(8, 8, 1, hidden_size=6, latent_size=2, decoder="gaussian")),
]


def images(seed: int = 0) -> tuple[Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(5, 1, 8, 8, generator=generator).round()
    return x, torch.rand(5, 1, 8, 8, generator=generator) < 0.4, generator


@pytest.mark.parametrize("model", MODELS)
def test_known_pixels_are_untouched_in_every_frame_and_the_others_are_drawn(model: Draw | VAE) -> None:
    x, known, generator = images()
    frames = list(model.complete(x, known, generator=generator))
    assert len(frames) == NUM_ROUNDS
    for frame in frames:
        assert torch.equal(frame.canvas[known], x[known])
    assert not torch.equal(frames[-1].canvas[~known], x[~known])


@pytest.mark.parametrize("model", MODELS)
def test_hidden_pixels_are_not_looked_at(model: Draw | VAE) -> None:
    x, known, _ = images()
    other = torch.where(known, x, 1 - x)
    last = [list(model.complete(a, known, generator=torch.Generator().manual_seed(3)))[-1].canvas for a in (x, other)]
    assert torch.equal(*last)


@pytest.mark.parametrize("model", MODELS)
def test_all_known_is_the_image_and_a_mask_of_another_size_is_refused(model: Draw | VAE) -> None:
    x, known, generator = images()
    [frame] = model.complete(x, torch.ones_like(known), generator=generator)
    assert torch.equal(frame.canvas, x)
    with pytest.raises(ValueError, match=r"known has shape \(5, 1, 7, 8\).*must be \(5, 1, 8, 8\)"):
        next(model.complete(x, known[:, :, 1:], generator=generator))


def test_every_round_starts_from_what_the_last_one_drew() -> None:
    x, known, _ = images()
    seen = []

    def redraw(current: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(current)
        return torch.full_like(x, 0.25), torch.full_like(x, len(seen) / 10)

    frames = list(impute(redraw, x, known, start=torch.zeros_like(x), num_rounds=3))
    for i, current in enumerate(seen):
        assert torch.equal(current, torch.where(known, x, i / 10))
    assert all(torch.equal(frame.canvas, torch.where(known, x, 0.25)) for frame in frames)


def test_a_chain_with_the_true_posterior_samples_the_conditional() -> None:
    """A mixture of two images, z says which: after many rounds the unknown pixel is as p(unknown | known) says."""
    p_right, p_left = torch.tensor([0.9, 0.8]), torch.tensor([0.3, 0.2])  # p(pixel = 1 | z) of z = 1 and of z = 0
    generator = torch.Generator().manual_seed(0)

    def redraw(current: Tensor) -> tuple[Tensor, Tensor]:
        likelihood = [torch.where(current[:, 0, 0] == 1, p, 1 - p).prod(1) for p in (p_right, p_left)]
        posterior = likelihood[0] / (likelihood[0] + likelihood[1])
        z = torch.bernoulli(posterior, generator=generator)[:, None]
        means = torch.where(z == 1, p_right, p_left)[:, None, None]
        return means, torch.bernoulli(means, generator=generator)

    num = 40_000
    x = torch.ones(num, 1, 1, 2)
    known = torch.tensor([True, False]).expand(num, 1, 1, 2)
    *_, last = impute(redraw, x, known, start=torch.zeros_like(x), num_rounds=20)
    expected = (0.9 * 0.8 + 0.3 * 0.2) / (0.9 + 0.3)  # p(second = 1 | first = 1)
    assert last.canvas[:, 0, 0, 1].mean().item() == pytest.approx(expected, abs=0.01)


def test_bits_where_the_known_pixels_are_bits_means_where_they_are_intensities() -> None:
    x, known, generator = images()
    means = torch.full_like(x, 0.3)
    assert set(bits_or_means(means, x, known, generator).unique().tolist()) == {0.0, 1.0}
    x[known] = 0.4
    assert torch.equal(bits_or_means(means, x, known, generator), means)
