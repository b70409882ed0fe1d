"""Times of implementations side by side, from the rows of `drawnet bench --json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from drawnet.figures.curves import BLUE, GOLD, GREEN, GREY, INK, RED
from drawnet.files import replacing

COLOURS = {"plain": GREY, "jax": GOLD, "engine-float32": BLUE, "engine-mixed": RED, "products": GREEN}
AXES = {
    "num_glimpses": "glimpses T",
    "batch_size": "images at once",
    "width": "side of the image, pixels",
    "threads": "threads",
}
BAR_SHARE = 0.84  # of the distance between two groups of bars


def speed_bars(rows: Sequence[Mapping[str, Any]], path: Path | str) -> None:
    """Milliseconds, logarithmic: a panel a kind of work, a group of bars a network, a bar an implementation.

    The axis begins at a power of ten. The number above a bar says how many times as fast as plain it is.

    Args:
        rows: of `bench --json`.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: no rows.
    """
    with replacing(path) as temporary:
        _bars(rows).savefig(temporary)


def speed_curves(rows: Sequence[Mapping[str, Any]], field: str, path: Path | str) -> None:
    """Milliseconds of a training step against what was scanned, both logarithmic: a panel a network.

    Args:
        rows: of `bench --scan ... --json`.
        field: what was scanned, a key of `AXES`.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: no rows, or another field.
    """
    with replacing(path) as temporary:
        _curves(rows, field).savefig(temporary)


def _bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    works = _in_order(rows, "work")
    presets, implementations = _in_order(rows, "preset"), _implementations(rows)
    width = BAR_SHARE / len(implementations)
    figure = Figure(
        figsize=(max(7.0, 1.2 + 1.7 * len(presets)), 0.8 + 2.4 * len(works)), dpi=150, layout="constrained"
    )
    axes: list[Axes] = list(figure.subplots(len(works), 1, squeeze=False, sharex=True, sharey=True)[:, 0])
    for axis, work in zip(axes, works, strict=True):
        for i, name in enumerate(implementations):
            mine = [row for row in rows if (row["work"], row["implementation"]) == (work, name)]
            places = [presets.index(row["preset"]) + (i + 0.5) * width - BAR_SHARE / 2 for row in mine]
            bars = axis.bar(
                places, [row["ms"] for row in mine], 0.92 * width, color=COLOURS[name], label=name if mine else None
            )
            ratios = [row["ratio_to_plain"] for row in mine]
            if name != "plain":
                labels = ["" if ratio is None else f"{ratio:.1f}" for ratio in ratios]
                axis.bar_label(bars, labels, padding=1, fontsize=7, color=INK)
        axis.set_yscale("log")
        axis.set_xticks(range(len(presets)), presets)
        axis.set_ylabel("ms")
        axis.set_title(work, loc="left", fontsize=10, color=INK)
        _style(axis)
    times = [row["ms"] for row in rows]
    axes[0].set_ylim(10 ** math.floor(math.log10(min(times) / 1.2)), 1.5 * max(times))
    _legend(figure, axes)
    return figure


def _curves(rows: Sequence[Mapping[str, Any]], field: str) -> Figure:
    if field not in AXES:
        raise ValueError(f"field is {field!r}: it must be one of {', '.join(AXES)}")
    presets, implementations = _in_order(rows, "preset"), _implementations(rows)
    figure = Figure(figsize=(max(6.4, 1.0 + 4.2 * len(presets)), 4.4), dpi=150, layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, len(presets), squeeze=False, sharey=True)[0])
    for axis, preset in zip(axes, presets, strict=True):
        values = sorted({row[field] for row in rows if row["preset"] == preset})
        for name in implementations:
            mine = [row for row in rows if (row["preset"], row["implementation"]) == (preset, name)]
            points = sorted((row[field], row["ms"]) for row in mine)
            if points:
                axis.plot(
                    *zip(*points, strict=True), "o-", color=COLOURS[name], linewidth=1.3, markersize=4, label=name
                )
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_major_locator(FixedLocator(values))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_xlabel(AXES[field])
        axis.set_title(preset, loc="left", fontsize=10, color=INK)
        _style(axis)
    axes[0].set_ylabel("ms per training step")
    _legend(figure, axes)
    return figure


def _in_order(rows: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    if not rows:
        raise ValueError("rows is empty: there is nothing to plot")
    return list(dict.fromkeys(row[key] for row in rows))


def _implementations(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    there = set(_in_order(rows, "implementation"))
    return [name for name in COLOURS if name in there]


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    handles = {label: mark for axis in axes for mark, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False, fontsize=9
    )


def _style(axis: Axes) -> None:
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(colors="#555555", labelsize=9)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(GREY)
