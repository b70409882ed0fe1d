"""Multi-scale PixelRNN and PixelCNN: a small image first, then the large one around its pixels.

van den Oord et al. 2016, arXiv 1601.06759v3, section 3.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from drawnet.models.checks import check_images, check_mask
from drawnet.models.frame import Frame
from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig
from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig
from drawnet.nn.likelihood import NegativeLogLikelihood
from drawnet.nn.pixels import pixel_nats


@dataclass(frozen=True)
class MultiScaleConfig:
    """Sizes of a multi-scale network; the paper does not print its own.

    Attributes:
        layer: of both networks: "pixelcnn", "row" (Row LSTM) or "diagonal" (Diagonal BiLSTM).
        height: n, image height in pixels.
        width: image width in pixels.
        num_channels: 1 (grey or binary) or 3 (RGB).
        num_levels: intensities a value can have, 2 (binary) to 256.
        reduction: n / s, how many times smaller the small image is on each side; divides height and width.
        small_num_layers: layers of the network of the small image.
        small_hidden_size: h of that network.
        num_layers: layers of the conditional network of the large image.
        hidden_size: h of that network.
        head_size: maps of the two layers before the logits, of both.
        num_condition_maps: c, maps of the upsampled small image.
        skip: learnable connections from every layer to the head, of both.

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    layer: Literal["pixelcnn", "row", "diagonal"] = "pixelcnn"
    height: int = 28
    width: int = 28
    num_channels: int = 1
    num_levels: int = 2
    reduction: int = 2
    small_num_layers: int = 7
    small_hidden_size: int = 16
    num_layers: int = 7
    hidden_size: int = 16
    head_size: int = 32
    num_condition_maps: int = 16
    skip: bool = True

    def __post_init__(self) -> None:
        if self.layer not in ("pixelcnn", "row", "diagonal"):
            raise ValueError(f"layer is {self.layer!r}: it must be 'pixelcnn', 'row' or 'diagonal'")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        for field, least in (
            ("height", 1),
            ("width", 1),
            ("small_num_layers", 1),
            ("small_hidden_size", self.num_channels),
            ("num_condition_maps", 1),
        ):
            if getattr(self, field) < least:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least {least}")
        if self.reduction < 2 or self.height % self.reduction or self.width % self.reduction:
            raise ValueError(
                f"reduction is {self.reduction}: it must be at least 2 and divide height {self.height} and "
                f"width {self.width}"
            )
        _ = self.large  # checks the other fields

    @property
    def small(self) -> PixelCNNConfig | PixelRNNConfig:
        """Of the network that makes the small image."""
        return self._network(self.reduction, self.small_num_layers, self.small_hidden_size, 0)

    @property
    def large(self) -> PixelCNNConfig | PixelRNNConfig:
        """Of the conditional network that makes the large one."""
        return self._network(1, self.num_layers, self.hidden_size, self.num_condition_maps)

    def _network(
        self, reduction: int, num_layers: int, hidden_size: int, num_condition_maps: int
    ) -> PixelCNNConfig | PixelRNNConfig:
        sizes = {
            "height": self.height // reduction,
            "width": self.width // reduction,
            "num_channels": self.num_channels,
            "num_levels": self.num_levels,
            "num_layers": num_layers,
            "hidden_size": hidden_size,
            "head_size": self.head_size,
            "skip": self.skip,
            "num_condition_maps": num_condition_maps,
        }
        return PixelCNNConfig(**sizes) if self.layer == "pixelcnn" else PixelRNNConfig(layer=self.layer, **sizes)


