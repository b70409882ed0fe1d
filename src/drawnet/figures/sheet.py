"""Cells of one size on a page, with even gaps and margins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAGE_COLOUR = (255, 255, 255)
LABEL_COLOUR = (120, 120, 120)
TITLE_COLOUR = (60, 60, 60)


@dataclass(frozen=True)
class Sheet:
    """Where the cells lie on a page, in picture pixels.

    Attributes:
        left: first column of every column of cells.
        top: first row of every row of cells.
        cell_height: of every cell.
        cell_width: of every cell.
        gap: between neighbouring cells.
        margin: around them all.
    """

    left: tuple[int, ...]
    top: tuple[int, ...]
    cell_height: int
    cell_width: int
    gap: int
    margin: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the page."""
        return self.left[-1] + self.cell_width + self.margin, self.top[-1] + self.cell_height + self.margin

    def page(self, rows: Sequence[Sequence[np.ndarray]], labels: Sequence[str] = ()) -> Image.Image:
        """The cells on the page, row by row; a row may end early. `labels` stand above the first columns."""
        width, height = self.size
        page = np.full((height, width, 3), PAGE_COLOUR, dtype=np.uint8)
        for top, row in zip(self.top, rows, strict=True):
            for left, cell in zip(self.left, row, strict=False):
                page[top : top + self.cell_height, left : left + self.cell_width] = cell
        picture = Image.fromarray(page)
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(size=self._label_size)
        for left, label in zip(self.left, labels, strict=False):
            place = (left + self.cell_width / 2, self.top[0] - self.gap)
            draw.text(place, label, fill=LABEL_COLOUR, font=font, anchor="ms")
        return picture

    @property
    def _label_size(self) -> int:
        return max(10, round(self.cell_width / 8))


def arrange(
    num_rows: int,
    num_columns: int,
    cell_height: int,
    cell_width: int,
    *,
    rows_in_group: int = 1,
    last_column_apart: bool = False,
) -> Sheet:
    """Even gaps; wider ones between groups of rows, and before the last column where it stands apart."""
    side = max(cell_height, cell_width)
    gap, margin = max(2, side // 20), max(20, side // 3)
    left = [margin + column * (cell_width + gap) for column in range(num_columns)]
    if last_column_apart:
        left[-1] += 3 * gap
    group_gap = 3 * gap if rows_in_group > 1 else 0
    top = [margin + row * (cell_height + gap) + row // rows_in_group * group_gap for row in range(num_rows)]
    return Sheet(tuple(left), tuple(top), cell_height, cell_width, gap, margin)


def stacked(pages: Sequence[Image.Image], titles: Sequence[str]) -> Image.Image:
    """Pages one below the other, each under its title, left edges in line.

    Args:
        pages: at least one.
        titles: one a page.
    """
    size = max(16, round(max(page.width for page in pages) / 60))
    font = ImageFont.load_default(size=size)
    band = 2 * size
    width, height = max(page.width for page in pages), sum(page.height + band for page in pages)
    whole = Image.new("RGB", (width, height), PAGE_COLOUR)
    draw = ImageDraw.Draw(whole)
    top = 0
    for page, title in zip(pages, titles, strict=True):
        draw.text((2 * size, top + band), title, fill=TITLE_COLOUR, font=font, anchor="ls")
        whole.paste(page, (0, top + band))
        top += band + page.height
    return whole


def grid_columns(num_cells: int) -> int:
    """Columns for a grid a little wider than high: a divisor of `num_cells` where a fitting one exists."""
    root = math.isqrt(num_cells - 1) + 1  # rounded up
    return next((c for c in range(root, 2 * root + 1) if num_cells % c == 0), root)


def in_rows(cells: Iterable[np.ndarray], num_columns: int) -> list[list[np.ndarray]]:
    """Cells in reading order, cut into rows; the last may end early."""
    cells = list(cells)
    return [cells[start : start + num_columns] for start in range(0, len(cells), num_columns)]
