"""A convolutional classifier of whole images, to hold the glimpses against: Table 1's row "Convolutional, 2 layers".

The papers state two layers and no sizes. Ours: two convolutions with a stride, ReLU after each, the largest of every
2 x 2 values of a map, one hidden layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drawnet.models.checks import check_images
from drawnet.models.classification import ClassificationLoss, Look


@dataclass(frozen=True)
class ConvClassifierConfig:
    """Sizes of the network.

    Attributes:
        height: of the image, pixels.
        width: of the image, pixels.
        num_channels: 1 (grey) or 3 (RGB).
        num_maps: of the first convolution; the second has twice as many.
        kernel_size: of both, pixels.
        stride: of both, pixels.
        hidden_size: units of the hidden layer.
        num_classes: labels there are.

    Raises:
        ValueError: a size out of range, or an image too small for the kernels; the message names the field.
    """

    height: int = 100
    width: int = 100
    num_channels: int = 1
    num_maps: int = 16
    kernel_size: int = 5
    stride: int = 2
    hidden_size: int = 256
    num_classes: int = 10

    def __post_init__(self) -> None:
        for field in ("height", "width", "num_maps", "kernel_size", "stride", "hidden_size", "num_classes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        if min(self.map_size) < 1:
            raise ValueError(
                f"kernel_size is {self.kernel_size}: two such convolutions with stride {self.stride} leave nothing of "
                f"{self.height} x {self.width} pixels"
            )

    @property
    def map_size(self) -> tuple[int, int]:
        """Height and width of a map after the second convolution and pooling; an odd row or column is pooled alone."""

        def after(size: int) -> int:
            return (size - self.kernel_size) // self.stride + 1

        return (after(after(self.height)) + 1) // 2, (after(after(self.width)) + 1) // 2


class ConvClassifier(nn.Module):
    """Two convolutions, pooling, a hidden layer, a softmax.

    Args:
        config: its sizes.

    Example:
        >>> model = ConvClassifier(ConvClassifierConfig(height=20, width=20))
        >>> model.look(torch.rand(2, 1, 20, 20)).log_probs.shape
        torch.Size([2, 10])
    """

    def __init__(self, config: ConvClassifierConfig) -> None:
        super().__init__()
        self.config = config
        maps, (height, width) = config.num_maps, config.map_size
        self.first = nn.Conv2d(config.num_channels, maps, config.kernel_size, config.stride)
        self.second = nn.Conv2d(maps, 2 * maps, config.kernel_size, config.stride)
        self.hidden = nn.Linear(2 * maps * height * width, config.hidden_size)
        self.classify = nn.Linear(config.hidden_size, config.num_classes)

    def loss(
        self,
        x: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, "batch"],
        *,
        generator: torch.Generator | None = None,
    ) -> ClassificationLoss:
        """The cross-entropy.

        Args:
            x: images in [0, 1].
            labels: the class of each.
            generator: not used, nothing here is random.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        nats = F.cross_entropy(self._logits(x), labels, reduction="none")
        return ClassificationLoss(nats.mean(), nats)

    @torch.no_grad()
    def look(self, x: Float[Tensor, "batch channel height width"]) -> Look:
        """log p(class | image); there are no glimpses.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        return Look(self._logits(x).log_softmax(1), ())

    def _logits(self, x: Tensor) -> Tensor:
        check_images(x, self.config)
        maps = F.max_pool2d(self.second(self.first(x).relu()).relu(), 2, ceil_mode=True)
        return self.classify(self.hidden(maps.flatten(1)).relu())
