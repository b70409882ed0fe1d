"""What the attention makes of an image: figures 3 and 4 of the DRAW paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from drawnet.figures.drawing import READ_COLOUR, draw_centers, draw_window, scale_for, to_pictures
from drawnet.figures.sheet import arrange
from drawnet.nn.attention import Window, check_grid_size, filter_bank, filter_banks, read_patch, write_patch

CELL_SIDE = 280
DIM = 0.35  # of the image's intensity behind a single filter


@dataclass(frozen=True)
class Zoom:
    """An image seen through windows, one row each.

    Attributes:
        patches: gamma F_Y x F_X^T (27), `[window, channel, N, N]`; may be brighter than 1.
        rebuilt: F_Y^T F_Y x F_X^T F_X, what writing the patch with the window that read it leaves (27, 29), divided by
            the brightest value that a white image without edges would leave; at most 1. gamma cancels.
        first: the filter of the patch's top left value, F_Y[1]^T F_X[1], over the image, its largest value 1.
        last: the filter of the bottom right one.
    """

    patches: Float[Tensor, "window channel grid grid"]
    rebuilt: Float[Tensor, "window channel height width"]
    first: Float[Tensor, "window height width"]
    last: Float[Tensor, "window height width"]


def zoom(image: Float[Tensor, "channel height width"], windows: Window) -> Zoom:
    """Read an image through every window, and write what was read with the same one.

    Every row of a filter matrix sums to 1 and its columns do not, so that what is written back is darker the larger
    the stride; therefore it is given relative to white. At the image's edges, where filters that look beyond them pile
    up, it can be brighter than that and is cut off.

    Args:
        image: in [0, 1].
        windows: where to look, one batch.

    Raises:
        ValueError: a window of fewer than 2 x 2 or of more filters than the image's shorter side has pixels.
    """
    height, width = image.shape[1:]
    check_grid_size("grid_size", windows.grid_size)
    if windows.grid_size > min(height, width):
        raise ValueError(
            f"grid_size is {windows.grid_size}: the image is {height} x {width} pixels (height x width), and a patch "
            "must not be larger than its shorter side"
        )
    images = image.expand(len(windows.center_x), -1, -1, -1)
    patches = read_patch(images, windows)
    rebuilt = write_patch(patches, windows, height, width) / _white(windows)[:, None, None, None]
    f_y, f_x = filter_banks(windows, height, width)
    first, last = (f_y[:, i, :, None] * f_x[:, i, None, :] for i in (0, -1))
    return Zoom(
        patches,
        rebuilt.clamp(0, 1),
        *(single / single.amax((1, 2), keepdim=True) for single in (first, last)),
    )


def _white(windows: Window) -> Float[Tensor, "window"]:
    """The brightest value of F_Y^T F_Y 1 F_X^T F_X = (F_Y^T 1) (F_X^T 1)^T where no filter meets an edge."""
    margin = math.ceil((windows.half_width + 5 * windows.sigma).max().item()) + 1
    brightest = []
    for center in (windows.center_y, windows.center_x):
        middle = margin + 1 + center - center.round()  # as far from the nearest pixel as on the image
        bank = filter_bank(middle, windows.stride, windows.sigma, windows.grid_size, 2 * margin + 1)
        brightest.append(bank.sum(1).amax(1))
    return brightest[0] * brightest[1]


def zoom_sheet(image: Float[Tensor, "channel height width"], windows: Window) -> Image.Image:
    """Figure 4: a row a window with the window on the image, its patch, the image rebuilt from it, two filters.

    Args:
        image: in [0, 1].
        windows: where to look, one batch.

    Raises:
        ValueError: see `zoom`.
    """
    seen = zoom(image, windows)
    height, width = image.shape[1:]
    scale = scale_for(height, width, CELL_SIDE)
    dim = DIM * image
    singles = [dim + (1 - dim) * single[:, None] for single in (seen.first, seen.last)]
    columns = [
        _looked_at(image, windows, scale, with_centers=False),
        _patch_pictures(seen.patches, height * scale, width * scale),
        *(list(to_pictures(images, scale)) for images in (seen.rebuilt, *singles)),
    ]
    n = windows.grid_size
    labels = ("window", f"patch {n} x {n}", "written back", "first filter", "last filter")
    return _page(columns, labels)


def patches_sheet(image: Float[Tensor, "channel height width"], windows: Window) -> Image.Image:
    """Figure 3: a row a window with its filters' centres on the image, and the patch.

    Args:
        image: in [0, 1].
        windows: where to look, one batch.

    Raises:
        ValueError: see `zoom`.
    """
    height, width = image.shape[1:]
    scale = scale_for(height, width, CELL_SIDE)
    columns = [
        _looked_at(image, windows, scale, with_centers=True),
        _patch_pictures(zoom(image, windows).patches, height * scale, width * scale),
    ]
    return _page(columns, ("filters", f"patch {windows.grid_size} x {windows.grid_size}"))


def _looked_at(image: Tensor, windows: Window, scale: int, *, with_centers: bool) -> list[np.ndarray]:
    """The image with the green square of every window."""
    picture = to_pictures(image[None], scale)[0]
    indices = range(len(windows.center_x))
    drawn = [draw_window(picture, windows, i, READ_COLOUR, scale) for i in indices]
    if with_centers:
        drawn = [draw_centers(cell, windows, i, READ_COLOUR, scale) for i, cell in enumerate(drawn)]
    return drawn


def _patch_pictures(patches: Tensor, cell_height: int, cell_width: int) -> list[np.ndarray]:
    """Patches as large as whole picture pixels allow in a cell, in the middle of white ones."""
    scale = min(cell_height, cell_width) // patches.shape[2]
    pictures = []
    for picture in to_pictures(patches.clamp(0, 1), scale):
        cell = np.full((cell_height, cell_width, 3), 255, dtype=np.uint8)
        top, left = (cell_height - len(picture)) // 2, (cell_width - len(picture)) // 2
        cell[top : top + len(picture), left : left + len(picture)] = picture
        pictures.append(cell)
    return pictures


def _page(columns: list[list[np.ndarray]], labels: tuple[str, ...]) -> Image.Image:
    rows = list(zip(*columns, strict=True))
    return arrange(len(rows), len(columns), *rows[0][0].shape[:2]).page(rows, labels)
