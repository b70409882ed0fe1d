"""What the attention makes of an image, against loops over filters and pixels; where it lies on the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from drawnet.figures.drawing import READ_COLOUR, draw_centers, draw_window, to_pictures
from drawnet.figures.scene import house_by_the_hills
from drawnet.figures.sheet import arrange
from drawnet.figures.zoom import DIM, patches_sheet, zoom, zoom_sheet
from drawnet.nn.attention import Window


def windows(*rows: tuple[float, float, float, float, float], grid_size: int = 3) -> Window:
    """Of (gX, gY, delta, sigma, gamma)."""
    return Window(*torch.tensor(rows, dtype=torch.float64).T, grid_size=grid_size)


def random_image(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def slow_filter(g: float, delta: float, sigma: float, i: int, n: int, num_pixels: int) -> list[float]:
    mu = g + (i - n / 2 - 0.5) * delta
    weights = [math.exp(-((a - mu) ** 2) / (2 * sigma**2)) for a in range(1, num_pixels + 1)]
    return [w / sum(weights) for w in weights]


def slow_read_and_write(image: np.ndarray, place: tuple[float, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    """The patch, and what writing it with the same window leaves: eqs. (25-27, 29), value by value."""
    g_x, g_y, delta, sigma, gamma = place
    channels, height, width = image.shape
    patch, written = np.zeros((channels, n, n)), np.zeros(image.shape)
    for j in range(n):
        f_y = slow_filter(g_y, delta, sigma, j + 1, n, height)
        for i in range(n):
            f_x = slow_filter(g_x, delta, sigma, i + 1, n, width)
            for c in range(channels):
                for b in range(height):
                    for a in range(width):
                        patch[c, j, i] += gamma * f_y[b] * image[c, b, a] * f_x[a]
                for b in range(height):
                    for a in range(width):
                        written[c, b, a] += f_y[b] * patch[c, j, i] * f_x[a] / gamma
    return patch, written


@pytest.mark.parametrize("num_channels", [1, 3])
def test_patch_and_what_is_written_back_are_those_of_loops(num_channels):
    image = random_image(num_channels, 9, 12)
    places = ((6.2, 4.7, 1.5, 0.8, 1.7), (7.0, 5.0, 2.0, 0.4, 0.5))
    seen = zoom(image, windows(*places))
    # White on a larger image, at the same distance from the nearest pixel: no filter meets an edge.
    for k, place in enumerate(places):
        patch, written = slow_read_and_write(image.numpy(), place, 3)
        far = (place[0] + 10, place[1] + 10, *place[2:])
        _, white = slow_read_and_write(np.ones((1, 30, 30)), far, 3)
        np.testing.assert_allclose(seen.patches[k].numpy(), patch, atol=1e-12)
        np.testing.assert_allclose(seen.rebuilt[k].numpy(), np.minimum(written / white.max(), 1), atol=1e-9)


def test_single_filters_are_the_two_corners_of_the_patch():
    image = random_image(1, 9, 12)
    place = (6.2, 4.7, 1.5, 0.8, 1.7)
    seen = zoom(image, windows(place))
    for single, corner in ((seen.first[0], 0), (seen.last[0], -1)):
        assert single.max() == 1
        read = (single / single.sum() * image[0]).sum() * place[4]
        assert read.item() == pytest.approx(seen.patches[0, 0, corner, corner].item())


def test_white_comes_back_white_inside_a_window_of_overlapping_filters():
    seen = zoom(torch.ones(1, 40, 40, dtype=torch.float64), windows((20.5, 20.5, 2.0, 2.0, 3.0), grid_size=12))
    assert torch.allclose(seen.rebuilt[0, 0, 14:26, 14:26], torch.ones((), dtype=torch.float64), atol=1e-3)
    assert seen.rebuilt[0, 0, 0, 0] < 1e-2
    assert seen.patches == pytest.approx(3.0)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_the_page_has_a_row_a_window(num_channels):
    image = random_image(num_channels, 14, 28)
    two = windows((10, 6, 1.0, 0.7, 1.0), (14.5, 7.5, 2.0, 1.0, 3.0), grid_size=5)
    seen = zoom(image, two)
    page = np.asarray(zoom_sheet(image, two))
    height, width, scale = 140, 280, 10
    sheet = arrange(2, 5, height, width)
    assert page.shape[:2] == sheet.size[::-1]
    picture = to_pictures(image[None], scale)[0]
    for row in range(2):
        cells = [page[sheet.top[row] :, left:][:height, :width] for left in sheet.left]
        np.testing.assert_array_equal(cells[0], draw_window(picture, two, row, READ_COLOUR, scale))
        patch = to_pictures(seen.patches[row : row + 1].clamp(0, 1), 28)[0]  # 140 // 5 a value
        np.testing.assert_array_equal(cells[1][:, 70:210], patch)
        assert (cells[1][:, :70] == 255).all()
        np.testing.assert_array_equal(cells[2], to_pictures(seen.rebuilt[row : row + 1], scale)[0])
        for cell, single in zip(cells[3:], (seen.first[row], seen.last[row]), strict=True):
            brightest = divmod(single.argmax().item(), 28)
            assert (cell[brightest[0] * scale, brightest[1] * scale] == 255).all()
            far = (single == single.min()).nonzero()[0].tolist()
            expected = DIM * picture[far[0] * scale, far[1] * scale].astype(float)
            assert abs(cell[far[0] * scale, far[1] * scale] - expected).max() <= 1


def test_the_other_page_shows_the_filters_centres():
    image = torch.zeros(1, 28, 28, dtype=torch.float64)
    page = np.asarray(patches_sheet(image, windows((14.5, 14.5, 4.0, 1.0, 1.0), grid_size=5)))
    sheet = arrange(1, 2, 280, 280)
    cell = page[sheet.top[0] :, sheet.left[0] :][:280, :280]
    for column in (6.5, 10.5, 14.5, 18.5, 22.5):  # in picture pixels (column - 0.5) * 10
        assert tuple(cell[140, round((column - 0.5) * 10)]) == READ_COLOUR
    assert tuple(cell[140, 160]) == (0, 0, 0)


def test_a_centre_is_a_fifth_of_a_stride_wide():
    marked = draw_centers(np.zeros((60, 60, 3), np.uint8), windows((6.5, 6.5, 4.0, 1.0, 1.0)), 0, (255, 255, 255), 5)
    assert (marked / 255).sum((0, 1)) == pytest.approx([9 * 4.0**2] * 3)  # nine of 0.8 pixels, 4 in the picture
    # Filters closer than picture pixels cover them once.
    close = draw_centers(np.zeros((60, 60, 3), np.uint8), windows((6.5, 6.5, 0.01, 1.0, 1.0)), 0, (255, 255, 255), 5)
    assert close.max() == 255
    assert 0 < (close > 0).sum() <= 3 * 16


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("grid_size", "message"), [(1, "grid_size is 1"), (10, "grid_size is 10: the image is 9 x 12")]
)
def test_grids_that_do_not_fit_are_refused(grid_size, message):
    with pytest.raises(ValueError, match=message):
        zoom(torch.zeros(1, 9, 12, dtype=torch.float64), windows((5, 5, 1, 1, 1), grid_size=grid_size))


def test_the_scene_is_a_picture_of_that_size():
    scene = house_by_the_hills()
    assert scene.shape == (3, 75, 100)
    assert scene.min() >= 0
    assert scene.max() <= 1
    assert (scene.flatten(1).std(1) > 0.1).all()
    assert house_by_the_hills(30, 40).shape == (3, 30, 40)
