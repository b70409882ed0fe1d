"""DRAW: A Recurrent Neural Network For Image Generation (Gregor et al. 2015, arXiv 1502.04623v2).

Symbols inside the equations are the paper's; a number in parentheses names the equation of the line it stands on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from drawnet import engine
from drawnet.engine import draw as fast
from drawnet.models.checks import check_images, check_mask
from drawnet.models.frame import Frame
from drawnet.models.impute import bits_or_means, impute
from drawnet.nn.attention import AttentionParameters, Window, check_grid_size, read_patch, write_patch
from drawnet.nn.likelihood import (
    NegativeLogLikelihood,
    bernoulli_nats,
    gaussian_kl_nats,
    gaussian_log_ratio_nats,
)

# Starting log gamma of reader and writer: trained networks move there by themselves (docs/design.md).
READ_LOG_GAMMA = 1.0
WRITE_LOG_GAMMA = -2.0
FORGET_BIAS = 1.0  # added to torch's start of the forget gates: remember at first


@dataclass(frozen=True)
class DrawConfig:
    """Sizes of a DRAW network; the defaults are the paper's MNIST row (Table 3).

    Attributes:
        height: B, image height in pixels.
        width: A, image width in pixels.
        num_channels: 1 (grey or binary) or 3 (RGB).
        num_glimpses: T, time steps.
        hidden_size: units of the encoder's LSTM and of the decoder's.
        latent_size: length of z_t.
        read_size: N of the reading grid, at least 2; None reads the whole image (17).
        write_size: N of the writing grid, at least 2; None writes the whole canvas (18).

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    height: int = 28
    width: int = 28
    num_channels: int = 1
    num_glimpses: int = 64
    hidden_size: int = 256
    latent_size: int = 100
    read_size: int | None = 2
    write_size: int | None = 5

    def __post_init__(self) -> None:
        for field in ("height", "width", "num_glimpses", "hidden_size", "latent_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        for field in ("read_size", "write_size"):
            if (size := getattr(self, field)) is not None:
                check_grid_size(field, size)


class LSTMState(NamedTuple):
    """h and c of an LSTM, each `[batch, hidden]`."""

    hidden: Tensor
    cell: Tensor


class Step(NamedTuple):
    """What time step t leaves behind; the first four only where the encoder took part."""

    mu: Tensor | None  # [batch, latent]
    log_sigma: Tensor | None  # [batch, latent]
    z: Tensor  # [batch, latent]
    read: Window | None
    write: Window | None
    canvas: Tensor  # c_t, logits [batch, channel, height, width]


class Draw(nn.Module):
    """The DRAW network: an encoder that looks, a decoder that writes, a canvas between them.

    Args:
        config: its sizes.

    Attributes:
        engine: how to compute on a CPU in float32. "plain" is the PyTorch code below, "float32" the compiled engine,
            equal within rounding, "mixed" the engine with products of bf16 where gradients are wanted; "auto" is
            the fastest (`drawnet.engine.precision`). Elsewhere, and for gradients of `x`, it is always the code below.

    Example:
        >>> model = Draw(DrawConfig(num_glimpses=4, hidden_size=16, latent_size=3))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(2, 1, 28, 28, generator=generator).round()
        >>> likelihood = model.nll(x, generator=generator)
        >>> likelihood.parts["kl"].shape, likelihood.exact
        (torch.Size([2, 4]), False)
        >>> [frame.canvas.shape for frame in model.sample(2, generator=generator)][-1]
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, config: DrawConfig) -> None:
        super().__init__()
        self.config = config
        self.engine: engine.Choice = "auto"
        hidden, latent = config.hidden_size, config.latent_size
        height, width, num_channels = config.height, config.width, config.num_channels
        num_values = num_channels * height * width

        # Every linear map here is one of the paper's W; reader and writer share nothing.
        if config.read_size is None:
            self.read_attention = None
            glimpse_size = 2 * num_values
        else:
            self.read_attention = AttentionParameters(
                hidden, config.read_size, height, width, initial_log_gamma=READ_LOG_GAMMA
            )
            glimpse_size = 2 * num_channels * config.read_size**2
        if config.write_size is None:
            self.write_attention = None
            self.write = nn.Linear(hidden, num_values)
        else:
            self.write_attention = AttentionParameters(
                hidden, config.write_size, height, width, initial_log_gamma=WRITE_LOG_GAMMA
            )
            self.write = nn.Linear(hidden, num_channels * config.write_size**2)
        # torch's LSTM cell is the paper's: forget gates, no peepholes.
        self.encoder = nn.LSTMCell(glimpse_size + hidden, hidden)
        self.decoder = nn.LSTMCell(latent, hidden)
        self.mu = nn.Linear(hidden, latent)
        self.log_sigma = nn.Linear(hidden, latent)
        with torch.no_grad():
            for lstm in (self.encoder, self.decoder):
                lstm.bias_hh[hidden : 2 * hidden] += FORGET_BIAS
            if self.write_attention is None:  # T writes of the whole canvas add up before the first update
                self.write.weight.div_(config.num_glimpses)
                self.write.bias.div_(config.num_glimpses)
        self.canvas_0 = nn.Parameter(torch.zeros(num_channels, height, width))
        self.encoder_0 = nn.Parameter(torch.zeros(2, hidden))  # h_0^enc and its cell
        self.decoder_0 = nn.Parameter(torch.zeros(2, hidden))  # h_0^dec and its cell

    @torch.no_grad()
    def start_canvas_at(self, mean_image: Float[Tensor, "channel height width"]) -> None:
        """Set c_0 so that the first canvas is the mean training image, clipped to [0.01, 0.99].

        The paper learns c_0 from an unstated start. From zeros the first updates only darken the background.
        """
        self.canvas_0.copy_(torch.logit(mean_image.to(self.canvas_0), eps=0.01))

    def nll(
        self,
        x: Float[Tensor, "batch channel height width"],
        *,
        generator: torch.Generator | None = None,
        kl: Literal["analytic", "sampled"] = "analytic",
    ) -> NegativeLogLikelihood:
        """The code length Lx + Lz of every image, eqs. (9-12), from one sample of z: a bound of -log p(x).

        Args:
            x: images in [0, 1].
            generator: draws z, on the device of `x`; None takes torch's own.
            kl: "analytic" sums eq. (11); "sampled" takes log Q(z|x) - log P(z) of the z drawn, which makes
                exp(-nats) an importance weight of mean p(x).

        Returns:
            nats in the parts "reconstruction" `[batch]` and "kl" `[batch, steps]`, one KL a step.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        noise = torch.stack(list(self._noise(len(x), generator)))
        if precision := self._engine_precision(x):
            reconstruction, kl_nats = fast.infer(
                self._engine_sizes(len(x)),
                dict(self.named_parameters()),
                x,
                noise,
                sampled=kl == "sampled",
                mixed=precision == "mixed",
            )
            return NegativeLogLikelihood({"reconstruction": reconstruction, "kl": kl_nats}, exact=False)
        steps = list(self._infer(x, noise))
        mu, log_sigma, z = (torch.stack([getattr(s, name) for s in steps], 1) for name in ("mu", "log_sigma", "z"))
        kl_nats = gaussian_kl_nats(mu, log_sigma) if kl == "analytic" else gaussian_log_ratio_nats(mu, log_sigma, z)
        parts = {"reconstruction": bernoulli_nats(steps[-1].canvas, x), "kl": kl_nats}  # (9), (10)
        return NegativeLogLikelihood(parts, exact=False)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one image's z_1:T."""
        return (self.config.num_glimpses, self.config.latent_size)

    def decoder_nats(
        self, x: Float[Tensor, "batch channel height width"], z: Float[Tensor, "batch steps latent"]
    ) -> Float[Tensor, "batch"]:
        """-log D(x | c_T) where the decoder draws c_T from the given z_1:T (14, 15, 9); differentiable in `z`.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        *_, last = self._generate(len(x), z.unbind(1))
        return bernoulli_nats(last.canvas, x)

    @torch.no_grad()
    def sample(self, num_images: int, *, generator: torch.Generator | None = None) -> Iterator[Frame]:
        """Draw new images, eqs. (13-16): z_t ~ N(0, I), decoder and write only. Yields T frames.

        The last frame's canvas holds the means of D(X | c_T); the paper's figures show these means.

        Raises:
            ValueError: `num_images` below 1.
        """
        if num_images < 1:
            raise ValueError(f"num_images is {num_images}: it must be at least 1")
        noise = self._noise(num_images, generator)  # (13)
        if self._engine_precision(self.canvas_0.detach()):
            yield from self._engine_frames(num_images, None, noise)
            return
        for step in self._generate(num_images, noise):
            yield Frame(torch.sigmoid(step.canvas), step.read, step.write)

    @torch.no_grad()
    def reconstruct(
        self, x: Float[Tensor, "batch channel height width"], *, generator: torch.Generator | None = None
    ) -> Iterator[Frame]:
        """Read `x` and draw it again, eqs. (3-8). Yields T frames with both windows.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        noise = self._noise(len(x), generator)
        if self._engine_precision(x.detach()):
            yield from self._engine_frames(len(x), x.contiguous(), noise)
            return
        for step in self._infer(x, noise):
            yield Frame(torch.sigmoid(step.canvas), step.read, step.write)

    def complete(
        self,
        x: Float[Tensor, "batch channel height width"],
        known: Bool[Tensor, "batch 1 known_height known_width"],
        *,
        generator: torch.Generator | None = None,
    ) -> Iterator[Frame]:
        """Images that agree with the known pixels of `x`: reading and imputing in turn, see `impute`.

        Args:
            x: images in [0, 1]; what they hold at unknown pixels is not looked at.
            known: which pixels are known; they come back bit for bit.
            generator: draws z and the pixels.

        Raises:
            ValueError: `x` or `known` is not of the configured shape, or `x` is not floating point.
        """
        check_images(x, self.config)
        check_mask(known, x)

        def redraw(images: Tensor) -> tuple[Tensor, Tensor]:
            *_, last = self.reconstruct(images, generator=generator)
            return last.canvas, bits_or_means(last.canvas, x, known, generator)

        *_, sample = self.sample(len(x), generator=generator)
        yield from impute(redraw, x, known, start=bits_or_means(sample.canvas, x, known, generator))

    def _infer(self, x: Tensor, noise: Iterable[Tensor]) -> Iterator[Step]:
        c, dec = self._initial(len(x))
        enc = LSTMState(*(v.expand(len(x), -1) for v in self.encoder_0))
        for epsilon in noise:
            x_hat = x - torch.sigmoid(c)  # (3)
            r, read = self._read(x, x_hat, dec.hidden)  # (4)
            enc = LSTMState(*self.encoder(torch.cat([r, dec.hidden], 1), enc))  # (5)
            mu, log_sigma = self.mu(enc.hidden), self.log_sigma(enc.hidden)
            z = mu + log_sigma.exp() * epsilon  # (6)
            dec, c, write = self._draw(z, dec, c)  # (7, 8)
            yield Step(mu, log_sigma, z, read, write, c)

    def _generate(self, num_images: int, latents: Iterable[Tensor]) -> Iterator[Step]:
        c, dec = self._initial(num_images)
        for z in latents:
            dec, c, write = self._draw(z, dec, c)  # (14, 15)
            yield Step(None, None, z, None, write, c)

    def _initial(self, num_images: int) -> tuple[Tensor, LSTMState]:
        """c_0 and h_0^dec for a batch."""
        state = LSTMState(*(v.expand(num_images, -1) for v in self.decoder_0))
        return self.canvas_0.expand(num_images, -1, -1, -1), state

    def _draw(self, z: Tensor, dec: LSTMState, c: Tensor) -> tuple[LSTMState, Tensor, Window | None]:
        """The half of a step that inference and generation share."""
        dec = LSTMState(*self.decoder(z, dec))  # (7)
        written, window = self._write(dec.hidden)
        return dec, c + written, window  # (8)

    def _read(self, x: Tensor, x_hat: Tensor, hdec: Tensor) -> tuple[Tensor, Window | None]:
        images = torch.cat([x, x_hat], 1)  # [batch, 2 channel, height, width]
        if self.read_attention is None:
            return images.flatten(1), None  # (17)
        window = self.read_attention(hdec)  # (21)
        return read_patch(images, window).flatten(1), window  # (27)

    def _write(self, hdec: Tensor) -> tuple[Tensor, Window | None]:
        cfg = self.config
        w = self.write(hdec)  # (18), (28)
        if self.write_attention is None or cfg.write_size is None:
            return w.view(-1, cfg.num_channels, cfg.height, cfg.width), None
        window = self.write_attention(hdec)  # (21), the writer's own
        patch = w.view(-1, cfg.num_channels, cfg.write_size, cfg.write_size)
        return write_patch(patch, window, cfg.height, cfg.width), window  # (29)

    def _noise(self, num_images: int, generator: torch.Generator | None) -> Iterator[Tensor]:
        """N(0, I), `[batch, latent]`, for every step."""
        shape, like = (num_images, self.config.latent_size), self.canvas_0
        for _ in range(self.config.num_glimpses):
            yield torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)

    def _engine_precision(self, x: Tensor) -> Literal["float32", "mixed"] | None:
        """How the compiled engine is to compute for `x`; None where it cannot or must not."""
        gradient = torch.is_grad_enabled()
        if (gradient and x.requires_grad) or self.engine == "plain" or not fast.fits([x, *self.parameters()]):
            return None
        return engine.precision(self.engine, training=gradient and any(p.requires_grad for p in self.parameters()))

    def _engine_sizes(self, num_images: int) -> fast.Sizes:
        cfg = self.config
        image = (cfg.num_channels, cfg.height, cfg.width)
        network = (cfg.num_glimpses, cfg.hidden_size, cfg.latent_size, cfg.read_size or 0, cfg.write_size or 0)
        return fast.Sizes(num_images, *image, *network)

    def _engine_frames(self, num_images: int, x: Tensor | None, noise: Iterable[Tensor]) -> Iterator[Frame]:
        drawn = fast.steps(self._engine_sizes(num_images), dict(self.named_parameters()), x, noise)
        for canvas, read, write in drawn:
            yield Frame(canvas, read, write)
