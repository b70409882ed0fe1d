"""Negative log-likelihoods in nats, split into named parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """What a model's `nll` returns: the code length of every image, in nats.

    Attributes:
        parts: named summands, each `[batch]` or `[batch, steps]`, in nats.
        exact: True where the parts sum to -log p(x); False where they sum to an upper bound of it.
    """

    parts: Mapping[str, Float[Tensor, "batch ..."]]
    exact: bool

    @property
    def nats(self) -> Float[Tensor, "batch"]:
        """Sum of all parts of each image, `[batch]`, in nats."""
        return torch.stack([part.reshape(len(part), -1).sum(1) for part in self.parts.values()]).sum(0)


def bernoulli_nats(
    logits: Float[Tensor, "batch channel height width"], x: Float[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch"]:
    """-log D(x | c) of eq. (9): Bernoulli with mean sigma(c), summed over channels and pixels.

    An intensity strictly between 0 and 1 is read as a Bernoulli probability (the colour loss of DRAW, section 4);
    the value is then a cross-entropy and not the compression cost of the image.

    Args:
        logits: the canvas c, any real numbers.
        x: the images, in [0, 1].

    Returns:
        `[batch]`, nats.
    """
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def gaussian_kl_nats(
    mu: Float[Tensor, "*shape latent"], log_sigma: Float[Tensor, "*shape latent"]
) -> Float[Tensor, "*shape"]:
    """KL(N(mu, sigma^2) || N(0, I)) = 1/2 sum_j (mu_j^2 + sigma_j^2 - log sigma_j^2 - 1), eqs. (10, 11).

    The -1 counts once per latent (the paper's T/2 counts it once per step), so that the value is 0 at mu = 0,
    sigma = 1. Summed over the last axis; nats.
    """
    return 0.5 * (mu**2 + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum(-1)


def gaussian_log_ratio_nats(
    mu: Float[Tensor, "*shape latent"],
    log_sigma: Float[Tensor, "*shape latent"],
    z: Float[Tensor, "*shape latent"],
) -> Float[Tensor, "*shape"]:
    """log Q(z) - log P(z) for Q = N(mu, sigma^2) and P = N(0, I), summed over the last axis; nats.

    Its mean over z ~ Q is `gaussian_kl_nats`; one value of it is what an importance weight needs
    (Burda et al. 2015, eq. 8).
    """
    noise = (z - mu) * (-log_sigma).exp()
    return (0.5 * (z**2 - noise**2) - log_sigma).sum(-1)
