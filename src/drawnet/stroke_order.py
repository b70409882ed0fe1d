"""How often a network that draws two digits finishes one before it begins the other (section 4.3 of the DRAW paper).

The paper says that it "usually" does and gives no count. Ours, for one drawing of T steps:

1. Step t writes at the centre (gX_t, gY_t) of its writing window (22, 23) and leaves the ink
   w_t = sum_p max(c_t[p] - c_{t-1}[p], 0) c_T[p], c the canvas in mean intensities: what it adds and the finished
   picture keeps. Clearing the background and what is rubbed out later do not count.
2. The centres, weighted by ink, are projected on the axis along which they vary most and split in two where the
   weighted sum of squares within the two groups is least: 2-means in one dimension, solved exactly. The groups are two
   places if their means are at least `MIN_DISTANCE` pixels apart and each has `MIN_SHARE` of the ink. Otherwise the
   digits overlap or were written at the same time, and the drawing is "one place".
3. A drawing in two places is sequential if for some order of the two and some step s no more than `TOLERANCE` of the
   ink is out of place: written at the second place up to s or at the first after s.

Steps of one and the same drawing in random order are sequential now and then, too, above all where few steps leave
most of the ink; the count stands beside the mean of that probability. It says in which order ink is laid, and not
why: a window that sweeps once over the canvas, as it can before any training, finishes what it passes, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from drawnet.models.draw import Draw
from drawnet.models.frame import Frame

# The side of the box that MNIST's digits fill: nearer ones have strokes on each other's side of the split. The ink of
# a single digit, spread evenly over it, would be split into halves that are 10 apart.
MIN_DISTANCE = 20.0
MIN_SHARE = 0.2
TOLERANCE = 0.1

NUM_SHUFFLES = 200  # of the steps of every drawing
BATCH_SIZE = 100


@dataclass(frozen=True)
class Strokes:
    """Where the steps of drawings wrote, and how much of the finished picture.

    Attributes:
        x: column of the window's centre, pixels counted from 1, `[drawing, step]`.
        y: row of it.
        ink: intensity added and kept, summed over pixels.
    """

    x: Float64[Tensor, "drawing step"]
    y: Float64[Tensor, "drawing step"]
    ink: Float64[Tensor, "drawing step"]


@dataclass(frozen=True)
class Places:
    """The two places of every drawing.

    Attributes:
        second: which steps wrote at the second one, `[drawing, step]`.
        distance: between the means of the two, pixels, along the axis of the split.
        smaller_share: of the ink, at the place with less of it.
    """

    second: Bool[Tensor, "drawing step"]
    distance: Float64[Tensor, "drawing"]
    smaller_share: Float64[Tensor, "drawing"]


@dataclass(frozen=True)
class StrokeOrder:
    """The count over many drawings.

    Attributes:
        num_drawings: all of them.
        num_two_places: those with ink in two places.
        num_sequential: those that finish one place before they begin the other.
        shuffled: mean probability, over the drawings in two places, that their steps in random order are sequential.
    """

    num_drawings: int
    num_two_places: int
    num_sequential: int
    shuffled: float

    @property
    def share(self) -> float:
        """Of the drawings in two places, those that are sequential; NaN if there are none."""
        return self.num_sequential / self.num_two_places if self.num_two_places else math.nan

    @property
    def standard_error(self) -> float:
        """Of `share`, binomial."""
        return math.sqrt(self.share * (1 - self.share) / self.num_two_places) if self.num_two_places else math.nan

    def __str__(self) -> str:
        if not self.num_two_places:
            return f"none of {self.num_drawings} drawings has ink in two places"
        return (
            f"one place finished before the other in {self.num_sequential} of the {self.num_two_places} drawings "
            f"(of {self.num_drawings}) with two places: {100 * self.share:.1f} ± {100 * self.standard_error:.1f} %; "
            f"with their steps shuffled {100 * self.shuffled:.1f} %"
        )


def strokes(frames: Iterable[Frame], start: Float[Tensor, "channel height width"]) -> Strokes:
    """Where every step wrote, and the ink that it left.

    Args:
        frames: of one batch of drawings, in order; all steps.
        start: the canvas before the first step, in mean intensities.

    Raises:
        ValueError: no frames, or frames without writing windows.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty: a drawing has at least one step")
    finished = frames[-1].canvas.double()
    before = start.double().expand_as(finished)
    x, y, ink = [], [], []
    for frame in frames:
        if frame.write is None:
            raise ValueError("frames have no writing windows: only a model that writes by attention has places")
        canvas = frame.canvas.double()
        ink.append(((canvas - before).clamp(min=0) * finished).flatten(1).sum(1))
        x.append(frame.write.center_x.double())
        y.append(frame.write.center_y.double())
        before = canvas
    return Strokes(*(torch.stack(values, 1).cpu() for values in (x, y, ink)))


