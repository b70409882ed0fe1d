"""A model whose likelihood and posterior are known: z ~ N(0, I), x = W z + b + N(0, noise^2 I)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal


def log_normal(standardised: Tensor, deviation: float = 1.0) -> Tensor:
    """log N of rows of independent values, `[row]`."""
    constant = standardised.shape[1] * math.log(math.sqrt(2 * math.pi) * deviation)
    return -standardised.square().sum(1) / 2 - constant


@dataclass(frozen=True)
class LinearGaussian:
    weight: Tensor  # [value, latent]
    bias: Tensor  # [value]
    noise: float

    @staticmethod
    def drawn(num_values: int, latent_size: int, noise: float, seed: int) -> LinearGaussian:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(num_values, latent_size, generator=generator, dtype=torch.float64)
        return LinearGaussian(weight, torch.randn(num_values, generator=generator, dtype=torch.float64), noise)

    def sample(self, num_images: int, seed: int) -> Tensor:
        """x, `[image, value]`."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(num_images, self.weight.shape[1], generator=generator, dtype=torch.float64)
        noise = torch.randn(num_images, len(self.bias), generator=generator, dtype=torch.float64)
        return z @ self.weight.T + self.bias + self.noise * noise

    def log_likelihood(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """log p(x | z) of the rows of z, chains-major."""

        def of(z: Tensor) -> Tensor:
            mean = z @ self.weight.T + self.bias
            return log_normal((x.repeat(len(z) // len(x), 1) - mean) / self.noise, self.noise)

        return of

    def log_joint(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """log p(z) p(x | z)."""
        likelihood = self.log_likelihood(x)
        return lambda z: likelihood(z) + log_normal(z)

    def log_marginal(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; b, W W^T + noise^2 I), `[image]`."""
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(len(self.bias), dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(x)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z | x) = N(S W^T (x - b) / noise^2, S), S = (I + W^T W / noise^2)^-1."""
        eye = torch.eye(self.weight.shape[1], dtype=torch.float64)
        covariance = torch.linalg.inv(eye + self.weight.T @ self.weight / self.noise**2)
        return MultivariateNormal((x - self.bias) @ self.weight @ covariance / self.noise**2, covariance)
