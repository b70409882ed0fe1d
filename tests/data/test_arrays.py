"""Array files: every layout and type that is allowed, and every one that is not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from drawnet.data import Dataset, ImageOptions, load_dataset
from drawnet.data.dataset import SPLITS

RNG = np.random.default_rng(0)


def grey(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def load(path: Path, array: np.ndarray, **options: object) -> Dataset:
    np.save(path, array)
    return load_dataset(str(path), ImageOptions(**options))


def all_images(dataset: Dataset) -> torch.Tensor:
    return torch.cat([getattr(dataset, split).images for split in SPLITS])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own.npy"


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [
        ((10, 4, 6), (1, 4, 6)),
        ((10, 4, 6, 1), (1, 4, 6)),
        ((10, 4, 6, 3), (3, 4, 6)),
        ((10, 1, 4, 6), (1, 4, 6)),
        ((10, 3, 4, 6), (3, 4, 6)),
    ],
)
def test_layouts(path: Path, shape: tuple[int, ...], image_shape: tuple[int, int, int]) -> None:
    array = grey(*shape)
    dataset = load(path, array)
    assert dataset.image_shape == image_shape
    assert [len(getattr(dataset, split)) for split in SPLITS] == [8, 1, 1]
    channels_first = array.transpose(0, 3, 1, 2) if shape[-1] in (1, 3) else array
    assert {x.numpy().tobytes() for x in all_images(dataset)} == {x.tobytes() for x in channels_first}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats(path: Path, dtype: str) -> None:
    array = RNG.random((5, 4, 6)).astype(dtype)
    dataset = load(path, array)
    assert (dataset.train.max_value, dataset.train.images.dtype, dataset.binarization) == (1, torch.float32, None)
    expected = {x.tobytes() for x in array.astype(np.float32)}
    assert {x.numpy().tobytes() for x in all_images(dataset)} == expected


@pytest.mark.parametrize(("dtype", "one"), [("bool", True), ("float32", 1.0), ("uint8", 255)])
def test_bits(path: Path, dtype: str, one: float) -> None:
    array = (grey(5, 4, 6) % 2 * one).astype(dtype)
    dataset = load(path, array)
    assert (dataset.train.max_value, dataset.train.images.dtype, dataset.binarization) == (1, torch.uint8, "fixed")
    assert all_images(dataset).sum() == (array > 0).sum()
    with pytest.raises(ValueError, match=r"own\.npy: binarize is set"):
        load_dataset(str(path), ImageOptions(binarize=True))


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_binarize(path: Path, dtype: str) -> None:
    grey_levels = grey(40, 20, 20)
    dataset = load(path, grey_levels if dtype == "uint8" else grey_levels / 255, binarize=True)
    assert dataset.binarization == "sampled"
    assert (dataset.train.resample, dataset.test.resample) == (True, False)
    assert (dataset.validation.max_value, dataset.validation.images.dtype) == (1, torch.uint8)
    plain = load_dataset(str(path))
    for drawn, intensities in [(dataset.validation, plain.validation), (dataset.test, plain.test)]:
        p = intensities.batch(torch.arange(len(intensities))).double()
        z = (drawn.images.sum() - p.sum()) / (p * (1 - p)).sum().sqrt()
        assert abs(z) < 5
    again = load_dataset(str(path), ImageOptions(binarize=True))
    assert torch.equal(again.test.images, dataset.test.images)


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    train, validation, test, other = grey(10, 4, 6), grey(2, 4, 6), grey(3, 4, 6), np.arange(10)
    np.savez(path, train=train, val=validation, test=test, labels=other)
    dataset = load_dataset(str(path))
    for split, expected in [("train", train), ("validation", validation), ("test", test)]:
        assert np.array_equal(getattr(dataset, split).images[:, 0].numpy(), expected)
    np.savez(path, train=train, test=test)
    dataset = load_dataset(str(path))
    assert [len(getattr(dataset, split)) for split in SPLITS] == [9, 1, 3]
    for arrays in ({"anything": train}, {"images": train, "labels": other}, {"x": train, "y": other}):
        np.savez(path, **arrays)
        assert len(load_dataset(str(path)).train) == 8
    for arrays, message in [
        ({"images": train, "x": train}, "has arrays images, x"),
        ({"train": train, "validation": train}, "has arrays train, validation"),
        ({"a": train, "b": train}, "has arrays a, b"),
        ({"train": train, "test": test, "val": test, "valid": test}, "valid and val"),
        ({"train": train, "test": test / 255}, "array test has float64 .*array train has uint8"),
        ({"train": train, "test": grey(3, 4, 7)}, "array test has .* 4 x 7 .* they must be alike"),
        ({"train": train[:1], "test": test}, "1 training image"),
        ({"train": train, "test": test[:0]}, "array test has shape .*at least one image"),
        ({}, r"has arrays \(none\)"),
    ]:
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=rf"own\.npz.*{message}"):
            load_dataset(str(path))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (grey(5, 1, 4, 1), "both axis 1 and axis 3"),
        (grey(5, 4, 6, 2), r"shape \[5, 4, 6, 2\]: it must be"),
        (grey(5, 4), r"shape \[5, 4\]: it must be"),
        (grey(5, 0, 6), "at least one image"),
        (grey(0, 4, 6), "at least one image"),
        (grey(2, 4, 6), "has 2 images"),
        (grey(5, 4, 6).astype(np.int64), "type int64: it must be uint8"),
        (grey(5, 4, 6).astype(np.uint16), "type uint16"),
        (grey(5, 4, 6).astype(np.complex64), "type complex64"),
        (np.full((5, 4, 6), "a"), "type <U1"),
        (np.full((5, 4, 6), None), "no objects"),
        (np.full((5, 4, 6), np.nan), "NaN or infinite"),
        (np.full((5, 4, 6), np.inf, np.float16), "NaN or infinite"),
        (grey(5, 4, 6) * 1.0, r"values from .* to .*float64 must be in \[0, 1\]"),
        (np.full((5, 4, 6), -0.5), r"values from -0.5"),
        (grey(5, 4, 6) % 2, "save them as bool"),
    ],
)
def test_bad_arrays_are_named(path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=rf"own\.npy.*{message}"):
        load(path, array)


@pytest.mark.parametrize("name", ["own.npy", "own.npz"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        (np.save if name == "own.npy" else np.savez)(file, grey(50, 4, 6))
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:20], b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_dataset(str(path))
    if name == "own.npz":
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :])
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            load_dataset(str(path))
    other = path.with_suffix(".npz" if name == "own.npy" else ".npy")
    other.write_bytes(data)
    with pytest.raises(ValueError, match=f"{other.name} is a"):
        load_dataset(str(other))
    with pytest.raises(FileNotFoundError, match="none"):
        load_dataset(str(tmp_path / f"none{path.suffix}"))


def test_size_and_channels(path: Path) -> None:
    dataset = load(path, grey(5, 8, 12), image_size=(4, 4), channels=3)
    assert dataset.image_shape == (3, 4, 4)
    assert torch.equal(dataset.train.images[:, 0], dataset.train.images[:, 2])
    assert load(path, grey(5, 8, 12, 3), channels=1).image_shape == (1, 8, 12)
    assert load(path, RNG.random((5, 8, 12)), image_size=(8, 12)).image_shape == (1, 8, 12)
    for options in ({"image_size": (4, 4)}, {"channels": 3}):
        with pytest.raises(ValueError, match=r"own\.npy has float64 images of 8 x 12 .*only uint8"):
            load(path, RNG.random((5, 8, 12)), **options)