class MultiScale(nn.Module):
    """Two networks: p(x) = p_small(x_s) prod_i p_large(x_i | x_<i, x_s), i over the pixels that are not in x_s.

    The small image x_s is every (n/s)-th pixel of the large one, from the first row and column on. They are given to
    the large network as known and cost nothing there, so that the product is a distribution over large images. The
    large network sees x_s twice: upsampled by deconvolutions, before any pixel, and pixel by pixel in its place.

    Args:
        config: its sizes.

    Example:
        >>> model = MultiScale(MultiScaleConfig(small_num_layers=1, num_layers=2, hidden_size=4))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(2, 1, 28, 28, generator=generator).round()
        >>> likelihood = model.nll(x)
        >>> sorted(likelihood.parts), likelihood.exact
        (['small', 'upsampling'], True)
        >>> [frame.canvas.shape for frame in model.sample(2, generator=generator)][-1]
        torch.Size([2, 1, 28, 28])
    """

    grid: Tensor

    def __init__(self, config: MultiScaleConfig) -> None:
        super().__init__()
        self.config = config
        self.small = _build(config.small)
        self.large = _build(config.large)
        step, maps = config.reduction, config.num_condition_maps
        # Every pixel sees the small image's pixel of its place and the eight around it, then its neighbours.
        self.upsample = nn.Sequential(
            nn.ConvTranspose2d(config.num_channels, maps, 3 * step, stride=step, padding=step),
            nn.ReLU(),
            nn.ConvTranspose2d(maps, maps, 3, padding=1),
            nn.ReLU(),
        )
        grid = torch.zeros(config.height, config.width, dtype=torch.bool)
        grid[::step, ::step] = True
        self.register_buffer("grid", grid, persistent=False)

    def nll(
        self, x: Float[Tensor, "batch channel height width"], *, generator: torch.Generator | None = None
    ) -> NegativeLogLikelihood:
        """-log p(x) of every image: exact.

        Args:
            x: images of `num_levels` intensities in [0, 1].
            generator: not used, there is nothing to draw; all models have it.

        Returns:
            nats in the parts "small", of x_s, and "upsampling", of all other pixels given x_s; each `[batch]`.

        Raises:
            ValueError: `x` is not floating point, not of the configured shape, or a value is not one of the levels.
        """
        check_images(x, self.config)
        small = self._shrink(x)
        nats = pixel_nats(self.large.logits(x, self._condition(small)), x, self.config.num_levels)
        parts = {"small": self.small.nll(small).nats, "upsampling": nats.masked_fill(self.grid, 0).flatten(1).sum(1)}
        return NegativeLogLikelihood(parts, exact=True)

    @torch.no_grad()
    def sample(
        self, num_images: int, *, generator: torch.Generator | None = None, cached: bool = True
    ) -> Iterator[Frame]:
        """Draw new images: the small ones, shown with every pixel repeated, then the large. Yields a frame a row.

        Args:
            num_images: how many.
            generator: draws one uniform number a value of either network; None takes torch's own.
            cached: False runs the whole networks for every value: slow, and the same images.

        Raises:
            ValueError: `num_images` below 1.
        """
        if num_images < 1:
            raise ValueError(f"num_images is {num_images}: it must be at least 1")
        cfg = self.config
        x = next(self.parameters()).new_zeros(num_images, cfg.num_channels, cfg.height, cfg.width)
        yield from self.complete(x, torch.zeros_like(x[:, :1], dtype=torch.bool), generator=generator, cached=cached)

    @torch.no_grad()
    def complete(
        self,
        x: Float[Tensor, "batch channel height width"],
        known: Bool[Tensor, "batch 1 height width"],
        *,
        generator: torch.Generator | None = None,
        cached: bool = True,
    ) -> Iterator[Frame]:
        """Keep the known pixels and draw the others: those of the small images first, then the rest.

        Exact where nothing is known. Otherwise approximate: the small image is drawn given its own known pixels, but
        not given those between them; and either network draws in raster order, see `draw_in_order`.

        Args:
            x: images; what they hold at unknown pixels is not looked at.
            known: True where a pixel is kept.
            generator: see `sample`.
            cached: see `sample`.

        Raises:
            ValueError: `x` or `known` is not of the configured shape, or a known value is not one of the levels.
        """
        check_images(x, self.config)
        check_mask(known, x)
        step = self.config.reduction
        small = self._shrink(x)
        for frame in self.small.complete(small, self._shrink(known), generator=generator, cached=cached):
            small = frame.canvas
            yield Frame(torch.where(known, x, small.repeat_interleave(step, 2).repeat_interleave(step, 3)))
        placed = x.clone()
        placed[:, :, ::step, ::step] = small
        yield from self.large.complete(
            placed, known | self.grid, generator=generator, condition=self._condition(small), cached=cached
        )

    def _shrink(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.config.reduction, :: self.config.reduction]

    def _condition(self, small: Tensor) -> Tensor:
        """`[batch, condition, height, width]`."""
        return self.upsample(2 * small - 1)


def _build(config: PixelCNNConfig | PixelRNNConfig) -> PixelCNN | PixelRNN:
    return PixelCNN(config) if isinstance(config, PixelCNNConfig) else PixelRNN(config)
