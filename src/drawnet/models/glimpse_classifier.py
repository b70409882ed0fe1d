"""The Differentiable RAM: DRAW's selective read as a classifier (Gregor et al. 2015, arXiv 1502.04623v2, section 4.1).

An LSTM reads one N x N glimpse of the image a step, where its own last state tells it to; after the last glimpse a
softmax names the class. The window is differentiable, so the whole is trained by the cross-entropy alone. A number in
parentheses names the paper's equation of the line it stands on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from drawnet import engine
from drawnet.engine.reading import read_patch
from drawnet.models.checks import check_images
from drawnet.models.classification import ClassificationLoss, Look
from drawnet.nn.attention import AttentionParameters, check_grid_size, window_from_parameters

# The starts of the paper's other reader, see models/draw.py.
READ_LOG_GAMMA = 1.0
FORGET_BIAS = 1.0


@dataclass(frozen=True)
class GlimpseClassifierConfig:
    """Sizes of a Differentiable RAM; the defaults are the paper's (Table 3).

    Attributes:
        height: B, image height in pixels.
        width: A, image width in pixels.
        num_channels: 1 (grey) or 3 (RGB).
        num_glimpses: T, glimpses an image.
        hidden_size: units of the LSTM.
        read_size: N of the reading grid, at least 2 and at most the image's shorter side.
        num_classes: labels there are.

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    height: int = 100
    width: int = 100
    num_channels: int = 1
    num_glimpses: int = 8
    hidden_size: int = 256
    read_size: int = 12
    num_classes: int = 10

    def __post_init__(self) -> None:
        for field in ("height", "width", "num_glimpses", "hidden_size", "num_classes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        check_grid_size("read_size", self.read_size)
        if self.read_size > min(self.height, self.width):
            raise ValueError(f"read_size is {self.read_size}: the image has only {self.height} x {self.width} pixels")


class GlimpseClassifier(nn.Module):
    """The Differentiable RAM.

    Args:
        config: its sizes.

    Attributes:
        engine: how to read on a CPU in float32: "plain" is PyTorch, everything else the compiled engine, which is
            equal within rounding (`drawnet.engine.reading`).

    Example:
        >>> model = GlimpseClassifier(GlimpseClassifierConfig(height=20, width=20, num_glimpses=3, hidden_size=16))
        >>> look = model.look(torch.rand(2, 1, 20, 20))
        >>> look.log_probs.shape, len(look.glimpses), look.glimpses[0][0].center_x.tolist()
        (torch.Size([2, 10]), 3, [10.5, 10.5])
    """

    def __init__(self, config: GlimpseClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.engine: engine.Choice = "auto"
        hidden = config.hidden_size
        self.read_attention = AttentionParameters(
            hidden, config.read_size, config.height, config.width, initial_log_gamma=READ_LOG_GAMMA
        )
        self.lstm = nn.LSTMCell(config.num_channels * config.read_size**2, hidden)
        self.classify = nn.Linear(hidden, config.num_classes)
        with torch.no_grad():
            self.lstm.bias_hh[hidden : 2 * hidden] += FORGET_BIAS
        self.initial = nn.Parameter(torch.zeros(2, hidden))  # h_0 and its cell

    def loss(
        self,
        x: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, "batch"],
        *,
        generator: torch.Generator | None = None,
    ) -> ClassificationLoss:
        """The cross-entropy of the softmax after the last glimpse.

        Args:
            x: images in [0, 1].
            labels: the class of each.
            generator: not used, nothing here is random.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        *_, (_, last) = self._glimpses(x)
        nats = F.cross_entropy(self.classify(last), labels, reduction="none")
        return ClassificationLoss(nats.mean(), nats)

    @torch.no_grad()
    def look(self, x: Float[Tensor, "batch channel height width"]) -> Look:
        """log p(class | image), and the window of every glimpse.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        cfg, steps = self.config, list(self._glimpses(x))
        windows = (window_from_parameters(five, cfg.read_size, cfg.height, cfg.width) for five, _ in steps)
        return Look(self.classify(steps[-1][1]).log_softmax(1), tuple((window,) for window in windows))

    def _glimpses(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The five numbers of eq. (21), `[batch, 5]`, and h_t, `[batch, hidden]`, of every glimpse."""
        hidden, cell = (v.expand(len(x), -1) for v in self.initial)
        for _ in range(self.config.num_glimpses):
            parameters = self.read_attention.linear(hidden)  # (21), of h_{t-1}
            r = read_patch(x, parameters, self.config.read_size, choice=self.engine)  # (22-27)
            hidden, cell = self.lstm(r.flatten(1), (hidden, cell))  # (5), with nothing else to read
            yield parameters, hidden
