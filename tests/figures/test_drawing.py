from __future__ import annotations

import numpy as np
import pytest
import torch

from drawnet.figures.drawing import THICKEST_LINE, THINNEST_LINE, draw_window, line_width, scale_for, to_pictures

RED = (255, 0, 0)


def test_pictures_hold_the_true_values_in_squares(grey, colour):
    picture = to_pictures(grey, 3)
    assert picture.shape == (4, 36, 27, 3)
    assert picture.dtype == np.uint8
    expected = np.rint(255 * grey[:, 0].double().numpy())
    for offset in range(3):
        for channel in range(3):
            np.testing.assert_array_equal(picture[:, offset::3, offset::3, channel], expected)
    np.testing.assert_array_equal(to_pictures(colour, 1), np.rint(255 * colour.permute(0, 2, 3, 1).double().numpy()))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 1, 2, 2), 1.5), "outside"),
        (torch.full((1, 1, 2, 2), torch.nan), "not a number"),
        (torch.zeros(1, 2, 2, 2), "1 or 3"),
        (torch.zeros(2, 2), "1 or 3"),
    ],
)
def test_what_is_no_image_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        to_pictures(images, 1)


def test_the_scale_is_whole_and_at_least_one():
    assert [scale_for(28, 28, 112), scale_for(100, 75, 112), scale_for(300, 20, 112)] == [4, 1, 1]


def test_a_window_over_all_28_pixels_runs_through_the_centres_of_the_outer_ones(make_window):
    scale = 20
    sigma = 1.0
    black = np.zeros((28 * scale, 28 * scale, 3), np.uint8)
    drawn = draw_window(black, make_window(14.5, 14.5, 13.5, sigma), 0, RED, scale)
    half_line = line_width(sigma, 28) / 2 * scale
    assert half_line == pytest.approx(10)  # one image pixel wide: exactly the outermost ring of pixels
    ring = np.ones((28 * scale, 28 * scale), bool)
    ring[scale:-scale, scale:-scale] = False
    np.testing.assert_array_equal(drawn[:, :, 0], np.where(ring, 255, 0))
    assert not drawn[:, :, 1:].any()
    assert not black.any()  # a copy was drawn on


def test_columns_are_x_and_rows_are_y_counted_from_one(make_window):
    # Centre on column 9, row 5 of an image 10 high and 20 wide; the border of sigma = 1 * 20 / 28 is one 28th wide.
    scale = 28
    black = np.zeros((10 * scale, 20 * scale, 3), np.uint8)
    drawn = draw_window(black, make_window(9.0, 5.0, 2.0, 20 / 28), 0, RED, scale)
    rows, columns = np.nonzero(drawn[:, :, 0])
    half_line = 0.5 * 20 / 28 * scale
    assert (columns.min(), columns.max() + 1) == ((9 - 2 - 0.5) * scale - half_line, (9 + 2 - 0.5) * scale + half_line)
    assert (rows.min(), rows.max() + 1) == ((5 - 2 - 0.5) * scale - half_line, (5 + 2 - 0.5) * scale + half_line)


def test_the_border_keeps_its_area_between_pixels(make_window):
    scale = 4
    black = np.zeros((28 * scale, 28 * scale, 3), np.uint8)
    for shift in (0.0, 0.13, 0.5):
        drawn = draw_window(black, make_window(14 + shift, 14 + shift, 5.0, 0.7), 0, RED, scale)
        area = 8 * 5.0 * line_width(0.7, 28) * scale**2
        assert drawn[:, :, 0].sum() / 255 == pytest.approx(area, rel=2e-3)


def test_the_index_chooses_the_image(make_window):
    window = make_window(5.0, 5.0, 2.0, num_images=2)
    window.center_x[1] = 20.0
    black = np.zeros((28, 28, 3), np.uint8)
    first, second = (draw_window(black, window, i, RED, 1)[:, :, 0] for i in range(2))
    np.testing.assert_array_equal(first[:, :13], second[:, 15:])
    assert not first[:, 13:].any()


def test_a_line_is_thicker_the_more_precise_the_filter_and_bounded():
    widths = [line_width(sigma, 28) for sigma in (0.0, 0.05, 0.3, 1.0, 2.0, 5.0, 50.0)]
    assert widths == sorted(set(widths), reverse=True)
    assert widths[0] == pytest.approx(28 * THICKEST_LINE)
    assert line_width(1e9, 28) == pytest.approx(28 * THINNEST_LINE)
    assert line_width(2.0, 56) == pytest.approx(2 * line_width(1.0, 28))  # twice the resolution, the same picture


@pytest.mark.parametrize(
    ("x", "y", "half"),
    [(-500, 3, 4), (3, 900, 4), (1e30, -1e30, 1e20), (5, 5, 1e30), (float("nan"), 5, 4), (5, 5, float("inf"))],
)
def test_windows_that_leave_the_image_change_nothing(x, y, half, make_window):
    picture = np.full((40, 30, 3), 77, np.uint8)
    np.testing.assert_array_equal(draw_window(picture, make_window(x, y, half), 0, RED, 3), picture)


def test_a_window_half_outside_is_cut_off_and_a_tiny_one_is_a_dot(make_window):
    black = np.zeros((56, 56, 3), np.uint8)
    cut = draw_window(black, make_window(0.0, 14.0, 5.0), 0, RED, 2)
    assert cut[:, :14].any()
    assert not cut[:, 14:].any()
    dot = draw_window(black, make_window(14.0, 14.0, 1e-6, 1e-9), 0, RED, 2)
    assert tuple(dot[27, 27]) == RED
    np.testing.assert_array_equal(draw_window(black, None, 0, RED, 2), black)
