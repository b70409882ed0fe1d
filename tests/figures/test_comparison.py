from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from drawnet.figures.comparison import COLOURS, Entry, comparison_sheet

# Flat colours that nothing else in the picture has.
PAINTS = ((255, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (0, 0, 255))


def _entry(i: int, exact: bool = True, history: tuple = (), final: tuple = (2.0, 80.0)) -> Entry:
    samples = (torch.tensor(PAINTS[i]) / 255)[None, :, None, None].expand(16, 3, 8, 8)
    return Entry(f"model {i}", samples, exact, history, final)


def _pixels(page: np.ndarray, i: int) -> np.ndarray:
    """`[pixel, (row, column)]` of model i's colour."""
    return np.argwhere((page == [round(255 * value) for value in to_rgb(COLOURS[i])]).all(2))


def test_every_model_has_its_samples_in_order_and_the_picture_grows_with_them():
    page = np.asarray(comparison_sheet([_entry(i) for i in range(5)]))
    places = [np.argwhere((page == paint).all(2)) for paint in PAINTS]
    tops, lefts = zip(*(place.min(0) for place in places), strict=True)
    assert lefts[0] < lefts[1] < lefts[2] < lefts[3]  # a row of four, then the fifth below the first
    assert max(tops[:4]) < min(place.max(0)[0] for place in places[:4]) < tops[4]
    assert abs(lefts[4] - lefts[0]) < 5
    sizes = [len(place) for place in places]
    assert 10_000 < max(sizes) < 1.1 * min(sizes)
    alone = np.asarray(comparison_sheet([_entry(0, final=(0.0, 80.0))]))
    assert page.shape[0] > alone.shape[0]
    assert page.shape[1] > alone.shape[1]


def test_marks_are_filled_where_exact_and_lines_from_far_above_do_not_move_them():
    line = ((0.01, 10_000.0), (0.5, 95.0), (2.0, 90.0))
    plain = np.asarray(comparison_sheet([_entry(0), _entry(1, final=(2.0, 90.0))]))
    other = np.asarray(comparison_sheet([_entry(0, exact=False), _entry(1, history=line, final=(2.0, 90.0))]))
    assert len(_pixels(plain, 0)) > len(_pixels(other, 0)) + 100
    assert len(_pixels(other, 1)) > len(_pixels(plain, 1)) + 300
    gaps = []
    for page in (plain, other):
        right = page[page.shape[0] * 3 // 7 :, page.shape[1] * 93 // 100 :]  # marks and ends of lines only
        gaps.append(_pixels(right, 0)[:, 0].max() - _pixels(right, 1)[:, 0].max())
    assert gaps[0] > 100
    assert abs(gaps[1] - gaps[0]) <= 2


def test_no_entries_are_refused():
    with pytest.raises(ValueError, match="entries is empty"):
        comparison_sheet([])
