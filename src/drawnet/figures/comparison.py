"""Models side by side: their samples, and their nats against the time they were trained for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from drawnet.figures.curves import BLUE, GOLD, GREEN, GREY, INK, RED
from drawnet.figures.samples import sample_grid

COLOURS = (RED, BLUE, GOLD, GREEN, INK, GREY)
COLUMN_INCHES = 2.6
MAX_COLUMNS = 4


@dataclass(frozen=True)
class Entry:
    """A model in a comparison.

    Attributes:
        name: what to call it.
        samples: `[image, channel, height, width]` in [0, 1].
        exact: whether its nats are -log p(x) or an upper bound.
        history: minutes of training and validation nats; may be empty.
        final: minutes of training and the nats in the table.
    """

    name: str
    samples: Float[Tensor, "image channel height width"]
    exact: bool
    history: Sequence[tuple[float, float]]
    final: tuple[float, float]


def comparison_sheet(entries: Sequence[Entry]) -> Image.Image:
    """The samples of every model in a row above, nats against minutes of training below.

    A line is validation nats while training, a mark the nats in the table: filled where exact, open where a bound.

    Raises:
        ValueError: no entries.
    """
    if not entries:
        raise ValueError("entries is empty: there is nothing to compare")
    num_columns = min(MAX_COLUMNS, len(entries))
    num_rows = -(-len(entries) // num_columns)
    size = (max(8.0, COLUMN_INCHES * num_columns), 2.9 * num_rows + 4.2)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.9 * num_rows, 4.2)).ravel()
    axes = above.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    plot = below.subplots()
    for i, (axis, entry) in enumerate(zip(axes, entries, strict=False)):
        colour = COLOURS[i % len(COLOURS)]
        axis.imshow(sample_grid(entry.samples), interpolation="antialiased")
        axis.set_title(entry.name, fontsize=9, color=colour)
        if entry.history:
            plot.plot(*zip(*entry.history, strict=True), color=colour, linewidth=1.3)
        filled = colour if entry.exact else "white"
        kind = "exact" if entry.exact else "bound"
        plot.plot(
            *entry.final, "o", color=colour, markerfacecolor=filled, markersize=7, label=f"{entry.name} ({kind})"
        )
    finals = [entry.final[1] for entry in entries]
    spread = max(finals) - min(finals)
    plot.set_ylim(min(finals) - max(1.0, 0.1 * spread), max(finals) + max(10.0, 0.5 * spread))
    plot.set_xlim(left=0)
    plot.set_xlabel("minutes spent training")
    plot.set_ylabel("nats per image")
    plot.legend(frameon=False, fontsize=8)
    plot.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png")
        return Image.open(buffer).convert("RGB")
