"""RAM, the recurrent model of visual attention (Mnih, Heess, Graves, Kavukcuoglu 2014, arXiv 1406.6247).

It looks at an image through patches of several scales around a place that it draws at random from its own policy. The
place is not differentiable: where to look is learned from whether the class is named right (REINFORCE), what is seen
there from the cross-entropy. Symbols are the paper's where it has them: f_g the glimpse network, f_h the core, f_l the
policy, l a place in [-1, 1]^2, b the baseline, R the reward. Its f_l has no hidden layer; ours has (docs/design.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from drawnet.models.checks import check_images
from drawnet.models.classification import ClassificationLoss, Look
from drawnet.nn.attention import Window


@dataclass(frozen=True)
class RAMConfig:
    """Sizes of RAM; the defaults are those of Table 1 of DRAW, the glimpse network's are of Mnih et al.

    Attributes:
        height: of the image, pixels.
        width: of the image, pixels.
        num_channels: 1 (grey) or 3 (RGB).
        num_glimpses: T, glimpses an image.
        hidden_size: units of the core.
        glimpse_size: units that see the patches, and units that see the place.
        policy_size: units of the policy's hidden layer.
        patch_size: every patch is brought to so many by so many pixels; at most the image's shorter side.
        num_scales: patches a glimpse, the first of `patch_size` pixels, each of twice the side of the last.
        location_sigma: standard deviation of the policy, where the image is 2 wide and 2 high.
        num_classes: labels there are.

    Raises:
        ValueError: a size out of range; the message names the field.
    """

    height: int = 100
    width: int = 100
    num_channels: int = 1
    num_glimpses: int = 8
    hidden_size: int = 256
    glimpse_size: int = 128
    policy_size: int = 128
    patch_size: int = 12
    num_scales: int = 4
    location_sigma: float = 0.15
    num_classes: int = 10

    def __post_init__(self) -> None:
        sizes = ("height", "width", "num_glimpses", "hidden_size", "glimpse_size", "policy_size", "patch_size")
        for field in (*sizes, "num_scales", "num_classes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")
        if self.num_channels not in (1, 3):
            raise ValueError(f"num_channels is {self.num_channels}: it must be 1 or 3")
        if not 0 < self.location_sigma < math.inf:
            raise ValueError(f"location_sigma is {self.location_sigma}: it must be a number above 0")
        if self.patch_size > min(self.height, self.width):
            raise ValueError(
                f"patch_size is {self.patch_size}: the image has only {self.height} x {self.width} pixels"
            )


class Glimpses(NamedTuple):
    """All glimpses of a batch, and what came of them; places are (x, y)."""

    mean: Tensor  # of the policy, [batch, glimpse, 2]
    drawn: Tensor  # l as drawn, [batch, glimpse, 2]
    corner: Tensor  # where that is, see `RAM.corner`, int64 [batch, glimpse, 2]
    baseline: Tensor  # b, [batch, glimpse]
    logits: Tensor  # [batch, class]


class RAM(nn.Module):
    """The recurrent attention model.

    Args:
        config: its sizes.

    Example:
        >>> model = RAM(RAMConfig(height=20, width=20, num_glimpses=3, hidden_size=16))
        >>> look = model.look(torch.rand(2, 1, 20, 20))
        >>> look.log_probs.shape, len(look.glimpses), len(look.glimpses[0])
        (torch.Size([2, 10]), 3, 4)
    """

    def __init__(self, config: RAMConfig) -> None:
        super().__init__()
        self.config = config
        hidden, glimpse, policy = config.hidden_size, config.glimpse_size, config.policy_size
        self.see = nn.Linear(config.num_scales * config.num_channels * config.patch_size**2, glimpse)
        self.place = nn.Linear(2, glimpse)
        self.combine = nn.Linear(2 * glimpse, hidden)  # the paper's two maps onto the glimpse feature, added up
        self.core = nn.RNNCell(hidden, hidden, nonlinearity="relu")
        self.location = nn.Sequential(nn.Linear(hidden, policy), nn.ReLU(), nn.Linear(policy, 2))
        for start in self.location[-1].parameters():  # all at the centre: the widest patch sees most
            nn.init.zeros_(start)
        self.baseline = nn.Linear(hidden, 1)
        self.classify = nn.Linear(hidden, config.num_classes)
        self.initial = nn.Parameter(torch.zeros(hidden))  # h_0

    def loss(
        self,
        x: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, "batch"],
        *,
        generator: torch.Generator | None = None,
    ) -> ClassificationLoss:
        """The hybrid loss of Mnih et al.: cross-entropy, REINFORCE for the policy, regression of the baseline.

        The reward R is what naming a class drawn from the softmax would earn on average: p(label | image, places).
        REINFORCE reaches the policy and, through the state that the policy sees, the core and the glimpse network; the
        baseline sees the state but does not change it.

        Args:
            x: images in [0, 1].
            labels: the class of each.
            generator: draws the places; None takes torch's own.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        glimpses = self.glimpses(x, self._noise(len(x), generator))
        nats = F.cross_entropy(glimpses.logits, labels, reduction="none")
        reward = (-nats.detach()).exp()[:, None]  # R
        # log N(l; mean, sigma^2) up to what does not depend on the policy
        log_policy = -((glimpses.drawn - glimpses.mean) ** 2).sum(2) / (2 * self.config.location_sigma**2)
        reinforce = -(log_policy * (reward - glimpses.baseline.detach())).sum(1).mean()
        regression = ((reward - glimpses.baseline) ** 2).sum(1).mean()
        return ClassificationLoss(nats.mean() + reinforce + regression, nats)

    @torch.no_grad()
    def look(self, x: Float[Tensor, "batch channel height width"]) -> Look:
        """log p(class | image) with every place at the mean of the policy, and the patches' windows.

        A window's filters stand for the pixels of the patch: as far apart, half as wide.

        Raises:
            ValueError: `x` is not floating point or not of the configured shape.
        """
        check_images(x, self.config)
        cfg = self.config
        glimpses = self.glimpses(x, torch.zeros(cfg.num_glimpses, len(x), 2).to(x))
        windows = []
        for corner in glimpses.corner.unbind(1):
            scales = []
            for stride in (2**scale for scale in range(cfg.num_scales)):
                side = cfg.patch_size * stride
                center = (corner - side // 2 + side / 2 + 0.5).to(x)
                like = torch.ones_like(center[:, 0])
                scales.append(
                    Window(center[:, 0], center[:, 1], stride * like, stride / 2 * like, like, cfg.patch_size)
                )
            windows.append(tuple(scales))
        return Look(glimpses.logits.log_softmax(1), tuple(windows))

    def glimpses(
        self, x: Float[Tensor, "batch channel height width"], noise: Float[Tensor, "glimpse batch 2"]
    ) -> Glimpses:
        """Look at every image, place after place.

        Args:
            x: images.
            noise: what each place is off the mean of the policy, in units of `location_sigma`.
        """
        # Sums of rectangles are differences of these, and float64 keeps their digits.
        sums = F.pad(x, (1, 0, 1, 0)).cumsum(2, dtype=torch.float64).cumsum_(3)
        hidden = self.initial.expand(len(x), -1)
        means, drawn, corners, baselines = [], [], [], []
        for epsilon in noise:
            means.append(self.location(hidden).tanh())  # f_l
            baselines.append(self.baseline(hidden.detach()).squeeze(1))
            drawn.append((means[-1] + self.config.location_sigma * epsilon).detach())
            corners.append(self.corner(drawn[-1]))
            seen = self.see(self._patches(sums, corners[-1]).to(x)).relu()  # f_g
            placed = self.place(self._place(corners[-1].to(x))).relu()
            hidden = self.core(self.combine(torch.cat([seen, placed], 1)).relu(), hidden)  # f_h
        mean, draws, corner, baseline = (torch.stack(v, 1) for v in (means, drawn, corners, baselines))
        return Glimpses(mean, draws, corner, baseline, self.classify(hidden))

    def corner(self, place: Float[Tensor, "batch 2"]) -> Int64[Tensor, "batch 2"]:
        """The corner between pixels nearest to a place: columns to its left and rows above it, 0 .. width or height.

        Places beyond the image count as its border.
        """
        return ((place.clamp(-1, 1) + 1) / 2 * self._size(place)).round().long()

    def _place(self, corner: Tensor) -> Tensor:
        """A corner, in floating point, as a place again: where the network looks is not quite where it wanted to."""
        return 2 * corner / self._size(corner) - 1

    def _size(self, like: Tensor) -> Tensor:
        return torch.tensor([self.config.width, self.config.height], device=like.device)

    def _patches(self, sums: Float64[Tensor, "batch channel rows columns"], corner: Tensor) -> Tensor:
        """The patches around a corner, `[batch, values]`: means of 1, 2 x 2, 4 x 4, ... pixels; black outside.

        Args:
            sums: of all pixels above and to the left, from 0 on.
            corner: `[batch, 2]`.
        """
        n, (batch, channels, rows, columns) = self.config.patch_size, sums.shape
        stride = 2 ** torch.arange(self.config.num_scales, device=sums.device)[:, None]
        edges = stride * torch.arange(n + 1, device=sums.device) - n * stride // 2  # [scale, n + 1]
        x = (corner[:, 0, None, None] + edges).clamp(0, columns - 1)
        y = (corner[:, 1, None, None] + edges).clamp(0, rows - 1)
        at = (y[..., :, None] * columns + x[..., None, :]).flatten(1)  # [batch, scale (n + 1)^2]
        found = sums.flatten(2).gather(2, at[:, None].expand(-1, channels, -1))
        cells = found.view(batch, channels, -1, n + 1, n + 1).diff(dim=3).diff(dim=4)
        return (cells / (stride**2)[:, :, None]).flatten(1)

    def _noise(self, num_images: int, generator: torch.Generator | None) -> Tensor:
        """N(0, I) for every place, `[glimpse, batch, 2]`."""
        shape, like = (self.config.num_glimpses, num_images, 2), self.initial
        return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
