"""Fashion-MNIST from small files in MNIST's format."""

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from drawnet.data import fashion_mnist, load_dataset
from drawnet.data.fashion_mnist import PUBLISHED, FashionFile, get_fashion_mnist, load_fashion_mnist
from drawnet.data.fetch import RemoteFile
from drawnet.data.idx import idx_header, read_idx

pytestmark = pytest.mark.usefixtures("data")

COUNTS = {"train": 12, "test": 3}
NAMES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}


def value(image: int, row: int, column: int) -> int:
    return 0 if row < 3 else 255 if row > 24 else (31 * image + 7 * row + column) % 256


def idx(first: int, count: int) -> bytes:
    """As the format's page describes it: magic number 2051, three sizes, rows from the top."""
    body = bytes(value(k, b, a) for k in range(first, first + count) for b in range(28) for a in range(28))
    return bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (count, 28, 28)) + body


UNPACKED = {"train": idx(0, 12), "test": idx(12, 3)}
BODIES = {which: gzip.compress(body) for which, body in UNPACKED.items()}


def published(bodies: dict[str, bytes] = BODIES, url: str = "http://127.0.0.1:1") -> dict[str, FashionFile]:
    return {
        which: FashionFile(
            RemoteFile(f"{url}/{NAMES[which]}", hashlib.sha256(body).hexdigest(), len(body)), COUNTS[which]
        )
        for which, body in bodies.items()
    }


def put(folder: Path, bodies: dict[str, bytes] = BODIES) -> Path:
    folder.mkdir(exist_ok=True)
    for which, body in bodies.items():
        (folder / NAMES[which]).write_bytes(body)
    return folder


def test_every_pixel_is_where_the_publisher_puts_it(data: Path) -> None:
    folder = put(data / "fashion-mnist")
    dataset = load_fashion_mnist(published())
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("fashion-mnist", "sampled", (1, 28, 28))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [10, 2, 3]
    grey = torch.tensor([[[value(k, b, a) for a in range(28)] for b in range(28)] for k in range(15)]).unsqueeze(1)
    assert torch.equal(dataset.train.images.long(), grey[:10])
    assert (dataset.train.max_value, dataset.train.resample) == (255, True)
    for bits, intensities in [(dataset.validation.images, grey[10:12]), (dataset.test.images, grey[12:])]:
        assert (bits[intensities == 0] == 0).all()
        assert (bits[intensities == 255] == 1).all()
        p = intensities.double() / 255
        z = (bits.double() - p).sum() / (p * (1 - p)).sum().sqrt()
        assert abs(z) < 5
    assert torch.equal(load_fashion_mnist(published()).test.images, dataset.test.images)
    assert fashion_mnist.fashion_mnist_status() == f"in {folder}"


def test_missing_and_other_files(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="drawnet data get fashion-mnist"):
        load_dataset("fashion-mnist")
    put(data / "fashion-mnist", BODIES | {"test": BODIES["test"][:-1] + b"!"})
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is not the published file.*get fashion-mnist"):
        load_fashion_mnist(published())


def test_get(server: tuple[str, Path, list[str]], data: Path) -> None:
    url, root, requests = server
    put(root)
    files, seen = published(url=url), []
    folder = get_fashion_mnist(lambda done, total: seen.append((done, total)), files)
    total = sum(map(len, BODIES.values()))
    assert (folder, seen[-1]) == (data / "fashion-mnist", (total, total))
    assert load_fashion_mnist(files).name == "fashion-mnist"
    get_fashion_mnist(None, files)
    assert len(requests) == 2
    (root / NAMES["test"]).write_bytes(b"something else")
    (folder / NAMES["test"]).unlink()
    with pytest.raises(ValueError, match="is not the published file"):
        get_fashion_mnist(None, files)
    assert [path.name for path in folder.iterdir()] == [NAMES["train"]]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (BODIES["test"][:-20], "is damaged"),
        (b"\x1f\x8b" + b"nothing compressed", "is damaged"),
        (UNPACKED["test"], "is damaged"),
        (gzip.compress(UNPACKED["test"][:-1]), "has 2367 bytes unpacked, expected 2368"),
        (gzip.compress(UNPACKED["test"] + b"!"), "has 2369 bytes unpacked, expected 2368"),
        (gzip.compress(UNPACKED["train"]), r"begins with 000008030000000c.*, expected 0000080300000003"),
        (gzip.compress(b"\0\0\x0d\x03" + UNPACKED["test"][4:]), "begins with 00000d03"),
        (gzip.compress(b""), "begins with , expected 00000803"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, body: bytes, message: str) -> None:
    path = tmp_path / "some.gz"
    path.write_bytes(body)
    with pytest.raises(ValueError, match=rf"some\.gz {message}"):
        read_idx(path, (3, 28, 28))


def test_the_published_files() -> None:
    assert [file.remote.name for file in PUBLISHED.values()] == list(NAMES.values())
    assert [file.num_images for file in PUBLISHED.values()] == [60_000, 10_000]
    assert idx_header((60_000, 28, 28)).hex() == "00000803" + "0000ea60" + "0000001c" * 2
