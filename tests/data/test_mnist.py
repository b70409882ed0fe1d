"""The bundled MNIST is the published one, and its splits are what they say."""

import hashlib
import math
from pathlib import Path

import pytest
import torch

from drawnet.data.dataset import Dataset, Split
from drawnet.data.mnist import IDX_FILES, NUM_TRAIN, PACKED_FILE, load_mnist, mnist_images_and_labels, read_packed


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_mnist()


def assert_drawn_from(bits: torch.Tensor, intensities: torch.Tensor) -> None:
    """The number of ones is within five standard deviations of its mean, and sure pixels are what they must be."""
    p = intensities.double() / 255
    z = (bits.sum(dtype=torch.float64) - p.sum()) / (p * (1 - p)).sum().sqrt()
    assert abs(z) < 5
    assert (bits[intensities == 0] == 0).all()
    assert (bits[intensities == 255] == 1).all()


def test_bundle_is_bit_exact_and_small() -> None:
    rebuilt = {}
    for which, prefix in [("train", "train"), ("test", "t10k")]:
        images, labels = mnist_images_and_labels(which)
        rebuilt[f"{prefix}-images-idx3-ubyte"] = images.squeeze(1)
        rebuilt[f"{prefix}-labels-idx1-ubyte"] = labels
    for file in IDX_FILES:
        data = file.header + rebuilt[file.name].numpy().tobytes()
        assert len(data) == file.num_bytes
        assert hashlib.sha256(data).hexdigest() == file.sha256
        assert (
            f"| {file.name} | {file.num_bytes:,} | {file.sha256} |" in (PACKED_FILE.parent / "LICENSE.md").read_text()
        )
    assert PACKED_FILE.stat().st_size < 10e6


def test_splits(dataset: Dataset) -> None:
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [50_000, 10_000, 10_000]
    assert dataset.image_shape == (1, 28, 28)
    assert (dataset.name, dataset.binarization) == ("mnist", "sampled")
    assert torch.equal(dataset.train.images, mnist_images_and_labels("train")[0][:NUM_TRAIN])
    assert (dataset.train.max_value, dataset.train.resample) == (255, True)
    for split in (dataset.validation, dataset.test):
        assert (split.max_value, split.resample, split.images.dtype) == (1, False, torch.uint8)


def test_validation_and_test_are_draws_from_the_intensities(dataset: Dataset) -> None:
    assert_drawn_from(dataset.validation.images, mnist_images_and_labels("train")[0][NUM_TRAIN:])
    assert_drawn_from(dataset.test.images, mnist_images_and_labels("test")[0])


def test_the_draw_never_changes(dataset: Dataset) -> None:
    # Golden values: this package's own draw when it was first made (torch 2.13, CPU). Bounds reported on `mnist` are
    # comparable only as long as they hold.
    assert dataset.validation.images.sum().item() == 1012848
    assert dataset.test.images.sum().item() == 1038784
    assert torch.equal(load_mnist().test.images, dataset.test.images)


def test_training_images_are_drawn_anew(dataset: Dataset) -> None:
    generator, indices = torch.Generator().manual_seed(0), torch.arange(0, 2000)
    first, second = (dataset.train.batch(indices, generator) for _ in range(2))
    assert not torch.equal(first, second)
    for x in (first, second):
        assert set(x.unique().tolist()) == {0.0, 1.0}
        assert_drawn_from(x, dataset.train.images[:2000])
    means = torch.stack([dataset.train.batch(torch.tensor([0]), generator) for _ in range(400)]).mean(0)
    p = dataset.train.images[:1].double() / 255
    assert ((means - p).abs() <= 5 * (p * (1 - p) / 400).sqrt()).all()


def test_a_batch_that_draws_needs_a_generator(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="generator"):
        dataset.train.batch(torch.tensor([0]))


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "other"])
def test_a_damaged_bundle_is_named(tmp_path: Path, damage: str) -> None:
    data = bytearray(PACKED_FILE.read_bytes())
    if damage == "changed":
        data[5000] ^= 1
    path = tmp_path / "mnist.xz"
    path.write_bytes({"truncated": data[:100_000], "changed": data, "empty": b"", "other": b"MNIST" * 100}[damage])
    with pytest.raises(ValueError, match=r"mnist\.xz is damaged"):
        read_packed(path)


def test_another_valid_archive_is_refused(tmp_path: Path) -> None:
    import lzma

    path = tmp_path / "mnist.xz"
    path.write_bytes(lzma.compress(bytes(1000)))
    with pytest.raises(ValueError, match="train-images"):
        read_packed(path)
    with pytest.raises(FileNotFoundError, match=r"none\.xz"):
        read_packed(tmp_path / "none.xz")


def test_which_is_checked(unchecked_shapes: None) -> None:
    with pytest.raises(ValueError, match="which is 'validation'"):
        mnist_images_and_labels("validation")


def test_header_is_idx() -> None:
    assert IDX_FILES[0].header.hex() == "00000803" + "0000ea60" + "0000001c" * 2
    assert sum(math.prod(file.shape) for file in IDX_FILES) == 70_000 * 785


def test_draw_once_keeps_bits() -> None:
    from drawnet.data.binarize import draw_once

    bits = torch.randint(0, 2, (2500, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    drawn = draw_once(Split(bits.float(), max_value=1), torch.Generator().manual_seed(0))
    assert torch.equal(drawn.images, bits.to(torch.uint8))
