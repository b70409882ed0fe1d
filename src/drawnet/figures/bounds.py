"""The bound against the training samples, a panel a number of latents: figure 2 of Kingma and Welling (2013)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from drawnet.figures.curves import BLUE, GREY, INK, RED
from drawnet.files import replacing

# Of each line: colour and dashes. One colour a method, as in the paper; training solid, test dashed.
STYLES = {
    "AEVB (train)": (RED, "-"),
    "AEVB (test)": (RED, "--"),
    "wake-sleep (train)": (BLUE, "-"),
    "wake-sleep (test)": (BLUE, "--"),
}
LATE = 0.1  # the y axis fits the points from this share of the samples on


@dataclass(frozen=True)
class Panel:
    """One panel of the figure.

    Attributes:
        title: above it.
        curves: label, one of `STYLES` -> points (training samples evaluated, the bound L in nats per data point).

    Raises:
        ValueError: a label that is not in `STYLES`, no point, or samples below 1.
    """

    title: str
    curves: Mapping[str, Sequence[tuple[int, float]]]

    def __post_init__(self) -> None:
        for label, points in self.curves.items():
            if label not in STYLES:
                raise ValueError(f"curves has {label!r}: the labels are {', '.join(map(repr, STYLES))}")
            if any(samples < 1 for samples, _ in points):
                raise ValueError(f"curves, {label!r}: samples must be 1 or more, for the axis is logarithmic")
        if not any(self.curves.values()):
            raise ValueError(f"curves of {self.title!r} has no point: there is nothing to plot")


def bound_curves(panels: Sequence[Panel], path: Path | str) -> None:
    """L against training samples (logarithmic) side by side, with one y axis for all; higher is better.

    L is the lower bound of log p(x), the paper's sign: minus the nats that `nll` gives. The y axis fits the points
    from a tenth of the samples on; earlier ones may lie below it, and so may a curve far below the others, which a
    note names with its last bound. Points that are not finite are left out.

    Args:
        panels: from left to right.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: no panels.
    """
    with replacing(path) as temporary:
        _figure(panels).savefig(temporary)


def _figure(panels: Sequence[Panel]) -> Figure:
    if not panels:
        raise ValueError("panels is empty: there is nothing to plot")
    figure = Figure(figsize=(1.2 + 2.6 * max(2, len(panels)), 3.6), dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_xscale("log")
        for label, points in panel.curves.items():
            colour, dashes = STYLES[label]
            finite = [point for point in points if math.isfinite(point[1])]
            if finite:
                axis.plot(*zip(*finite, strict=True), dashes, color=colour, linewidth=1.3, label=label)
        axis.set_title(panel.title, fontsize=10, color=INK)
        axis.set_xlabel("training samples evaluated", fontsize=9)
        axis.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        axis.tick_params(colors="#555555", labelsize=9)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axis.spines[side].set_color(GREY)
    axes[0].set_ylabel("bound, nats per data point")
    if limits := _limits(panels):
        axes[0].set_ylim(*limits)
        for axis, panel in zip(axes, panels, strict=True):
            ends = {label: _late(points) for label, points in panel.curves.items()}
            below = [
                f"{label} below, at {end[-1]:,.0f}" for label, end in ends.items() if end and max(end) < limits[0]
            ]
            axis.text(0.03, 0.97, "\n".join(below), transform=axis.transAxes, va="top", fontsize=8, color=GREY)
    handles = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(STYLES), frameon=False, fontsize=9
    )
    return figure


def _limits(panels: Sequence[Panel]) -> tuple[float, float] | None:
    """Lowest and highest late point, and a little room.

    What lies further below the lowest late point of the panels' best curves than that lies below the highest point is
    left out: one curve that went astray would flatten all others.
    """
    late = [curve for panel in panels for points in panel.curves.values() if (curve := _late(points))]
    if not late:
        return None
    best = [max(map(_late, panel.curves.values()), key=lambda curve: curve[-1:]) for panel in panels]
    best_low, high = min(min(curve, default=math.inf) for curve in best), max(map(max, late))
    low = min(bound for curve in late for bound in curve if bound >= 2 * best_low - high)
    room = 0.05 * (high - low) or 1.0
    return low - room, high + room


def _late(points: Sequence[tuple[int, float]]) -> list[float]:
    """The finite bounds of the later points."""
    start = LATE * max((samples for samples, _ in points), default=0)
    return [bound for samples, bound in points if samples >= start and math.isfinite(bound)]
