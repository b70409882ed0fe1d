"""SVHN's cropped digits from small MATLAB 5 files."""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from drawnet.data import load_dataset, registry, svhn_digits
from drawnet.data.fetch import RemoteFile
from drawnet.data.svhn_digits import DERIVED_FILE, PUBLISHED, get_svhn_digits, load_svhn_digits

pytestmark = pytest.mark.usefixtures("data")

COUNTS = {"train": 12, "test": 3, "extra": 8}


def value(image: int, channel: int, row: int, column: int) -> int:
    """A pixel of image number `image`, counted through train, test and extra."""
    return (31 * image + 101 * channel + 7 * row + column) % 256


def pixels(first: int, count: int) -> np.ndarray:
    """`[height, width, channel, image]`, as published."""
    row, column, channel, image = np.ix_(range(32), range(32), range(3), range(first, first + count))
    return value(image, channel, row, column).astype(np.uint8)


def mat(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, arrays, do_compression=True)
    return buffer.getvalue()


FIRST = {"train": 0, "test": 12, "extra": 15}
BODIES = {
    part: mat(X=pixels(FIRST[part], count), y=np.full((count, 1), 10, np.uint8)) for part, count in COUNTS.items()
}


def published(bodies: dict[str, bytes] = BODIES, url: str = "http://127.0.0.1:1") -> dict[str, RemoteFile]:
    return {
        part: RemoteFile(f"{url}/{part}_32x32.mat", hashlib.sha256(body).hexdigest(), len(body))
        for part, body in bodies.items()
    }


def put(folder: Path, bodies: dict[str, bytes] = BODIES) -> Path:
    folder.mkdir(exist_ok=True)
    for part, body in bodies.items():
        (folder / f"{part}_32x32.mat").write_bytes(body)
    return folder


def numbers(images: torch.Tensor) -> set[int]:
    """Which images these are; every pixel of each is looked at."""
    found = set()
    for image in images.numpy():
        [number] = [n for n in range(23) if image[0, 0, 0] == value(n, 0, 0, 0)]
        assert np.array_equal(image, pixels(number, 1)[..., 0].transpose(2, 0, 1))
        found.add(number)
    return found


def test_every_pixel_is_where_the_publisher_puts_it(data: Path) -> None:
    put(data / "svhn")
    dataset = load_svhn_digits(published())
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("svhn-digits", None, (3, 32, 32))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [19, 1, 3]
    assert numbers(dataset.train.images) == {*range(11), *range(15, 23)}
    assert numbers(dataset.validation.images) == {11}  # the end of train: neighbours may overlap
    assert numbers(dataset.test.images) == {12, 13, 14}
    assert dataset.train.images.is_contiguous()


def test_what_is_missing_is_said(data: Path) -> None:
    folder = put(data / "svhn")
    (folder / "extra_32x32.mat").unlink()
    dataset = load_svhn_digits(published())
    assert dataset.name == "svhn-digits (without extra)"
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [11, 1, 3]
    assert svhn_digits.svhn_digits_status() == f"in {folder} (without extra)"
    (folder / "test_32x32.mat").unlink()
    assert svhn_digits.svhn_digits_status() == "not fetched"
    with pytest.raises(FileNotFoundError, match="drawnet data get svhn-digits"):
        load_dataset("svhn-digits")


def test_the_derived_subset_says_so_and_comes_last(data: Path) -> None:
    folder = data / "svhn"
    folder.mkdir()
    arrays = {f"{part}_images": pixels(FIRST[part], COUNTS[part]).transpose(3, 0, 1, 2) for part in ("train", "test")}
    np.savez(folder / DERIVED_FILE, **arrays)
    dataset = load_svhn_digits(published())
    assert dataset.name == "svhn-digits (derived subset, not comparable)"
    assert numbers(dataset.train.images) | numbers(dataset.validation.images) == set(range(12))
    assert numbers(dataset.test.images) == {12, 13, 14}
    assert svhn_digits.svhn_digits_status() == f"in {folder} (derived subset, not comparable)"
    put(folder)
    assert load_svhn_digits(published()).name == "svhn-digits"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (mat(Y=pixels(0, 2)), r"train_32x32\.mat cannot be read: KeyError\('X'\); it must be a MATLAB 5 file with X"),
        (b"MATLAB 5.0 MAT-file", r"train_32x32\.mat cannot be read"),
        (BODIES["train"][: len(BODIES["train"]) // 2], r"train_32x32\.mat cannot be read"),
        (b"", r"train_32x32\.mat cannot be read"),
        (
            mat(X=pixels(0, 2)[:, :, :1]),
            r"train_32x32\.mat has uint8 of shape \[32, 32, 1, 2\] as X: it must be uint8",
        ),
        (mat(X=pixels(0, 2)[..., 0]), r"train_32x32\.mat has uint8 of shape \[32, 32, 3\] as X"),
        (mat(X=pixels(0, 2) / 255), r"train_32x32\.mat has float64 of shape"),
    ],
)
def test_files_of_another_form_are_named(data: Path, body: bytes, message: str) -> None:
    bodies = BODIES | {"train": body}
    put(data / "svhn", bodies)
    with pytest.raises(ValueError, match=message):
        load_svhn_digits(published(bodies))


def test_other_files_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(data / "svhn", {"test": BODIES["test"][:-1] + b"!"} | {"train": BODIES["train"]})
    with pytest.raises(ValueError, match=r"test_32x32\.mat is not the published file.*data get svhn-digits"):
        load_svhn_digits(published())
    put(data / "svhn", {"train": BODIES["train"][:-1]})
    with pytest.raises(ValueError, match=r"train_32x32\.mat has \d+ bytes, expected \d+: .*data get svhn-digits"):
        load_svhn_digits(published())
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ValueError, match=r"pip install 'drawnet\[svhn\]'"):
        load_svhn_digits(published())


def test_get(server: tuple[str, Path, list[str]], data: Path) -> None:
    url, root, requests = server
    put(root)
    files, seen = published(url=url), []
    folder = get_svhn_digits(lambda done, total: seen.append((done, total)), files)
    total = sum(map(len, BODIES.values()))
    assert (folder, seen[-1]) == (data / "svhn", (total, total))
    assert load_svhn_digits(files).name == "svhn-digits"
    get_svhn_digits(None, files)
    assert len(requests) == 3
    (root / "test_32x32.mat").write_bytes(b"something else")
    (folder / "test_32x32.mat").unlink()
    with pytest.raises(ValueError, match="is not the published file"):
        get_svhn_digits(None, files)
    assert sorted(path.name for path in folder.iterdir()) == ["extra_32x32.mat", "train_32x32.mat"]


def test_the_published_files() -> None:
    assert [file.name for file in PUBLISHED.values()] == ["train_32x32.mat", "test_32x32.mat", "extra_32x32.mat"]
    assert all(file.sha256 and len(file.sha256) == 64 for file in PUBLISHED.values())
    [info] = [info for info in registry.available() if info.name == "svhn-digits"]
    assert sum(info.num_images[:2]) == 73_257 + 531_131  # digits in train and extra
