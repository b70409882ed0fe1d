"""Curves of a training run, from what it wrote down."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from drawnet.files import replacing

INK, RED, BLUE, GOLD, GREEN, GREY = "#222222", "#d62828", "#2a6f97", "#d99a1c", "#3a7d44", "#8a8a8a"
PART_COLOURS = (BLUE, GOLD, GREEN, GREY)
SMOOTHING_POINTS = 100  # a smoothed curve is a running mean over one part in so many of the points


def read_metrics(path: Path | str) -> list[dict]:
    """The records of a `metrics.jsonl`, one JSON object a line.

    Raises:
        ValueError: a line that is not a JSON object; the message names the file and the line.
    """
    records = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(record, dict):
                raise ValueError(f"{path}, line {number}: a JSON object is expected, not {line.strip()[:40]}")
            records.append(record)
    return records


def training_curves(metrics: Sequence[dict], path: Path | str) -> None:
    """Nats per image against updates: the total above with the validation points, its parts below.

    Training values are single batches: all of them light, and their running mean over about 1/100 of the run dark.
    Validation points carry two standard errors. The axes fit the values after the first tenth of the run; a note
    says where others lie above them.

    Args:
        metrics: records of `read_metrics`.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: not one training or validation record.
    """
    train = [record for record in metrics if record.get("kind") == "train"]
    validation = [record for record in metrics if record.get("kind") == "validation"]
    if not train and not validation:
        raise ValueError("metrics holds no record of kind 'train' or 'validation': there is nothing to plot")
    names = list(dict.fromkeys(name for record in train for name in record.get("parts", {})))
    has_parts = len(names) > 1

    figure = Figure(figsize=(8, 7.2 if has_parts else 4.6), dpi=150, layout="constrained")
    axes = figure.subplots(2 if has_parts else 1, sharex=True, height_ratios=(3, 2) if has_parts else None)
    top, *rest = np.atleast_1d(axes)

    updates = _column(train, "update")
    curves = [(updates, _column(train, "nats"))] if train else []
    for u, nats in curves:
        _train_curve(top, u, nats, INK, "training batches")
    if validation:
        u = _column(validation, "update")
        mean, error = (
            np.array([record["nats"][key] for record in validation], dtype=float) for key in ("mean", "standard_error")
        )
        top.errorbar(
            u, mean, yerr=2 * error, color=RED, marker="o", markersize=4, linewidth=1, elinewidth=1.2, capsize=2,
            zorder=4, label="validation, mean and two standard errors",
        )  # fmt: skip
        curves.append((u, mean))
    _finish(top, curves)
    for axis in rest:
        parts = [np.array([record["parts"].get(name) for record in train], dtype=float) for name in names]
        for i, (name, nats) in enumerate(zip(names, parts, strict=True)):
            _train_curve(axis, updates, nats, PART_COLOURS[i % len(PART_COLOURS)], name)
        _finish(axis, [(updates, nats) for nats in parts])
    (rest or [top])[-1].set_xlabel("update")
    save_figure(figure, path)


def validation_curves(runs: Mapping[str, Sequence[dict]], path: Path | str) -> None:
    """The validation nats of several runs against updates, with two standard errors.

    Args:
        runs: label -> records of `read_metrics`.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: a run without a validation record, or no runs.
    """
    figure = Figure(figsize=(8, 4.6), dpi=150, layout="constrained")
    axis = figure.subplots()
    curves = []
    for colour, (label, metrics) in zip(itertools.cycle((GREY, BLUE, RED, GOLD, GREEN)), runs.items(), strict=False):
        validation = [record for record in metrics if record.get("kind") == "validation"]
        if not validation:
            raise ValueError(f"{label} has no record of kind 'validation': there is nothing to plot")
        updates = _column(validation, "update")
        mean, error = (
            np.array([record["nats"][key] for record in validation], dtype=float) for key in ("mean", "standard_error")
        )
        axis.errorbar(
            updates, mean, yerr=2 * error, color=colour, linewidth=1.2, marker="o", markersize=3, label=label
        )
        curves.append((updates, mean))
    if not curves:
        raise ValueError("runs is empty: there is nothing to plot")
    axis.set_xlabel("update")
    _finish(axis, curves)
    save_figure(figure, path)


def kl_per_step(report: dict, path: Path | str) -> None:
    """The nats that each time step's latent variables carry, as bars.

    Args:
        report: an evaluation; `report["kl_per_step"]` holds mean nats per image, one a step.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: the report has no KL per step.
    """
    values = report.get("kl_per_step")
    if not values:
        raise ValueError("kl_per_step is missing from the report: only models that draw in steps have it")
    figure = Figure(figsize=(8, 3.6), dpi=150, layout="constrained")
    axis = figure.subplots()
    axis.bar(np.arange(1, len(values) + 1), values, width=0.78, color=BLUE)
    axis.set_xlim(0.25, len(values) + 0.75)
    axis.set_xlabel("step")
    axis.set_ylabel("KL, nats per image")
    axis.set_title(f"{sum(values):.2f} nats in {len(values)} steps", loc="left", fontsize=10, color=INK)
    plain_style(axis)
    save_figure(figure, path)


def _column(records: list[dict], key: str) -> np.ndarray:
    return np.array([record[key] for record in records], dtype=float)


def _train_curve(axis: Axes, updates: np.ndarray, nats: np.ndarray, colour: str, label: str) -> None:
    window = len(nats) // SMOOTHING_POINTS
    if window < 2:
        axis.plot(updates, nats, color=colour, linewidth=1.3, label=label)
        return
    axis.plot(updates, nats, color=colour, linewidth=0.5, alpha=0.22)
    # Only whole windows: no value is made up at the ends.
    mean = np.convolve(nats, np.full(window, 1 / window), mode="valid")
    centre = np.convolve(updates, np.full(window, 1 / window), mode="valid")
    axis.plot(centre, mean, color=colour, linewidth=1.3, label=f"{label}, running mean of {window}")


def _finish(axis: Axes, curves: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Limits that the first steep fall does not decide, and the style."""
    last = max(updates.max() for updates, _ in curves)
    late = [nats[(updates >= last / 10) & np.isfinite(nats)] for updates, nats in curves]
    if any(len(nats) for nats in late):
        low = min(nats.min() for nats in late if len(nats))
        high = max(np.percentile(nats, 99.5) for nats in late if len(nats))
        pad = 0.06 * (high - low) or 1.0
        axis.set_ylim(low - pad, high + pad)
        if any((nats > high + pad).any() for _, nats in curves):
            axis.set_title("some values lie above", loc="left", fontsize=8, color=GREY)
    axis.set_ylabel("nats per image")
    axis.legend(frameon=False, fontsize=9, loc="best")
    plain_style(axis)


def plain_style(axis: Axes) -> None:
    """What all plots here look like."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axis.spines[side].set_color(GREY)
    axis.tick_params(colors="#555555", labelsize=9)
    axis.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a plot whole or not at all; equal plots give equal bytes."""
    with replacing(path) as temporary:
        figure.savefig(temporary)
