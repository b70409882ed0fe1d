"""The variational auto-encoder: Auto-Encoding Variational Bayes (Kingma, Welling 2013, arXiv 1312.6114).

Symbols inside the equations are the paper's; a number in parentheses names its equation, a letter its appendix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args, get_type_hints

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from drawnet.models.checks import check_images, check_mask
from drawnet.models.frame import Frame
from drawnet.models.impute import bits_or_means, impute
from drawnet.nn.convolutional import ConvolutionalDecoder, ConvolutionalEncoder, ImageHead
from drawnet.nn.likelihood import NegativeLogLikelihood, bernoulli_nats, gaussian_kl_nats, gaussian_log_ratio_nats

NORMAL_STD = 0.1  # the paper's N(0, 0.01), 0.01 read as the variance


@dataclass(frozen=True)
class VAEConfig:
    """Sizes and kind of a variational auto-encoder; the defaults are the paper's MNIST network, 20 latents.

    Attributes:
        height: image height in pixels.
        width: image width in pixels.
        num_channels: 1 (grey or binary) or 3 (RGB).
        hidden_size: units of the hidden layer of the encoder and of the decoder each.
        latent_size: length of z.
        network: "mlp" (C: one tanh layer) or "convolutional" (not in the paper, see `drawnet.nn.convolutional`).
        decoder: "bernoulli" (C.1) or "gaussian" (C.2).
        initialization: "normal" draws all weights and biases from the paper's N(0, 0.01), where we read 0.01 as the
            variance, as in the N(mu, sigma^2) of its equations; "torch" keeps torch's own start.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    height: int = 28
    width: int = 28
    num_channels: int = 1
    hidden_size: int = 500
    latent_size: int = 20
    network: Literal["mlp", "convolutional"] = "mlp"
    decoder: Literal["bernoulli", "gaussian"] = "bernoulli"
    initialization: Literal["normal", "torch"] = "normal"

    def __post_init__(self) -> None:
        for field in ("height", "width", "hidden_size", "latent_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        hints = get_type_hints(type(self))
        for field in ("network", "decoder", "initialization"):
            if (value := getattr(self, field)) not in (allowed := get_args(hints[field])):
                raise ValueError(f"{field} is {value!r}: it must be {' or '.join(map(repr, allowed))}")


class VAE(nn.Module):
    """An encoder q(z|x) = N(mu, sigma^2) and a decoder p(x|z), p(z) = N(0, I); both MLPs (C) or convolutional.

    Args:
        config: its sizes.

    Example:
        >>> model = VAE(VAEConfig(hidden_size=16, latent_size=3))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(2, 1, 28, 28, generator=generator).round()
        >>> likelihood = model.nll(x, generator=generator)
        >>> likelihood.parts["kl"].shape, likelihood.exact
        (torch.Size([2]), False)
        >>> [frame.canvas.shape for frame in model.sample(2, generator=generator)]
        [torch.Size([2, 1, 28, 28])]
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        hidden, latent = config.hidden_size, config.latent_size
        self.image_shape = shape = (config.num_channels, config.height, config.width)
        if config.network == "mlp":
            num_values = math.prod(shape)
            encoder = nn.Sequential(nn.Linear(num_values, hidden), nn.Tanh())
            decoder = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh())
            image_head = partial(nn.Linear, hidden, num_values)
        else:
            encoder = ConvolutionalEncoder(shape, hidden)
            decoder = ConvolutionalDecoder(latent, hidden, shape)
            image_head = partial(ImageHead, shape)
        self.encoder = encoder
        self.mu = nn.Linear(hidden, latent)
        self.log_variance = nn.Linear(hidden, latent)  # log sigma^2 of q(z|x)
        self.decoder = decoder
        self.mean_logits = image_head()  # the mean of p(x|z) before its sigmoid, for both decoders
        self.pixel_log_variance = image_head() if config.decoder == "gaussian" else None
        if config.initialization == "normal":
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=NORMAL_STD)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z."""
        return (self.config.latent_size,)

    @torch.no_grad()
    def start_output_at(self, mean_image: Float[Tensor, "channel height width"]) -> None:
        """Set the bias of the decoder's mean to the mean training image, clipped to [0.01, 0.99]; not in the paper."""
        self.mean_logits.bias.copy_(torch.logit(mean_image.to(self.mean_logits.bias), eps=0.01).flatten())

    def nll(
        self,
        x: Float[Tensor, "batch channel height width"],
        *,
        generator: torch.Generator | None = None,
        kl: Literal["analytic", "sampled"] = "analytic",
    ) -> NegativeLogLikelihood:
        """Minus the bound L(theta, phi; x) of every image, from one sample of z (L = 1): a bound of -log p(x).

        -log p(x|z) + KL(q(z|x) || p(z)), eqs. (7, 10), B and C; with kl="sampled" eq. (6). A Gaussian decoder gives
        densities: its nats can be negative, and have no lower limit where a pixel hardly varies.

        Args:
            x: images in [0, 1].
            generator: draws z, on the device of `x`; None takes torch's own.
            kl: "analytic" is the divergence itself (B); "sampled" takes log q(z|x) - log p(z) of the z drawn, which
                makes exp(-nats) an importance weight of mean p(x).

        Returns:
            nats in the parts "reconstruction" and "kl", both `[batch]`.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        mu, log_sigma = self.encode(x)
        z = _draw_normal(mu, log_sigma, generator)  # (4)
        kl_nats = gaussian_kl_nats(mu, log_sigma) if kl == "analytic" else gaussian_log_ratio_nats(mu, log_sigma, z)
        return NegativeLogLikelihood({"reconstruction": self.decoder_nats(x, z), "kl": kl_nats}, exact=False)

    def encode(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """mu and log sigma (half of what its head gives) of q(z|x) = N(mu, sigma^2), eq. (9) and C.2.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        h = self.encoder(x.flatten(1))
        return self.mu(h), 0.5 * self.log_variance(h)

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch channel height width"]:
        """The mean of p(x|z), an image in [0, 1]."""
        return self._decode(z)[0].sigmoid()

    def decoder_nats(
        self, x: Float[Tensor, "batch channel height width"], z: Float[Tensor, "batch latent"]
    ) -> Float[Tensor, "batch"]:
        """-log p(x|z), differentiable in `z`: C.1 or, the logarithm of a density, C.2.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        logits, log_variance = self._decode(z)
        if log_variance is None:
            return bernoulli_nats(logits, x)  # (11)
        return gaussian_nats(logits.sigmoid(), log_variance, x)  # (12)

    def wake_sleep_loss(
        self, x: Float[Tensor, "batch channel height width"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, ""]:
        """Both phases of wake-sleep (Hinton et al. 1995), which section 5 of the paper compares with; not a bound.

        The wake phase moves the decoder only, the sleep phase the encoder only, and they share no parameter:

            wake   z ~ q(z|x), held constant                      -log p(x, z)
            sleep  z ~ p(z), dream x ~ p(x|z), held constant      -log q(z|dream)

        Args:
            x: images in [0, 1].
            generator: draws z and the dream, on the device of `x`; None takes torch's own.

        Returns:
            The sum of both phases' nats, averaged over the batch; its gradient is the update of both.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        with torch.no_grad():
            z = _draw_normal(*self.encode(x), generator)
            zeros = torch.zeros_like(z)
            dreamed_z = _draw_normal(zeros, zeros, generator)
            dream = self._draw_pixels(dreamed_z, generator)
        wake = self.decoder_nats(x, z) + gaussian_nats(zeros, zeros, z)
        mu, log_sigma = self.encode(dream)
        sleep = gaussian_nats(mu, 2 * log_sigma, dreamed_z)
        return (wake + sleep).mean()

    @torch.no_grad()
    def sample(self, num_images: int, *, generator: torch.Generator | None = None) -> Iterator[Frame]:
        """New images from z ~ N(0, I). Yields one frame, the means of p(x|z), as the paper's figures show them.

        Raises:
            ValueError: `num_images` below 1.
        """
        if num_images < 1:
            raise ValueError(f"num_images is {num_images}: it must be at least 1")
        zeros = self.mean_logits.bias.new_zeros(num_images, *self.latent_shape)
        yield Frame(self.decode(_draw_normal(zeros, zeros, generator)))

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "batch channel height width"], *, generator: torch.Generator | None = None
    ) -> Iterator[Frame]:
        """Encode `x`, draw z ~ q(z|x), decode. Yields one frame, the means of p(x|z).

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        yield Frame(self.decode(_draw_normal(*self.encode(x), generator)))

    def complete(
        self,
        x: Float[Tensor, "batch channel height width"],
        known: Bool[Tensor, "batch 1 known_height known_width"],
        *,
        generator: torch.Generator | None = None,
    ) -> Iterator[Frame]:
        """Images that agree with the known pixels of `x`: inference and imputation in turn, see `impute`.

        Args:
            x: images in [0, 1]; what they hold at unknown pixels is not looked at.
            known: which pixels are known; they come back bit for bit.
            generator: draws z and the pixels.

        Raises:
            ValueError: `x` or `known` is not of the configured shape, or `x` is not floating point.
        """
        check_images(x, self.config)
        check_mask(known, x)

        def draw(z: Tensor) -> tuple[Tensor, Tensor]:
            means = self.decode(z)
            if self.config.decoder == "gaussian":
                return means, self._draw_pixels(z, generator)
            return means, bits_or_means(means, x, known, generator)

        def redraw(images: Tensor) -> tuple[Tensor, Tensor]:
            return draw(_draw_normal(*self.encode(images), generator))

        zeros = x.new_zeros(len(x), self.config.latent_size)
        yield from impute(redraw, x, known, start=draw(_draw_normal(zeros, zeros, generator))[1])

    def _decode(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean before its sigmoid and, for a Gaussian decoder, log sigma^2: `[batch, channel, height, width]`."""
        h = self.decoder(z)
        logits = self.mean_logits(h).view(-1, *self.image_shape)
        return logits, None if self.pixel_log_variance is None else self.pixel_log_variance(h).view_as(logits)

    def _draw_pixels(self, z: Tensor, generator: torch.Generator | None) -> Tensor:
        """x ~ p(x|z)."""
        logits, log_variance = self._decode(z)
        if log_variance is None:
            return torch.bernoulli(logits.sigmoid(), generator=generator)
        return _draw_normal(logits.sigmoid(), 0.5 * log_variance, generator)


def gaussian_nats(
    mean: Float[Tensor, "batch *shape"], log_variance: Float[Tensor, "batch *shape"], x: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch"]:
    """-log N(x; mu, sigma^2 I) = 1/2 sum (log 2 pi sigma^2 + (x - mu)^2 / sigma^2), C.2; nats, negative if dense.

    Args:
        mean: mu, any shape of one value or more an image.
        log_variance: log sigma^2.
        x: where the density is taken.
    """
    squares = (x - mean) ** 2 * (-log_variance).exp()
    return 0.5 * (math.log(2 * math.pi) + log_variance + squares).flatten(1).sum(1)


def _draw_normal(mu: Tensor, log_sigma: Tensor, generator: torch.Generator | None) -> Tensor:
    """mu + sigma epsilon with fresh noise for every value: the reparameterisation of section 2.4."""
    noise = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + log_sigma.exp() * noise
