"""PixelCNN: Pixel Recurrent Neural Networks (van den Oord et al. 2016, arXiv 1601.06759v3), sections 3.3 to 3.5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from drawnet.models.ancestral import NaiveSteps, draw_in_order
from drawnet.models.checks import check_condition, check_images, check_mask
from drawnet.models.frame import Frame
from drawnet.models.pixelcnn_steps import PixelCNNSteps
from drawnet.nn.likelihood import NegativeLogLikelihood
from drawnet.nn.masks import MaskedConv2d
from drawnet.nn.pixels import num_logits, pixel_nats


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of a PixelCNN; the defaults are the paper's for the MNIST networks (section 5.3).

    Attributes:
        height: n, image height in pixels.
        width: image width in pixels.
        num_channels: 1 (grey or binary) or 3 (RGB).
        num_levels: intensities a value can have, 2 (binary) to 256.
        num_layers: residual blocks.
        hidden_size: h, maps inside a block; 2h between blocks.
        head_size: maps of the two layers before the logits.
        skip: learnable connections from every block to the head.
        num_condition_maps: c, maps of an image that the model is conditioned on; 0 for none.

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    height: int = 28
    width: int = 28
    num_channels: int = 1
    num_levels: int = 2
    num_layers: int = 7
    hidden_size: int = 16
    head_size: int = 32
    skip: bool = True
    num_condition_maps: int = 0

    def __post_init__(self) -> None:
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        for field in ("height", "width", "num_layers"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        for field in ("hidden_size", "head_size"):
            if getattr(self, field) < self.num_channels:
                raise ValueError(
                    f"{field} is {getattr(self, field)}: it must be at least {self.num_channels}, one map a colour"
                )
        if not 2 <= self.num_levels <= 256:
            raise ValueError(f"num_levels is {self.num_levels}: it must be 2 to 256")
        if self.num_condition_maps < 0:
            raise ValueError(f"num_condition_maps is {self.num_condition_maps}: it must be at least 0")


class ResidualBlock(nn.Module):
    """Figure 5, left: ReLU, 1x1 to h maps, ReLU, 3x3, ReLU, 1x1 to 2h maps, added to the input; all masks B.

    Args:
        hidden_size: h.
        num_colours: 1 or 3.
        num_condition_maps: maps whose 1x1 convolution, not masked, is added to that of the 3x3; 0 for none.
    """

    def __init__(self, hidden_size: int, num_colours: int, num_condition_maps: int = 0) -> None:
        super().__init__()
        h = hidden_size
        self.reduce = MaskedConv2d(2 * h, h, 1, "B", num_colours)
        self.look = MaskedConv2d(h, h, 3, "B", num_colours)
        self.expand = MaskedConv2d(h, 2 * h, 1, "B", num_colours)
        self.condition = nn.Conv2d(num_condition_maps, h, 1, bias=False) if num_condition_maps else None

    def forward(
        self,
        maps: Float[Tensor, "batch feature height width"],
        condition: Float[Tensor, "batch condition height width"] | None = None,
    ) -> Float[Tensor, "batch feature height width"]:
        """The 2h maps after the block."""
        seen = self.look(torch.relu(self.reduce(torch.relu(maps))))
        if self.condition is not None:
            seen = seen + self.condition(condition)
        return maps + self.expand(torch.relu(seen))


class PixelCNN(nn.Module):
    """The PixelCNN network: p(x) = prod_i p(x_i | x_1, ..., x_{i-1}) with masked convolutions (eq. 1, eq. 2).

    Pixels are in raster order, and within a pixel R, then G given R, then B given both.

    Args:
        config: its sizes.

    Example:
        >>> model = PixelCNN(PixelCNNConfig(num_layers=2, hidden_size=4))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(2, 1, 28, 28, generator=generator).round()
        >>> likelihood = model.nll(x)
        >>> likelihood.parts["pixels"].shape, likelihood.exact
        (torch.Size([2]), True)
        >>> [frame.canvas.shape for frame in model.sample(2, generator=generator)][-1]
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        self.config = config
        h, colours, head = config.hidden_size, config.num_channels, config.head_size
        self.first = MaskedConv2d(colours, 2 * h, 7, "A", colours)
        self.blocks = nn.ModuleList(
            ResidualBlock(h, colours, config.num_condition_maps) for _ in range(config.num_layers)
        )
        num_skips = config.num_layers if config.skip else 0
        self.skips = nn.ModuleList(MaskedConv2d(2 * h, 2 * h, 1, "B", colours) for _ in range(num_skips))
        self.head = nn.Sequential(
            nn.ReLU(),
            MaskedConv2d(2 * h, head, 1, "B", colours),
            nn.ReLU(),
            MaskedConv2d(head, head, 1, "B", colours),
            nn.ReLU(),
            MaskedConv2d(head, colours * num_logits(config.num_levels), 1, "B", colours),
        )

    def logits(
        self,
        x: Float[Tensor, "batch channel height width"],
        condition: Float[Tensor, "batch condition height width"] | None = None,
    ) -> Float[Tensor, "batch channel logit height width"]:
        """The logits of every p(x_i | x_<i), from all pixels at once.

        Args:
            x: images in [0, 1].
            condition: the maps to condition on; for models that have `num_condition_maps` only.

        Raises:
            ValueError: `x` is not floating point, or `x` or `condition` is not of the configured shape.
        """
        check_images(x, self.config)
        check_condition(condition, self.config.num_condition_maps, x)
        maps = self.first(2 * x - 1).contiguous(memory_format=torch.channels_last)  # faster on a CPU
        skipped = []
        for i, block in enumerate(self.blocks):
            maps = block(maps, condition)
            if self.skips:
                skipped.append(self.skips[i](maps))
        return self.head(sum(skipped, maps)).unflatten(1, (self.config.num_channels, -1))

    def nll(
        self,
        x: Float[Tensor, "batch channel height width"],
        *,
        generator: torch.Generator | None = None,
        condition: Float[Tensor, "batch condition height width"] | None = None,
    ) -> NegativeLogLikelihood:
        """-log p(x) = -sum_i log p(x_i | x_<i) of every image, eqs. (1, 2): exact.

        Args:
            x: images of `num_levels` intensities in [0, 1].
            generator: not used, there is nothing to draw; all models have it.
            condition: see `logits`.

        Returns:
            nats in the one part "pixels", `[batch]`.

        Raises:
            ValueError: `x` or `condition` is not as in `logits`, or a value of `x` is not one of the levels.
        """
        nats = pixel_nats(self.logits(x, condition), x, self.config.num_levels)
        return NegativeLogLikelihood({"pixels": nats.flatten(1).sum(1)}, exact=True)

    @torch.no_grad()
    def sample(
        self, num_images: int, *, generator: torch.Generator | None = None, cached: bool = True
    ) -> Iterator[Frame]:
        """Draw new images, pixel after pixel. Yields a frame a row; the last holds the images.

        Args:
            num_images: how many.
            generator: draws one uniform number a value; None takes torch's own.
            cached: False runs the whole network for every value: slow, and the same images.

        Raises:
            ValueError: `num_images` below 1, or a model with a condition, which `complete` takes.
        """
        if num_images < 1:
            raise ValueError(f"num_images is {num_images}: it must be at least 1")
        cfg = self.config
        x = self.first.weight.new_zeros(num_images, cfg.num_channels, cfg.height, cfg.width)
        yield from self.complete(x, torch.zeros_like(x[:, :1], dtype=torch.bool), generator=generator, cached=cached)

    @torch.no_grad()
    def complete(
        self,
        x: Float[Tensor, "batch channel height width"],
        known: Bool[Tensor, "batch 1 height width"],
        *,
        generator: torch.Generator | None = None,
        condition: Float[Tensor, "batch condition height width"] | None = None,
        cached: bool = True,
    ) -> Iterator[Frame]:
        """Keep the known pixels and draw the others in raster order, each given all before it (figure 9).

        Exact if every unknown pixel comes after every known one; see `draw_in_order`. Yields a frame a row.

        Args:
            x: images; what they hold at unknown pixels is not looked at.
            known: True where a pixel is kept.
            generator: see `sample`.
            condition: see `logits`.
            cached: see `sample`.

        Raises:
            ValueError: `x`, `known` or `condition` is not of the configured shape, or a known value is not a level.
        """
        check_images(x, self.config)
        check_condition(condition, self.config.num_condition_maps, x)
        check_mask(known, x)
        if cached:
            steps = PixelCNNSteps(self.first, self.blocks, self.skips, self.head, condition)
        else:
            steps = NaiveSteps(lambda images: self.logits(images, condition))
        yield from draw_in_order(steps, x, known, self.config.num_levels, generator)
