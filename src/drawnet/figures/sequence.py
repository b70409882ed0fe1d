"""Drawings step by step with the rectangles of reading and writing: the paper's figures 1, 7 and 10."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, draw_window, scale_for, to_pictures
from drawnet.figures.sheet import arrange, stacked
from drawnet.models.frame import Frame

CELL_SIDE = 140
NUM_STEPS_SHOWN = (11, 10, 12, 9)  # how many, the best first


def drawing_sequence(frames: Iterable[Frame]) -> Image.Image:
    """One row an image: the canvas and the red writing rectangle at evenly spaced steps, then the picture alone.

    Args:
        frames: of one drawing, in order; all steps.

    Raises:
        ValueError: no frames.
    """
    frames = _listed(frames)
    steps = shown_steps(len(frames))
    columns = [_canvases(frames[step - 1]) for step in steps]
    columns.append(list(to_pictures(frames[-1].canvas, _scale(frames))))
    return _page(columns, steps, rows_in_group=1)


def sequences_beside(drawings: Mapping[str, Iterable[Frame]]) -> Image.Image:
    """Drawings of several models as `drawing_sequence` shows them, one below the other under their names.

    Models with the same number of steps have the same steps in a column.

    Args:
        drawings: name -> the frames of a drawing.

    Raises:
        ValueError: no drawings, or one without frames.
    """
    if not drawings:
        raise ValueError("drawings is empty: there is nothing to show")
    return stacked([drawing_sequence(frames) for frames in drawings.values()], list(drawings))


def reconstruction_sheet(x: Float[Tensor, "image channel height width"], frames: Iterable[Frame]) -> Image.Image:
    """Two rows an image: above, `x` and the green rectangle it is read through; below, the canvas and the red one.

    The last column holds both without rectangles; a model that reconstructs in one step has only the one.

    Args:
        x: what the model looked at, in [0, 1].
        frames: of the reconstruction of `x`, in order; all steps.

    Raises:
        ValueError: no frames, or frames of other images than `x`.
    """
    frames = _listed(frames)
    if x.shape != frames[0].canvas.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}: the frames have {tuple(frames[0].canvas.shape)}")
    scale = _scale(frames)
    inputs = to_pictures(x, scale)
    steps = shown_steps(len(frames))
    columns = []
    for step in steps:
        frame = frames[step - 1]
        looked_at = [draw_window(cell, frame.read, i, READ_COLOUR, scale) for i, cell in enumerate(inputs)]
        columns.append(_interleaved(looked_at, _canvases(frame)))
    if len(frames) > 1:
        columns.append(_interleaved(inputs, to_pictures(frames[-1].canvas, scale)))
    return _page(columns, steps, rows_in_group=2)


def shown_steps(num_steps: int) -> list[int]:
    """About eleven of the steps 1..num_steps, the first and the last among them; all of them up to twelve.

    Equally far apart where 9 to 12 steps can be, rounded to whole steps elsewhere.
    """
    if num_steps <= max(NUM_STEPS_SHOWN):
        return list(range(1, num_steps + 1))
    even = (count for count in NUM_STEPS_SHOWN if (num_steps - 1) % (count - 1) == 0)
    count = next(even, NUM_STEPS_SHOWN[0])
    return [math.floor(step + 0.5) for step in np.linspace(1, num_steps, count).tolist()]


def _listed(frames: Iterable[Frame]) -> list[Frame]:
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty: a drawing has at least one step")
    return frames


def _scale(frames: list[Frame]) -> int:
    height, width = frames[0].canvas.shape[2:]
    return scale_for(height, width, CELL_SIDE)


def _canvases(frame: Frame) -> list[np.ndarray]:
    scale = _scale([frame])
    cells = to_pictures(frame.canvas, scale)
    return [draw_window(cell, frame.write, i, WRITE_COLOUR, scale) for i, cell in enumerate(cells)]


def _interleaved(above: Iterable[np.ndarray], below: Iterable[np.ndarray]) -> list[np.ndarray]:
    return [cell for pair in zip(above, below, strict=True) for cell in pair]


def _page(columns: list[list[np.ndarray]], steps: list[int], rows_in_group: int) -> Image.Image:
    rows = list(zip(*columns, strict=True))
    height, width = rows[0][0].shape[:2]
    sheet = arrange(
        len(rows), len(columns), height, width, rows_in_group=rows_in_group, last_column_apart=len(columns) > 1
    )
    return sheet.page(rows, [str(step) for step in steps])