def two_places(s: Strokes) -> Places:
    """Every drawing's steps split in two, see the module's point 2."""
    total = s.ink.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    weight = s.ink / total
    points = torch.stack([s.x, s.y], 2)  # drawing step axis
    points = points - (weight[:, :, None] * points).sum(1, keepdim=True)
    covariance = (weight[:, :, None] * points).mT @ points
    axis = torch.linalg.eigh(covariance).eigenvectors[:, :, -1:]  # of the largest eigenvalue
    along = (points @ axis).squeeze(2)

    # The sum of squares within the groups is least where that between them, w0 w1 (m0 - m1)^2, is greatest.
    order = along.argsort(dim=1, stable=True)
    w, wx = (v.gather(1, order).cumsum(1) for v in (weight, weight * along))
    w0, w1 = w[:, :-1], w[:, -1:] - w[:, :-1]
    gap = torch.where((w0 > 0) & (w1 > 0), (wx[:, -1:] - wx[:, :-1]) / w1 - wx[:, :-1] / w0, 0.0)
    if gap.shape[1] == 0:  # one step is in one place
        zero = torch.zeros(len(along), dtype=torch.float64)
        return Places(torch.zeros_like(order, dtype=torch.bool), zero, zero)
    best = (w0 * w1 * gap.square()).argmax(1, keepdim=True)
    rank = order.argsort(1)
    return Places(
        second=rank > best,
        distance=gap.gather(1, best).squeeze(1),
        smaller_share=torch.minimum(w0, w1).gather(1, best).squeeze(1),
    )


def misplaced_share(
    ink: Float64[Tensor, "*drawing step"], second: Bool[Tensor, "*drawing step"]
) -> Float64[Tensor, "*drawing"]:
    """The least share of ink out of place, over both orders of the two places and all steps s to change at.

    Args:
        ink: left by each step.
        second: which steps wrote at the second place.
    """
    total = ink.sum(-1)
    at_second = (ink * second).cumsum(-1)
    at_first = (ink * ~second).cumsum(-1)
    all_second, all_first = at_second[..., -1:], at_first[..., -1:]
    # First place first: what the second has up to s and the first after it; then the other way round.
    misplaced = torch.minimum(at_second + all_first - at_first, at_first + all_second - at_second).amin(-1)
    return misplaced / total.clamp(min=torch.finfo(torch.float64).tiny)


def stroke_order(s: Strokes, *, generator: torch.Generator, num_shuffles: int = NUM_SHUFFLES) -> StrokeOrder:
    """Count the sequential drawings.

    Args:
        s: of all drawings.
        generator: shuffles the steps, on the CPU.
        num_shuffles: of every drawing.
    """
    places = two_places(s)
    apart = (places.distance >= MIN_DISTANCE) & (places.smaller_share >= MIN_SHARE)
    ink, second = s.ink[apart], places.second[apart]
    sequential = misplaced_share(ink, second) <= TOLERANCE
    shuffled = torch.zeros(len(ink), dtype=torch.float64)
    for _ in range(num_shuffles):
        order = torch.rand(ink.shape, generator=generator).argsort(1)
        shuffled += misplaced_share(ink.gather(1, order), second.gather(1, order)) <= TOLERANCE
    return StrokeOrder(
        num_drawings=len(apart),
        num_two_places=len(ink),
        num_sequential=int(sequential.sum()),
        shuffled=(shuffled / num_shuffles).mean().item() if len(ink) else math.nan,
    )


def count_sequential(model: Draw, num_drawings: int, *, generator: torch.Generator) -> StrokeOrder:
    """Let a model draw and count.

    Args:
        model: writes by attention.
        num_drawings: how many, drawn `BATCH_SIZE` at a time.
        generator: of the drawings, on the model's device; a generator that it seeds shuffles.

    Raises:
        ValueError: no drawings, or a model that writes without attention.
    """
    if num_drawings < 1:
        raise ValueError(f"num_drawings is {num_drawings}: it must be at least 1")
    start = torch.sigmoid(model.canvas_0.detach())
    parts = [
        strokes(model.sample(min(BATCH_SIZE, num_drawings - done), generator=generator), start)
        for done in range(0, num_drawings, BATCH_SIZE)
    ]
    together = Strokes(*(torch.cat([getattr(part, name) for part in parts]) for name in ("x", "y", "ink")))
    return stroke_order(together, generator=torch.Generator().manual_seed(generator.initial_seed()))
