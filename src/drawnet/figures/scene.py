"""A picture of no one's: made by a few lines, so that it may be shown anywhere."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

FINER = 8  # drawn so many times as large, then scaled down, which smooths the edges


def house_by_the_hills(height: int = 75, width: int = 100) -> Float[Tensor, "3 height width"]:
    """A house with a tree before hills at sunset, in [0, 1]; 75 x 100 pixels, as the picture of the paper's figure 4.

    Args:
        height: in pixels.
        width: in pixels.
    """
    rows, columns = height * FINER, width * FINER
    fade = np.linspace(0, 1, rows)[:, None, None]
    sky = (1 - fade) * np.array([58, 96, 160]) + fade * np.array([255, 190, 120])
    picture = Image.fromarray(np.broadcast_to(np.rint(sky), (rows, columns, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(picture)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        """Points of the unit square, (x, y) from the top left, on the picture."""
        return [(x * columns, y * rows) for x, y in points]

    def ridge(base: float, swing: float, turns: float, colour: tuple[int, int, int]) -> None:
        x = np.linspace(0, 1, 200)
        y = base - swing * (np.sin(turns * x) + 0.4 * np.sin(2.7 * turns * x + 1))
        draw.polygon(at((0, 1), *zip(x.tolist(), y.tolist(), strict=True), (1, 1)), fill=colour)

    draw.ellipse(at((0.70, 0.14), (0.83, 0.3133)), fill=(255, 236, 170))
    ridge(0.55, 0.10, 7, (104, 96, 130))
    ridge(0.68, 0.06, 11, (66, 92, 84))
    ridge(0.86, 0.02, 5, (58, 110, 52))
    draw.rectangle(at((0.28, 0.58), (0.56, 0.88)), fill=(226, 205, 170))
    draw.polygon(at((0.24, 0.58), (0.42, 0.40), (0.60, 0.58)), fill=(150, 52, 40))
    draw.rectangle(at((0.50, 0.42), (0.54, 0.54)), fill=(120, 44, 36))
    for left in (0.31, 0.47):
        draw.rectangle(at((left, 0.64), (left + 0.06, 0.74)), fill=(70, 90, 120))
        draw.line(at((left + 0.03, 0.64), (left + 0.03, 0.74)), fill=(240, 232, 214), width=FINER // 2)
        draw.line(at((left, 0.69), (left + 0.06, 0.69)), fill=(240, 232, 214), width=FINER // 2)
    draw.rectangle(at((0.39, 0.68), (0.45, 0.88)), fill=(92, 58, 36))
    draw.rectangle(at((0.735, 0.62), (0.765, 0.90)), fill=(80, 54, 34))
    for x, y, radius in ((0.75, 0.50, 0.09), (0.69, 0.58, 0.07), (0.81, 0.58, 0.07)):
        draw.ellipse(
            at((x - radius, y - radius * width / height), (x + radius, y + radius * width / height)), fill=(44, 84, 44)
        )
    small = picture.resize((width, height), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
