"""What classifiers return: a loss to differentiate, and what they made of an image and where they looked for it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from drawnet.nn.attention import Window


@dataclass(frozen=True)
class ClassificationLoss:
    """What training goes by.

    Attributes:
        total: to be differentiated; the mean of `nats`, and whatever else the model learns from.
        nats: -log p(label | image) of every image.
    """

    total: Float[Tensor, ""]
    nats: Float[Tensor, "batch"]


@dataclass(frozen=True)
class Look:
    """How a batch of images was classified.

    Attributes:
        log_probs: log p(class | image), nats.
        glimpses: the windows of every glimpse, several where the model looks at several scales at once; none for a
            model that sees the whole image.
    """

    log_probs: Float[Tensor, "batch class"]
    glimpses: tuple[tuple[Window, ...], ...]
