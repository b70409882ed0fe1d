"""A classifier's glimpses, one after the other, as rectangles on the image: the paper's figure 5."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, draw_window, scale_for, to_pictures
from drawnet.figures.sequence import shown_steps
from drawnet.figures.sheet import PAGE_COLOUR, arrange
from drawnet.models.classification import Look
from drawnet.nn.attention import Window

CELL_SIDE = 200
BLUR = 1e6  # sigma whose line is the thinnest, pixels
TEXT_SHARE = 8  # the line under a row is one part in so many of a cell's height


def glimpse_sheet(
    x: Float[Tensor, "image channel height width"], look: Look, labels: Int64[Tensor, "image"]
) -> Image.Image:
    """One row an image: the green rectangles of every glimpse, then the image alone; below, what it was taken for.

    The line is green where that is right and red where it is wrong.

    Args:
        x: the images, in [0, 1].
        look: how they were classified.
        labels: what they show.

    Raises:
        ValueError: no images, no glimpses, or a look at another number of images.
    """
    if not len(x) == len(labels) == len(look.log_probs):
        raise ValueError(f"x has {len(x)} images, labels {len(labels)}, and look is of {len(look.log_probs)}")
    if not len(x):
        raise ValueError("x is empty: there is nothing to show")
    if not look.glimpses:
        raise ValueError("look has no glimpses: a model that sees the whole image at once has none to show")
    height, width = x.shape[2:]
    scale = scale_for(height, width, CELL_SIDE)
    pictures = to_pictures(x, scale)
    height, width = pictures.shape[1:3]
    text_height = max(14, height // TEXT_SHARE)
    steps = shown_steps(len(look.glimpses))
    rows = []
    for i, picture in enumerate(pictures):
        row = []
        for step in steps:
            cell = picture
            for window in shown_windows(look.glimpses[step - 1]):
                cell = draw_window(cell, window, i, READ_COLOUR, scale)
            row.append(_with_line(cell, text_height))
        rows.append([*row, _with_line(picture, text_height)])

    sheet = arrange(len(rows), len(steps) + 1, height + text_height, width, last_column_apart=True)
    page = sheet.page(rows, [str(step) for step in steps])
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=max(10, 2 * text_height // 3))
    for top, probable, label in zip(sheet.top, look.log_probs.argmax(1).tolist(), labels.tolist(), strict=True):
        colour = READ_COLOUR if probable == label else WRITE_COLOUR
        place = (sheet.left[0], top + height + text_height / 2)
        draw.text(place, f"predicted {probable}, true {label}", fill=colour, font=font, anchor="lm")
    return page


def shown_windows(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """A window alone says by its line how sharp it is; several get the thinnest line, or they would hide the image."""
    if len(windows) == 1:
        return windows
    return tuple(dataclasses.replace(w, sigma=torch.full_like(w.sigma, BLUR)) for w in windows)


def _with_line(picture: np.ndarray, text_height: int) -> np.ndarray:
    """The picture with room for a line of text below."""
    line = np.full((text_height, *picture.shape[1:]), PAGE_COLOUR, dtype=np.uint8)
    return np.concatenate([picture, line])
