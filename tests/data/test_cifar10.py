"""CIFAR-10 from small archives on a server of this machine: the right pixels, or an error that says what to do."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from drawnet.data import cifar10, load_dataset, registry
from drawnet.data.cifar10 import FOLDER, PUBLISHED, Cifar10Files, find_cifar10, get_cifar10, load_cifar10
from drawnet.data.fetch import RemoteFile, fetch

NUM_IMAGES = 4  # in a file


def value(image: int, channel: int, row: int, column: int) -> int:
    """A pixel of image number `image`, counted through all six files."""
    return (31 * image + 101 * channel + 7 * row + column) % 256


def batch_file(index: int) -> bytes:
    """File number `index` as the publisher describes it: label, then red, green, blue, rows from the top."""
    data = bytearray()
    for image in range(NUM_IMAGES * index, NUM_IMAGES * (index + 1)):
        data.append(image % 10)
        data.extend(value(image, c, b, a) for c in range(3) for b in range(32) for a in range(32))
    return bytes(data)


BODIES = {name: batch_file(index) for index, name in enumerate(PUBLISHED.md5)}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def packed(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


pytestmark = pytest.mark.usefixtures("data")


def published(archive: bytes = b"", url: str = "http://127.0.0.1:1/cifar.tar.gz") -> Cifar10Files:
    return Cifar10Files(
        RemoteFile(url, None, len(archive), md5(archive)),
        {name: md5(body) for name, body in BODIES.items()},
        num_images=NUM_IMAGES,
        num_validation=5,
    )


def put(folder: Path, **changed: bytes) -> Path:
    folder.mkdir()
    for name, body in BODIES.items():
        (folder / name).write_bytes(changed.get(name.removesuffix(".bin"), body))
    return folder


def test_every_pixel_is_where_the_publisher_puts_it(data: Path) -> None:
    put(data / FOLDER)
    dataset = load_cifar10(published())
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("cifar10", None, (3, 32, 32))
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [15, 5, 4]
    images = torch.cat([dataset.train.images, dataset.validation.images, dataset.test.images])
    assert images.dtype == torch.uint8
    assert {s.max_value for s in (dataset.train, dataset.validation, dataset.test)} == {255}
    for k, c, b, a in [(0, 0, 0, 0), (0, 1, 2, 3), (7, 2, 31, 30), (14, 0, 5, 0), (15, 1, 0, 9), (23, 2, 31, 31)]:
        assert images[k, c, b, a] == value(k, c, b, a)
    grid = [[[[value(k, c, b, a) for a in range(32)] for b in range(32)] for c in range(3)] for k in range(24)]
    assert torch.equal(images, torch.tensor(grid, dtype=torch.uint8))


def test_fewer_test_images_are_said_so(data: Path) -> None:
    folder = put(data / FOLDER, test_batch=BODIES["test_batch.bin"][: 3 * 3073])
    dataset = load_cifar10(published())
    assert dataset.name == "cifar10 (first 3 test images)"
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (15, 5, 3)
    assert cifar10.cifar10_status(published()) == f"in {folder} (first 3 test images)"
    (folder / "test_batch.bin").write_bytes(bytes(1000 * 3073))
    [info] = [info for info in registry.available() if info.name == "cifar10"]
    assert info.status == f"in {folder} (first 1,000 test images)"
    assert info.num_images == (45_000, 5_000, 10_000)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data_batch_2", lambda d: d[:-3073], "has 9219 bytes, expected 12292"),
        ("data_batch_5", lambda d: d[:-1] + b"!", "has md5 .*, expected "),
        ("test_batch", lambda d: d[:-1] + b"!", "has md5 .*, expected "),
        ("test_batch", lambda d: d[:-1], "has 12291 bytes"),
        ("test_batch", lambda d: d + d, "has 24584 bytes"),
        ("test_batch", lambda d: b"", "has 0 bytes"),
        ("test_batch", lambda d: d[:3073] + d[1:3074], "has a label 108"),
    ],
)
def test_other_files_are_refused(data: Path, name: str, change, message: str) -> None:
    put(data / FOLDER, **{name: change(BODIES[f"{name}.bin"])})
    with pytest.raises(ValueError, match=rf"{name}\.bin {message}.*`drawnet data get cifar10` fetches it again"):
        load_cifar10(published())


def test_missing(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="drawnet data get cifar10") as raised:
        load_dataset("cifar10")
    assert str(data / FOLDER) in str(raised.value)
    (put(data / FOLDER) / "data_batch_3.bin").unlink()
    assert find_cifar10() is None
    assert cifar10.cifar10_status() == "not fetched"


def test_get(server: tuple[str, Path, list[str]], data: Path) -> None:
    url, root, requests = server
    outside = {"../outside.bin": b"bad", f"{FOLDER}/../../outside.bin": b"bad", f"{FOLDER}/readme.html": b"text"}
    link = tarfile.TarInfo(f"{FOLDER}/data_batch_1.bin")
    link.type, link.linkname, link.size = tarfile.SYMTYPE, "/etc/passwd", NUM_IMAGES * 3073
    archive = packed({"link": link, **outside, **{f"{FOLDER}/{name}": body for name, body in BODIES.items()}})
    (root / "cifar.tar.gz").write_bytes(archive)
    files = published(archive, f"{url}/cifar.tar.gz")

    seen = []
    folder = get_cifar10(lambda done, total: seen.append((done, total)), files)
    assert folder == data / FOLDER == find_cifar10(files)
    assert seen[-1] == (len(archive), len(archive))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == BODIES  # and no archive, no other file
    assert not list(data.parent.rglob("outside.bin"))
    assert load_cifar10(files).name == "cifar10"
    get_cifar10(None, files)
    assert len(requests) == 1

    path = folder / "test_batch.bin"
    path.write_bytes(BODIES[path.name][:3073])  # the beginning alone is not what is published
    get_cifar10(None, files)
    assert (path.read_bytes(), len(requests)) == (BODIES[path.name], 2)


def test_bad_archives_change_nothing(server: tuple[str, Path, list[str]], data: Path) -> None:
    url, root, _ = server
    members: dict[str, bytes | tarfile.TarInfo] = {f"{FOLDER}/{name}": body for name, body in BODIES.items()}
    short = {name: body for name, body in members.items() if "test" not in name}
    test = f"{FOLDER}/test_batch.bin"
    for name, archive, message in [
        ("missing", packed(short), "has no file .*test_batch"),
        ("longer", packed(short | {test: bytes(NUM_IMAGES * 3073 + 1)}), "has no file .*test_batch"),
        ("other", packed(short | {test: bytes(NUM_IMAGES * 3073)}), "test_batch.bin has md5 .*, expected"),
    ]:
        (root / name).write_bytes(archive)
        with pytest.raises(ValueError, match=message):
            get_cifar10(None, published(archive, f"{url}/{name}"))
        assert not (data / FOLDER / "test_batch.bin").exists()
        assert not list((data / FOLDER).glob(".*"))
        assert find_cifar10() is None
    files = published(b"something else", f"{url}/missing")
    with pytest.raises(ValueError, match=r"is not the published file: .* md5 .*; expected 14 bytes, md5"):
        get_cifar10(None, files)


def test_fetch_checks_md5(server: tuple[str, Path, list[str]], tmp_path: Path) -> None:
    url, root, requests = server
    (root / "a.bin").write_bytes(b"abc")
    file = RemoteFile(f"{url}/a.bin", None, 3, "900150983cd24fb0d6963f7d28e17f72")  # RFC 1321, A.5
    fetch(file, tmp_path / "new")
    fetch(file, tmp_path / "new")
    assert len(requests) == 1
    with pytest.raises(ValueError, match="md5 900150983cd24fb0d6963f7d28e17f72; expected 3 bytes, md5 9a"):
        fetch(replace(file, md5="9a"), tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_the_published_files() -> None:
    assert PUBLISHED.num_bytes == 30_730_000
    assert list(PUBLISHED.md5) == [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    assert PUBLISHED.archive.name == "cifar-10-binary.tar.gz"
