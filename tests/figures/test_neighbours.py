"""Distances to the nearest training image, and whether they tell a model that has memorised from one that has not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.data.dataset import Dataset, Split
from drawnet.figures.neighbours import QUANTILES, distance_histogram, distance_summary, neighbour_distances


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey_dataset(num_images: int = 60) -> Dataset:
    """Grey levels to train on, drawn anew; bits to test on."""
    levels = torch.randint(0, 256, (num_images, 1, 9, 8), generator=seeded(), dtype=torch.uint8)
    bits = torch.randint(0, 2, (20, 1, 9, 8), generator=seeded(1), dtype=torch.uint8)
    return Dataset("grey", Split(levels, 255, resample=True), Split(bits, 1), Split(bits, 1), "sampled")


def brute_force(images: torch.Tensor, train: torch.Tensor) -> torch.Tensor:
    return torch.stack([(image - train).flatten(1).norm(dim=1).min() for image in images])


def test_distances_are_those_of_bits_to_intensities():
    dataset = grey_dataset()
    means = torch.rand(12, 1, 9, 8, generator=seeded(2))
    found = neighbour_distances(means, dataset, generator=seeded(3))
    generator = seeded(3)
    bits = torch.bernoulli(means, generator=generator)
    train = dataset.train.images.double() / 255
    assert list(found) == ["samples", "test images", "training images, drawn anew"]
    torch.testing.assert_close(found["samples"], brute_force(bits.double(), train))
    assert all(len(values) == 12 for values in found.values())
    # More samples than test images: all of these.
    assert len(neighbour_distances(means.repeat(3, 1, 1, 1), dataset, generator=seeded())["test images"]) == 20


def test_intensities_are_compared_as_they_are():
    images = torch.randint(0, 256, (30, 3, 5, 5), generator=seeded(), dtype=torch.uint8)
    dataset = Dataset("colour", Split(images[:20], 255), Split(images[20:25], 255), Split(images[25:], 255), None)
    means = images[:4].float() / 255
    found = neighbour_distances(means, dataset, generator=seeded())
    assert found["samples"].tolist() == [0, 0, 0, 0]
    assert (found["test images"] > 0.5).all()
    assert list(found) == ["samples", "test images"]


def test_memorising_shows():
    """Of a model whose means are training images, samples are as near as training images drawn anew."""
    dataset = grey_dataset(600)
    copies = dataset.train.intensities(torch.arange(300, 600))
    others = torch.randint(0, 256, (300, 1, 9, 8), generator=seeded(7)).float() / 255
    medians = {}
    for name, means in (("copies", copies), ("others", others)):
        summary = distance_summary(neighbour_distances(means, dataset, generator=seeded(5)))
        medians[name] = summary["samples"]["0.5"] / summary["training images, drawn anew"]["0.5"]
    assert medians["copies"] == pytest.approx(1, abs=0.02)
    assert medians["others"] > 1.1


def test_the_summary_has_quantiles():
    values = torch.arange(101, dtype=torch.float64).flip(0)
    row = distance_summary({"samples": values})["samples"]
    assert row == {"num_images": 101, "least": 0, **{f"{q:g}": pytest.approx(100 * q) for q in QUANTILES}}


def test_the_histogram_is_drawn_and_drawn_again(tmp_path):
    generator = np.random.default_rng(0)
    distances = {name: torch.from_numpy(generator.normal(5, 1, 50).clip(0)) for name in ("samples", "test images")}
    for name in ("a", "b"):
        distance_histogram(distances, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).std() > 10
    distance_histogram({"samples": torch.zeros(3, dtype=torch.float64)}, tmp_path / "copies.png")
    with pytest.raises(ValueError, match="distances is empty"):
        distance_histogram({}, tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()
