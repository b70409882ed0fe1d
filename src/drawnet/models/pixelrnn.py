"""Row LSTM and Diagonal BiLSTM: exact likelihoods, pixel after pixel (van den Oord et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from drawnet.models.ancestral import NaiveSteps, draw_in_order
from drawnet.models.checks import check_condition, check_images, check_mask
from drawnet.models.frame import Frame
from drawnet.models.pixelrnn_layer import LSTMLayer, pointwise
from drawnet.models.pixelrnn_steps import PixelRNNSteps
from drawnet.nn.likelihood import NegativeLogLikelihood
from drawnet.nn.line_lstm import diagonal_lines, reorder, row_lines
from drawnet.nn.masks import MaskedConv2d
from drawnet.nn.pixels import num_logits, pixel_nats


@dataclass(frozen=True)
class PixelRNNConfig:
    """Sizes of a PixelRNN; the defaults are the paper's for MNIST (section 5.3).

    Attributes:
        layer: "row" (Row LSTM, section 3.1) or "diagonal" (Diagonal BiLSTM, section 3.2).
        height: of the image, in pixels.
        width: of the image, in pixels.
        num_channels: 1 (grey or binary) or 3 (RGB).
        num_levels: K, levels of an intensity, 2 to 256.
        num_layers: LSTM layers.
        hidden_size: h, features of an LSTM's state; the layers have 2h feature maps between them.
        head_size: feature maps of the two 1x1 layers at the end.
        skip: learnable connections from every layer to the head (section 3.3).
        num_condition_maps: feature maps of a condition image; 0 for an unconditional model.

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    layer: Literal["row", "diagonal"] = "diagonal"
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
        if self.layer not in ("row", "diagonal"):
            raise ValueError(f"layer is {self.layer!r}: it must be 'row' or 'diagonal'")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        if not 2 <= self.num_levels <= 256:
            raise ValueError(f"num_levels is {self.num_levels}: it must be 2 to 256")
        for field, least in (
            ("height", 1),
            ("width", 1),
            ("num_layers", 1),
            ("hidden_size", self.num_channels),  # a feature for every colour
            ("head_size", self.num_channels),
            ("num_condition_maps", 0),
        ):
            if getattr(self, field) < least:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least {least}")


