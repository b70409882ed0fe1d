from __future__ import annotations

import numpy as np
import pytest
import torch

from drawnet.data.dataset import Split
from drawnet.figures import samples
from drawnet.figures.drawing import to_pictures
from drawnet.figures.samples import NEIGHBOUR_COLOUR, nearest_images, sample_grid
from drawnet.figures.sheet import arrange


def _brute_force(queries, images):
    distances = (queries.double().flatten(1)[:, None] - images.double().flatten(1)[None]).square().sum(2)
    return distances.min(1)


@pytest.mark.parametrize("chunk_values", [1, 12 * 9 * 7, 10**6])
@pytest.mark.parametrize("shape", [(1, 12, 9), (3, 5, 4)])
def test_nearest_is_what_brute_force_finds(shape, chunk_values, monkeypatch):
    monkeypatch.setattr(samples, "CHUNK_VALUES", chunk_values)
    generator = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (60, *shape), generator=generator, dtype=torch.uint8)
    queries = torch.rand(10, *shape, generator=generator)
    queries[0] = stored[41] / 255
    split = Split(stored, 255, resample=True)  # intensities, no generator
    indices, distances = nearest_images(queries, split)
    expected = _brute_force(queries, stored.float() / 255)
    torch.testing.assert_close(indices, expected.indices)
    torch.testing.assert_close(distances, expected.values)
    assert (indices[0], distances[0]) == (41, 0)


def test_differences_below_the_rounding_of_the_products_count():
    # |q - x|^2 is 1e-8 or 4e-8 beside norms of 10,000.
    images = torch.ones(300, 1, 100, 100)
    images[:, 0, 0, 0] -= 2e-4
    images[217, 0, 0, 0] += 1e-4
    indices, _ = nearest_images(torch.ones(2, 1, 100, 100), Split(images, 1))
    assert indices.tolist() == [217, 217]


def test_of_equal_images_the_first_is_found(monkeypatch):
    monkeypatch.setattr(samples, "CHUNK_VALUES", 3 * 16)
    images = torch.ones(20, 1, 4, 4, dtype=torch.uint8)
    images[5] = images[6] = images[7] = images[13] = 0
    indices, distances = nearest_images(torch.full((1, 1, 4, 4), 0.25), Split(images, 1))
    assert (indices.item(), distances.item()) == (5, 1.0)


@pytest.mark.usefixtures("unchecked_shapes")
def test_queries_and_splits_that_do_not_fit_are_refused(grey):
    with pytest.raises(ValueError, match="queries has shape"):
        nearest_images(grey, Split(torch.zeros(3, 1, 9, 12), 1))
    with pytest.raises(ValueError, match="empty"):
        nearest_images(grey, Split(grey[:0], 1))


@pytest.mark.parametrize(("num_images", "num_columns"), [(6, 3), (7, 3), (1, 1)])
def test_the_last_column_holds_the_neighbours_of_the_one_before(num_images, num_columns):
    images = torch.rand(num_images, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    neighbours = 1 - images
    page = np.asarray(sample_grid(images, neighbours))
    num_rows = -(-num_images // num_columns)
    sheet = arrange(num_rows, num_columns + 1, 112, 112, last_column_apart=True)
    assert page.shape[:2] == sheet.size[::-1]

    def cell(row, column):
        return page[sheet.top[row] :, sheet.left[column] :][:112, :112]

    samples_drawn, neighbours_drawn = to_pictures(images, 4), to_pictures(neighbours, 4)
    for i in range(num_images):
        np.testing.assert_array_equal(cell(i // num_columns, i % num_columns), samples_drawn[i])
    for row in range(num_images // num_columns):
        np.testing.assert_array_equal(cell(row, num_columns), neighbours_drawn[(row + 1) * num_columns - 1])
    assert (page == NEIGHBOUR_COLOUR).all(2).any()


@pytest.mark.usefixtures("unchecked_shapes")
def test_grids_without_neighbours_in_colour_and_not_square(colour):
    page = np.asarray(sample_grid(colour))
    assert (page[:, :, 0] != page[:, :, 1]).any()
    with pytest.raises(ValueError, match="neighbours has shape"):
        sample_grid(colour, colour[:2])
    with pytest.raises(ValueError, match="empty"):
        sample_grid(colour[:0])
