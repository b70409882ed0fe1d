"""Wake-sleep: both phases against gradients written out by hand, and against integrals over z."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from drawnet.models.vae import VAE, VAEConfig, gaussian_nats

from .small_draw import seeded
from .small_vae import CONVOLUTIONAL, both_decoders, images_for, small_vae

ENCODER = ("encoder", "mu", "log_variance")


def gradients(model: VAE, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def toy(decoder: str = "bernoulli") -> VAE:
    """Two pixels, two tanh units, one latent."""
    return small_vae(height=1, width=2, hidden_size=2, latent_size=1, decoder=decoder)


# ---------------------------------------------------------------------------- the phases by hand


def hidden_by_hand(p: dict, part: str, value: np.ndarray) -> np.ndarray:
    return np.tanh(p[f"{part}.0.weight"] @ value + p[f"{part}.0.bias"])


def backward_by_hand(p: dict, part: str, value: np.ndarray, hidden: np.ndarray, heads: dict, grads: dict) -> None:
    """Add the gradient of one image, given d nats / d head for every head of `part`."""
    d_hidden = np.zeros(2)
    for head, d in heads.items():
        grads[f"{head}.weight"] += np.outer(d, hidden)
        grads[f"{head}.bias"] += d
        d_hidden += p[f"{head}.weight"].T @ d
    d_sum = d_hidden * (1 - hidden**2)
    grads[f"{part}.0.weight"] += np.outer(d_sum, value)
    grads[f"{part}.0.bias"] += d_sum


def decoder_by_hand(p: dict, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Hidden units, means and, for a Gaussian decoder, log variances."""
    h = hidden_by_hand(p, "decoder", z)
    y = 1 / (1 + np.exp(-p["mean_logits.weight"] @ h - p["mean_logits.bias"]))
    if "pixel_log_variance.weight" not in p:
        return h, y, None
    return h, y, p["pixel_log_variance.weight"] @ h + p["pixel_log_variance.bias"]