class PixelRNN(nn.Module):
    """A recurrent network over the pixels: p(x) = prod_i p(x_i | x_1, ..., x_{i-1}), exactly (eq. 1).

    A 7x7 convolution with mask A, residual LSTM layers, two 1x1 layers, logits (table 1). A value sees what is before
    it in raster order: with Row LSTM layers a triangle of it, wider by what the convolutions reach; with Diagonal
    BiLSTM layers all of it, but for the last value of the row above where that is more than three pixels to the
    right: no map of that row has seen it, since mask A leaves it to the next pixel.

    Args:
        config: its sizes.

    Example:
        >>> model = PixelRNN(PixelRNNConfig(height=4, width=5, num_layers=2))
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.rand(2, 1, 4, 5, generator=generator).round()
        >>> likelihood = model.nll(x)
        >>> likelihood.nats.shape, likelihood.exact
        (torch.Size([2]), True)
        >>> [frame.canvas.shape for frame in model.sample(2, generator=generator)][-1]
        torch.Size([2, 1, 4, 5])
    """

    order: Tensor
    inverse: Tensor

    def __init__(self, config: PixelRNNConfig) -> None:
        super().__init__()
        self.config = config
        maps, colours, head = 2 * config.hidden_size, config.num_channels, config.head_size
        lines = (row_lines if config.layer == "row" else diagonal_lines)(config.height, config.width)
        self.register_buffer("order", lines.order, persistent=False)
        self.register_buffer("inverse", lines.inverse, persistent=False)
        self.first = MaskedConv2d(colours, maps, 7, "A", colours)
        self.layers = nn.ModuleList(
            LSTMLayer(lines, config.hidden_size, colours, config.num_condition_maps) for _ in range(config.num_layers)
        )
        self.skips = nn.ModuleList(
            MaskedConv2d(maps, maps, 1, "B", colours) for _ in range(config.num_layers if config.skip else 0)
        )
        self.head = nn.Sequential(
            nn.ReLU(),
            MaskedConv2d(maps, head, 1, "B", colours),
            nn.ReLU(),
            MaskedConv2d(head, head, 1, "B", colours),
            nn.ReLU(),
            MaskedConv2d(head, colours * num_logits(config.num_levels), 1, "B", colours),
        )

    def logits(
        self,
        x: Float[Tensor, "batch channel height width"],
        condition: Float[Tensor, "batch map height width"] | None = None,
    ) -> Float[Tensor, "batch channel logit height width"]:
        """Logits of every value given all values before it (rows from the top, from the left, R before G before B).

        Args:
            x: images in [0, 1].
            condition: feature maps that every value may depend on, where the model has `num_condition_maps`.

        Raises:
            ValueError: `x` or `condition` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        check_condition(condition, self.config.num_condition_maps, x)
        maps = self._to_lines(self.first(2 * x - 1))  # scaled and centred
        lined = None if condition is None else self._to_lines(condition)
        skipped = []
        for i, layer in enumerate(self.layers):
            maps = layer(maps, lined)
            if self.skips:
                skipped.append(pointwise(self._skips[i], maps))
        return self.head(self._to_image(sum(skipped, maps))).unflatten(1, (self.config.num_channels, -1))

    def nll(
        self,
        x: Float[Tensor, "batch channel height width"],
        *,
        generator: torch.Generator | None = None,
        condition: Float[Tensor, "batch map height width"] | None = None,
    ) -> NegativeLogLikelihood:
        """-log p(x) of every image, exactly; its one part is "pixels".

        Args:
            x: images whose values are level / (K - 1).
            generator: not used; every model here takes one.
            condition: see `logits`.

        Raises:
            ValueError: see `logits`; or a value of `x` that is not one of the levels.
        """
        nats = pixel_nats(self.logits(x, condition), x, self.config.num_levels)
        return NegativeLogLikelihood({"pixels": nats.flatten(1).sum(1)}, exact=True)

    @torch.no_grad()
    def sample(
        self, num_images: int, *, generator: torch.Generator | None = None, cached: bool = True
    ) -> Iterator[Frame]:
        """Draw new images, pixel after pixel. Yields a frame a row. The model must be unconditional.

        Args:
            num_images: of the batch.
            generator: draws them.
            cached: keep what was computed for the pixels before, instead of the whole network for every value.

        Raises:
            ValueError: `num_images` below 1, or a conditional model.
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
        condition: Float[Tensor, "batch map height width"] | None = None,
        cached: bool = True,
    ) -> Iterator[Frame]:
        """Draw the unknown pixels of `x`; see `draw_in_order` for what is yielded and when it is exact.

        Args:
            x: images; only their known pixels matter, and those stay as they are.
            known: which pixels are known.
            generator: draws the others.
            condition: see `logits`.
            cached: see `sample`.

        Raises:
            ValueError: see `logits`; `known` is of another size than `x`; or a known value is not one of the levels.
        """
        check_images(x, self.config)
        check_condition(condition, self.config.num_condition_maps, x)
        check_mask(known, x)
        if cached:
            steps = PixelRNNSteps(self.first, self._layers, self._skips, self.head, condition)
        else:
            steps = NaiveSteps(lambda images: self.logits(images, condition))
        yield from draw_in_order(steps, x, known, self.config.num_levels, generator)

    @property
    def _layers(self) -> list[LSTMLayer]:
        return cast("list[LSTMLayer]", list(self.layers))

    @property
    def _skips(self) -> list[MaskedConv2d]:
        return cast("list[MaskedConv2d]", list(self.skips))

    def _to_lines(self, maps: Tensor) -> Tensor:
        """`[batch, feature, height, width]` to `[feature, pixel, batch]`, pixels in the order of the lines."""
        return reorder(maps.flatten(2).permute(1, 2, 0).contiguous(), self.order, self.inverse)

    def _to_image(self, maps: Tensor) -> Tensor:
        """The way back."""
        raster = reorder(maps, self.inverse, self.order).permute(2, 0, 1)
        return raster.unflatten(2, (self.config.height, self.config.width)).contiguous()
