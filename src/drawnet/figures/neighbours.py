"""Whether a model has memorised: distances to the nearest training image, of samples and of test images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from matplotlib.figure import Figure
from torch import Tensor

from drawnet.data.dataset import Dataset
from drawnet.evaluate import spread_indices
from drawnet.figures.curves import BLUE, GREY, RED, plain_style, save_figure
from drawnet.figures.samples import nearest_images

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_BINS = 40
COLOURS = (RED, BLUE, GREY)


def neighbour_distances(
    means: Float[Tensor, "image channel height width"], dataset: Dataset, *, generator: torch.Generator
) -> dict[str, Float64[Tensor, "image"]]:
    """Euclidean distance to the nearest training image of as many samples, test images and training images drawn anew.

    Like is compared with like: where the data are bits, the samples are bits drawn from the model's means, as the test
    images are. A model that has memorised draws images as near as training images drawn anew from their intensities;
    where training images are not drawn anew this distance is 0, and left out.

    Args:
        means: of the samples, in [0, 1].
        dataset: what the model was trained on. Of training images that are crops or compositions made anew, one fixed
            draw is searched.
        generator: draws the bits, on the CPU.

    Returns:
        "samples", "test images" and perhaps "training images, drawn anew" -> distances, in intensities.
    """
    means = means.detach().cpu().float()
    train, test = dataset.train, dataset.test
    groups = {"samples": means if dataset.binarization is None else torch.bernoulli(means, generator=generator)}
    groups["test images"] = test.batch(spread_indices(min(len(means), len(test)), len(test)), generator)
    if train.resample:
        some = train.intensities(spread_indices(min(len(means), len(train)), len(train)))
        groups["training images, drawn anew"] = torch.bernoulli(some, generator=generator)
    return {name: nearest_images(images, train)[1].sqrt() for name, images in groups.items()}


def distance_summary(distances: Mapping[str, Float64[Tensor, "image"]]) -> dict[str, dict[str, float]]:
    """Each group's number of images, quantiles (`QUANTILES`, "0.5" is the median) and least distance."""
    return {
        name: {
            "num_images": len(values),
            "least": values.min().item(),
            **{f"{q:g}": values.quantile(q).item() for q in QUANTILES},
        }
        for name, values in distances.items()
    }


def distance_histogram(distances: Mapping[str, Float64[Tensor, "image"]], path: Path | str) -> None:
    """The distances of every group as outlines over one axis, the medians as lines, and a table of quantiles below.

    Args:
        distances: of `neighbour_distances`.
        path: the picture, PNG or another format that matplotlib writes.

    Raises:
        ValueError: no distances.
    """
    if not distances or not all(map(len, distances.values())):
        raise ValueError("distances is empty: there is nothing to show")
    summary = distance_summary(distances)
    figure = Figure(figsize=(8, 4.8), dpi=150, layout="constrained")
    axis, below = figure.subplots(2, height_ratios=(4, 0.55 + 0.35 * len(distances)))
    highest = max(values.max().item() for values in distances.values())
    bins = np.linspace(0, highest or 1.0, NUM_BINS + 1).tolist()
    for colour, (name, values) in zip(COLOURS, distances.items(), strict=False):
        axis.hist(values.numpy(), bins, density=True, histtype="step", linewidth=1.4, color=colour, label=name)
        axis.axvline(summary[name]["0.5"], color=colour, linewidth=0.9, linestyle="--")
    axis.set_xlabel("Euclidean distance to the nearest training image (dashed: median)")
    axis.set_ylabel("density")
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    plain_style(axis)
    below.axis("off")
    table = below.table(
        cellText=[
            [name, f"{row['num_images']:,}", *(f"{row[f'{q:g}']:.2f}" for q in QUANTILES)]
            for name, row in summary.items()
        ],
        colLabels=["", "images", *("median" if q == 0.5 else f"{q:.0%}" for q in QUANTILES)],
        colWidths=[0.34, 0.11, *([0.11] * len(QUANTILES))],
        edges="horizontal",
        loc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (_, column), cell in table.get_celld().items():
        cell.set_edgecolor("#cccccc")
        cell.set_text_props(ha="left" if column == 0 else "right")
    save_figure(figure, path)
