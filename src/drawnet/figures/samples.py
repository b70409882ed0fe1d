"""Generated images in a grid beside the training images nearest to them: the paper's figures 6 and 12."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64, Int64
from PIL import Image, ImageDraw
from torch import Tensor

from drawnet.data.dataset import Split
from drawnet.figures.drawing import scale_for, to_pictures
from drawnet.figures.sheet import arrange, grid_columns, in_rows

CELL_SIDE = 112
NEIGHBOUR_COLOUR = (240, 180, 20)

# Values of training images held as float32 at a time: 16 MB, and a few times that while they are compared.
CHUNK_VALUES = 4_000_000


def sample_grid(
    images: Float[Tensor, "image channel height width"],
    neighbours: Float[Tensor, "image channel height width"] | None = None,
) -> Image.Image:
    """Samples row by row; after the last column, in a yellow frame, the neighbours of the samples just left of it.

    Args:
        images: samples in [0, 1].
        neighbours: the nearest training image of every sample, of which the last column's are shown; None leaves
            the extra column out.

    Raises:
        ValueError: no images, images that are not images, or neighbours of another shape.
    """
    if not len(images):
        raise ValueError("images is empty: there is nothing to show")
    if neighbours is not None and neighbours.shape != images.shape:
        raise ValueError(
            f"neighbours has shape {tuple(neighbours.shape)}: it must be {tuple(images.shape)}, as images"
        )
    num_columns = grid_columns(len(images))
    height, width = images.shape[2:]
    scale = scale_for(height, width, CELL_SIDE)
    cells = to_pictures(images, scale)
    rows = in_rows(cells, num_columns)
    if neighbours is None:
        return arrange(len(rows), num_columns, *cells.shape[1:3]).page(rows)

    nearest = to_pictures(neighbours, scale)[num_columns - 1 :: num_columns]
    for row, cell in zip(rows, nearest, strict=False):  # a last row that ends early has no last column
        row.append(cell)
    sheet = arrange(len(rows), num_columns + 1, *cells.shape[1:3], last_column_apart=True)
    page = sheet.page(rows)
    if len(nearest):
        left, top = sheet.left[-1] - sheet.gap, sheet.top[0] - sheet.gap
        right = sheet.left[-1] + sheet.cell_width + sheet.gap - 1
        bottom = sheet.top[len(nearest) - 1] + sheet.cell_height + sheet.gap - 1
        ImageDraw.Draw(page).rectangle(
            (left, top, right, bottom), outline=NEIGHBOUR_COLOUR, width=max(1, sheet.gap // 2)
        )
    return page


def nearest_images(
    queries: Float[Tensor, "query channel height width"], split: Split
) -> tuple[Int64[Tensor, "query"], Float64[Tensor, "query"]]:
    """The image of `split` with the smallest sum of squared pixel differences to each query, and that sum.

    |q - x|^2 = |q|^2 - 2 q.x + |x|^2 in float32 leaves the few images that rounding cannot tell from the nearest;
    among them the differences themselves decide, in float64. Of equals, the first. Images drawn anew at every use
    (`split.resample`) are compared by their intensities.

    Args:
        queries: in [0, 1].
        split: where to look; for samples of a model, what it was trained on.

    Raises:
        ValueError: an empty split, or queries of another shape than its images.
    """
    if not len(split):
        raise ValueError("split is empty: there is no nearest image")
    if queries.shape[1:] != split.images.shape[1:]:
        raise ValueError(f"queries has shape {tuple(queries.shape)}: it must be [query, {_shape_text(split.images)}]")
    q = queries.detach().cpu().to(torch.float32).flatten(1)
    q_exact, q_square = q.double(), q.square().sum(1)
    num_values = q.shape[1]
    best_index = torch.zeros(len(q), dtype=torch.int64)
    best = torch.full((len(q),), torch.inf, dtype=torch.float64)
    chunk_size = max(1, CHUNK_VALUES // num_values)
    for start in range(0, len(split), chunk_size):
        x = split.images[start : start + chunk_size].flatten(1).to(torch.float32) / split.max_value
        x_square = x.square().sum(1)
        distance = q_square[:, None] - 2 * q @ x.T + x_square
        # Each of the three sums is off by at most num_values roundings of its size, and 2 q.x <= |q|^2 + |x|^2.
        error = 2 * (num_values + 2) * torch.finfo(torch.float32).eps * (q_square + x_square.max())
        limit = torch.minimum(distance.min(1).values.double() + 2 * error, best + error)
        for i in range(len(q)):
            candidates = (distance[i] <= limit[i]).nonzero().flatten()
            if not len(candidates):
                continue
            exact = (x[candidates].double() - q_exact[i]).square_().sum(1)
            nearest = exact.min()
            if nearest < best[i]:
                best[i] = nearest
                best_index[i] = start + candidates[exact == nearest][0]
    return best_index, best


def _shape_text(images: Tensor) -> str:
    return ", ".join(map(str, images.shape[1:]))
