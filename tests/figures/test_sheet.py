from __future__ import annotations

import numpy as np
import pytest

from drawnet.figures.sheet import LABEL_COLOUR, PAGE_COLOUR, arrange, grid_columns


def test_cells_stand_where_the_sheet_says_and_the_rest_is_page():
    sheet = arrange(2, 3, 40, 20, rows_in_group=1, last_column_apart=True)
    rows = [[np.full((40, 20, 3), 10 * row + column, np.uint8) for column in range(3)] for row in range(2)]
    page = np.asarray(sheet.page(rows)).copy()
    assert page.shape[:2] == sheet.size[::-1]
    for row, top in enumerate(sheet.top):
        for column, left in enumerate(sheet.left):
            cell = page[top : top + 40, left : left + 20]
            assert (cell == 10 * row + column).all()
            cell[:] = PAGE_COLOUR
    assert (page == PAGE_COLOUR).all()
    assert np.diff(sheet.left)[1] > np.diff(sheet.left)[0]


def test_groups_of_rows_stand_apart():
    gaps = np.diff(arrange(6, 1, 40, 40, rows_in_group=2).top)
    assert gaps[0] == gaps[2] == gaps[4] < gaps[1] == gaps[3]


@pytest.mark.parametrize("side", [8, 28, 140])
def test_labels_fit_above_the_cells(side):
    sheet = arrange(1, 2, side, side)
    page = np.asarray(sheet.page([[np.zeros((side, side, 3), np.uint8)] * 2], ["64", "9"]))
    header = page[: sheet.top[0]]
    assert (header == LABEL_COLOUR).all(2).any() or (header < 200).any()
    assert (header[0] == PAGE_COLOUR).all()


def test_grids_are_full_where_a_fitting_divisor_exists():
    assert [grid_columns(n) for n in (1, 2, 7, 10, 12, 64, 80, 100)] == [1, 2, 3, 5, 4, 8, 10, 10]
