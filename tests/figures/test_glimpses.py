from __future__ import annotations

import numpy as np
import pytest
import torch

from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, draw_window, to_pictures
from drawnet.figures.glimpses import glimpse_sheet, shown_windows
from drawnet.figures.sheet import arrange
from drawnet.models.classification import Look
from drawnet.models.ram import RAM, RAMConfig

SCALE, TEXT_HEIGHT = 7, 24  # of 28 x 28 images


def look_at(make_window, places, predicted, num_scales=1):
    """One glimpse a place, of every image alike; image n is taken for `predicted[n]`."""
    log_probs = torch.full((len(predicted), 10), -5.0)
    log_probs[torch.arange(len(predicted)), torch.tensor(predicted)] = -0.1
    glimpses = tuple(
        tuple(make_window(x, y, half * 2**s, num_images=len(predicted)) for s in range(num_scales))
        for x, y, half in places
    )
    return Look(log_probs, glimpses)


def cells(page, num_rows, num_columns, height, width, text_height):
    sheet = arrange(num_rows, num_columns, height + text_height, width, last_column_apart=True)
    page = np.asarray(page)
    assert page.shape[:2] == sheet.size[::-1]
    return [[page[top : top + height + text_height, left : left + width] for left in sheet.left] for top in sheet.top]


@pytest.mark.parametrize("num_scales", [1, 3])
def test_every_cell_is_the_image_with_the_windows_of_its_glimpse(make_window, num_scales):
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    places = [(14.5, 14.5, 13.5), (10.0, 20.0, 4.0), (26.0, 3.0, 2.0)]
    look = look_at(make_window, places, [3, 5], num_scales)
    page = glimpse_sheet(x, look, torch.tensor([3, 4]))
    pictures, height = to_pictures(x, SCALE), 28 * SCALE
    rows = cells(page, 2, 4, height, height, TEXT_HEIGHT)
    for i, row in enumerate(rows):
        for cell, windows in zip(row, look.glimpses, strict=False):
            expected = pictures[i]
            for window in shown_windows(windows):
                expected = draw_window(expected, window, i, READ_COLOUR, SCALE)
            np.testing.assert_array_equal(cell[:height], expected)
        np.testing.assert_array_equal(row[-1][:height], pictures[i])


def test_several_windows_have_thin_lines_and_stay_where_they_are(make_window):
    one, *more = (make_window(10.0, 12.0, half, 0.5) for half in (2, 4, 8))
    assert shown_windows((one,)) == (one,)
    x = torch.zeros(1, 1, 28, 28)
    covered = [
        (draw_window(to_pictures(x, SCALE)[0], window, 0, READ_COLOUR, SCALE) > 0).any(2)
        for window in (more[0], shown_windows((one, *more))[1])
    ]
    assert covered[1].sum() < covered[0].sum() / 2
    assert (covered[0] | ~covered[1]).all()


def test_the_line_below_is_green_where_right_and_red_where_wrong(make_window):
    x = torch.zeros(2, 1, 28, 28)
    page = glimpse_sheet(x, look_at(make_window, [(14, 14, 1)], [3, 5]), torch.tensor([3, 4]))
    rows = cells(page, 2, 2, 28 * SCALE, 28 * SCALE, TEXT_HEIGHT)
    for row, colour, other in zip(rows, (READ_COLOUR, WRITE_COLOUR), (WRITE_COLOUR, READ_COLOUR), strict=True):
        line = row[0][28 * SCALE :]
        assert (line == colour).all(2).any()
        assert not (line == other).all(2).any()


def test_a_model_looks_at_a_colour_image():
    torch.manual_seed(0)
    model = RAM(RAMConfig(16, 12, 3, num_glimpses=2, hidden_size=4, patch_size=3, num_scales=2))
    x = torch.rand(1, 3, 16, 12, generator=torch.Generator().manual_seed(0))
    assert np.asarray(glimpse_sheet(x, model.look(x), torch.tensor([1]))).std() > 10


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_cannot_be_shown_is_refused(make_window):
    look = look_at(make_window, [(14, 14, 1)], [3])
    with pytest.raises(ValueError, match="x has 2 images, labels 1"):
        glimpse_sheet(torch.zeros(2, 1, 28, 28), look, torch.tensor([1]))
    with pytest.raises(ValueError, match="no glimpses"):
        glimpse_sheet(torch.zeros(1, 1, 28, 28), Look(look.log_probs, ()), torch.tensor([1]))
    with pytest.raises(ValueError, match="x is empty"):
        glimpse_sheet(torch.zeros(0, 1, 28, 28), Look(look.log_probs[:0], ()), torch.tensor([], dtype=torch.long))