@both_decoders
def test_gradient_equals_the_one_by_hand(decoder):
    model = toy(decoder)
    x = images_for(model, num_images=4)
    actual = gradients(model, model.wake_sleep_loss(x, generator=seeded(3)))
    p = {name: v.detach().numpy() for name, v in model.named_parameters()}
    expected = {name: np.zeros_like(v) for name, v in p.items()}
    # The draws in their order: wake z, dreamed z, dreamed pixels.
    generator = seeded(3)
    noise, dreamed_z = (torch.randn(4, 1, generator=generator, dtype=torch.float64).numpy() for _ in range(2))
    if decoder == "bernoulli":
        means = np.stack([decoder_by_hand(p, z)[1] for z in dreamed_z])
        dreams = torch.bernoulli(torch.tensor(means), generator=generator).numpy()
    else:
        pixel_noise = torch.randn(4, 1, 1, 2, generator=generator, dtype=torch.float64).numpy().reshape(4, 2)
        dreams = np.zeros((4, 2))
        for i, z in enumerate(dreamed_z):
            _, y, s = decoder_by_hand(p, z)
            dreams[i] = y + np.exp(s / 2) * pixel_noise[i]

    for i, image in enumerate(x.reshape(4, 2).numpy()):
        # Wake: -log p(x|z), the decoder's.
        h = hidden_by_hand(p, "encoder", image)
        s = p["log_variance.weight"] @ h + p["log_variance.bias"]
        z = p["mu.weight"] @ h + p["mu.bias"] + np.exp(s / 2) * noise[i]
        h, y, s = decoder_by_hand(p, z)
        if s is None:
            heads = {"mean_logits": y - image}
        else:
            heads = {
                "mean_logits": (y - image) * np.exp(-s) * y * (1 - y),
                "pixel_log_variance": 0.5 * (1 - (image - y) ** 2 * np.exp(-s)),
            }
        backward_by_hand(p, "decoder", z, h, heads, expected)
        # Sleep: -log q(z|dream), the encoder's.
        z, dream = dreamed_z[i], dreams[i]
        h = hidden_by_hand(p, "encoder", dream)
        mu, s = (p[f"{name}.weight"] @ h + p[f"{name}.bias"] for name in ("mu", "log_variance"))
        heads = {"mu": (mu - z) * np.exp(-s), "log_variance": 0.5 * (1 - (z - mu) ** 2 * np.exp(-s))}
        backward_by_hand(p, "encoder", dream, h, heads, expected)
    for name, gradient in expected.items():
        np.testing.assert_allclose(actual[name].numpy(), gradient / 4, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("options", [{}, {"decoder": "gaussian"}, CONVOLUTIONAL])
def test_each_phase_moves_its_own_half(options):
    model = small_vae(**options)
    x = images_for(model)
    loss = model.wake_sleep_loss(x, generator=seeded())
    both = gradients(model, loss)
    for name, gradient in both.items():
        assert (gradient != 0).any(), name

    # The wake phase alone, its z drawn first, in front of the same decoder.
    generator = seeded()
    mu, log_sigma = (v.detach() for v in model.encode(x))
    z = mu + log_sigma.exp() * torch.randn(mu.shape, generator=generator, dtype=torch.float64)
    wake = torch.autograd.grad(model.decoder_nats(x, z).mean(), list(model.parameters()), allow_unused=True)
    # Other images: the dreams of a seed do not know them, so nothing of the encoder's update changes.
    other = gradients(model, model.wake_sleep_loss(1 - x, generator=seeded()))
    for (name, gradient), wake_gradient in zip(both.items(), wake, strict=True):
        if name.split(".")[0] in ENCODER:
            assert wake_gradient is None, name
            assert torch.equal(gradient, other[name]), name
        else:
            torch.testing.assert_close(gradient, wake_gradient, msg=name)
            assert not torch.equal(gradient, other[name]), name


# ---------------------------------------------------------------------------- the phases in the mean


def integrated_phases(model: VAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean wake and sleep nats of binary images of two pixels, by a grid over z and all four dreams."""
    nodes = torch.linspace(-8, 8, 321, dtype=torch.float64)
    z, zeros = nodes[:, None], torch.zeros(321, 1, dtype=torch.float64)
    prior = (-gaussian_nats(zeros, zeros, z)).exp() * 0.05
    wake = torch.zeros(())
    for image in x:
        mu, log_sigma = model.encode(image[None])
        q = torch.exp(-0.5 * ((z - mu) / log_sigma.exp()) ** 2 - log_sigma).flatten() / math.sqrt(2 * math.pi) * 0.05
        nats = model.decoder_nats(image.expand(321, 1, 1, 2), z) + gaussian_nats(zeros, zeros, z)
        wake = wake + (q.detach() * nats).sum() / len(x)
    sleep = torch.zeros(())
    for dream in torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64).view(4, 1, 1, 1, 2):
        joint = prior * (-model.decoder_nats(dream.expand(321, 1, 1, 2), z)).exp()
        mu, log_sigma = (v.expand(321, 1) for v in model.encode(dream))
        sleep = sleep + (joint.detach() * gaussian_nats(mu, 2 * log_sigma, z)).sum()
    return wake, sleep


def test_means_equal_the_integrals():
    model = toy()
    x = torch.tensor([[0, 0], [0, 1], [1, 1]], dtype=torch.float64).view(3, 1, 1, 2)
    wake, sleep = integrated_phases(model, x)
    expected = gradients(model, wake + sleep)
    generator = seeded()
    losses, draws = [], []
    for _ in range(200):
        loss = model.wake_sleep_loss(x.repeat(100, 1, 1, 1), generator=generator)
        losses.append(loss.detach())
        draws.append(torch.cat([g.flatten() for g in gradients(model, loss).values()]))
    values = torch.cat([torch.stack(losses)[:, None], torch.stack(draws)], 1)
    integrals = torch.cat([(wake + sleep).detach()[None], *(g.flatten() for g in expected.values())])
    standard_error = values.std(0) / math.sqrt(200)
    assert (standard_error < 0.02).all()
    assert ((values.mean(0) - integrals).abs() < 4.5 * standard_error).all()


def test_learning_tightens_the_bound():
    torch.manual_seed(0)
    generator = seeded()
    model = VAE(VAEConfig(height=4, width=4, hidden_size=16, latent_size=2, initialization="torch"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

    def images(num_images: int) -> Tensor:
        """One full row each: log 4 nats."""
        rows = torch.randint(4, (num_images, 1, 1, 1), generator=generator)
        return (torch.arange(4).view(1, 1, 4, 1) == rows).float().expand(-1, 1, 4, 4)

    for _ in range(600):
        optimizer.zero_grad()
        model.wake_sleep_loss(images(64), generator=generator).backward()
        optimizer.step()
    with torch.no_grad():
        nats = model.nll(images(500), generator=generator).nats.mean()
    # 16 independent pixels, each on in a quarter of the images, cost 9.0 nats.
    assert nats < 16 * (0.25 * math.log(4) + 0.75 * math.log(4 / 3)) - 3
