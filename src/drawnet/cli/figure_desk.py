"""What the figures of the paper are made with: weights, their data, and where the files go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drawnet.checkpoint import Checkpoint
    from drawnet.data import Dataset
    from drawnet.models.draw import Draw

# Data whose licence allows that its images are shown in published pictures.
MAY_BE_SHOWN = ("mnist", "binarized-mnist", "mnist-two-digits")


class SkippedError(Exception):
    """A figure cannot be made here; the message says for want of what."""


@dataclass(frozen=True)
class Weights:
    """The weights that a figure is of.

    Attributes:
        name: what they are called, "mnist" for one.
        checkpoint: where they are.
        metrics: the metrics.jsonl of their training.
        note: in words, which they are, and which better ones are missing.
    """

    name: str
    checkpoint: Checkpoint
    metrics: Path
    note: str

    @property
    def dataset(self) -> str:
        """Name of the data set they were trained on."""
        return self.checkpoint.config.dataset


@dataclass(frozen=True)
class Desk:
    """What all figures are made with.

    Attributes:
        out: folder for the files.
        runs: folder of run folders, which stand in for weights of their name that are not shipped; None is without.
        seed: of everything drawn.
        device: where the models draw.
        with_neighbours: show images of data sets whose licence does not say that they may be published.
        command: the command that asks for the figures, for JSON files.
    """

    out: Path
    runs: Path | None
    seed: int
    device: str
    with_neighbours: bool
    command: str

    def weights(self, *names: str) -> Weights:
        """The first of these that are shipped, or are in `runs`.

        Raises:
            SkippedError: none of them are.
            ValueError: what is in `runs` is damaged.
        """
        from drawnet.checkpoint import newest_checkpoint, read_checkpoint, shipped_models

        shipped = shipped_models()
        for index, name in enumerate(names):
            missing = f"; {' and '.join(names[:index])} not shipped yet" if index else ""
            if (folder := shipped.get(name)) is not None:
                return Weights(name, read_checkpoint(folder), folder / "metrics.jsonl", f"of {name}{missing}")
            if self.runs is None:
                continue
            folder = self.runs / name
            if (checkpoint := newest_checkpoint(folder)) is not None:
                return Weights(name, checkpoint, folder / "metrics.jsonl", f"of the run {folder}{missing}")
        raise SkippedError(f"weights {' and '.join(names)} are not shipped yet")

    def model(self, weights: Weights) -> Draw:
        """The network, where it is to draw.

        Raises:
            ValueError: it is not DRAW, or the weights are damaged.
        """
        from drawnet.models.draw import Draw

        model = weights.checkpoint.load_model().to(self.device)
        if not isinstance(model, Draw):
            raise ValueError(f"{weights.checkpoint.path} is not a DRAW network, which this figure is of")
        return model

    def dataset(self, weights: Weights) -> Dataset | None:
        """What the weights were trained on; None where it is not to be had here."""
        from drawnet.data import load_dataset

        try:
            return load_dataset(weights.dataset, weights.checkpoint.config.images)
        except (ValueError, OSError):
            return None

    def may_show(self, weights: Weights) -> bool:
        """Whether images that the weights were trained on may stand in a picture."""
        return self.with_neighbours or weights.dataset in MAY_BE_SHOWN


@dataclass(frozen=True)
class Made:
    """The files of a figure, and what is to be said of them in a line."""

    paths: tuple[Path, ...]
    note: str
