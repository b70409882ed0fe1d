"""Completions beside what they were made from: figure 9 of van den Oord et al. (2016)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from drawnet.figures.drawing import scale_for, to_pictures
from drawnet.figures.sheet import arrange

CELL_SIDE = 112
HIDDEN_COLOUR = (168, 196, 224)


def completion_sheet(
    x: Float[Tensor, "image channel height width"],
    known: Bool[Tensor, "image 1 height width"],
    completions: Float[Tensor, "image completion channel height width"],
) -> Image.Image:
    """A row an image: what the model was given (hidden pixels in blue), its completions, and last the original.

    Args:
        x: the originals, in [0, 1].
        known: which pixels the model was given.
        completions: in [0, 1].
    """
    height, width = x.shape[2:]
    scale = scale_for(height, width, CELL_SIDE)
    originals = to_pictures(x, scale)
    hidden = ~known[:, 0].cpu().numpy().repeat(scale, axis=1).repeat(scale, axis=2)
    given = np.where(hidden[..., None], np.array(HIDDEN_COLOUR, np.uint8), originals)
    drawn = to_pictures(completions.flatten(0, 1), scale)
    num_completions = completions.shape[1]
    rows = [
        [given[i], *drawn[i * num_completions : (i + 1) * num_completions], originals[i]]
        for i in range(len(originals))
    ]
    sheet = arrange(len(rows), len(rows[0]), *originals.shape[1:3], last_column_apart=True)
    labels = ["given", *(str(k + 1) for k in range(completions.shape[1])), "original"]
    return sheet.page(rows, labels)
