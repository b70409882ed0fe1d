from __future__ import annotations

import numpy as np
import pytest
import torch

from drawnet.figures.completion import HIDDEN_COLOUR, completion_sheet
from drawnet.figures.drawing import to_pictures
from drawnet.figures.sheet import PAGE_COLOUR, arrange

HEIGHT, WIDTH, SCALE = 7, 5, 16  # 112 / 7


def _cell(page: np.ndarray, row: int, column: int, num_rows: int, num_columns: int) -> np.ndarray:
    height, width = HEIGHT * SCALE, WIDTH * SCALE
    sheet = arrange(num_rows, num_columns, height, width, last_column_apart=True)
    assert page.shape[:2] == sheet.size[::-1]
    return page[sheet.top[row] :, sheet.left[column] :][:height, :width]


@pytest.mark.parametrize("num_channels", [1, 3])
def test_a_row_is_what_was_given_then_the_completions_in_order_then_the_original(num_channels):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, num_channels, HEIGHT, WIDTH, generator=generator)
    known = torch.rand(2, 1, HEIGHT, WIDTH, generator=generator) < 0.5  # another mask for every image
    completions = torch.rand(2, 3, num_channels, HEIGHT, WIDTH, generator=generator)
    page = np.asarray(completion_sheet(x, known, completions))
    for i in range(2):
        np.testing.assert_array_equal(_cell(page, i, 4, 2, 5), to_pictures(x, SCALE)[i])
        for k in range(3):
            np.testing.assert_array_equal(_cell(page, i, 1 + k, 2, 5), to_pictures(completions[i], SCALE)[k])
        given = _cell(page, i, 0, 2, 5)
        for row in range(HEIGHT):
            for column in range(WIDTH):
                square = given[row * SCALE :, column * SCALE :][:SCALE, :SCALE]
                value = np.rint(255 * x[i, :, row, column].double().numpy())
                assert (square == (value if known[i, 0, row, column] else HIDDEN_COLOUR)).all()


def test_every_column_has_its_label():
    x = torch.zeros(1, 1, HEIGHT, WIDTH)
    page = np.asarray(completion_sheet(x, x == 0, torch.zeros(1, 4, 1, HEIGHT, WIDTH)))
    sheet = arrange(1, 6, HEIGHT * SCALE, WIDTH * SCALE, last_column_apart=True)
    header = page[: sheet.top[0]]
    inked = [(header[:, left : left + sheet.cell_width] != PAGE_COLOUR).any(2) for left in sheet.left]
    assert all(ink.any() for ink in inked)
    # 1, 2, 3 and 4 are narrower than "given" and "original", and differ from each other.
    widths = [np.ptp(np.flatnonzero(ink.any(0))) for ink in inked]
    assert max(widths[1:5]) < min(widths[0], widths[5])
    assert len({ink.tobytes() for ink in inked}) == 6


def test_all_known_gives_the_original_and_nothing_known_the_colour_alone():
    x = torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    for known, given in ((True, to_pictures(x, SCALE)[0]), (False, HIDDEN_COLOUR)):
        page = np.asarray(completion_sheet(x, torch.full_like(x, known, dtype=torch.bool), x[:, None]))
        assert (_cell(page, 0, 0, 1, 3) == given).all()
