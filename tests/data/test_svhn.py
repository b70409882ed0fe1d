"""House numbers from small folders and archives in the publisher's form."""

import hashlib
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.data import load_dataset, registry, svhn
from drawnet.data.batches import BatchStream
from drawnet.data.digit_struct import DigitBox, crop_number
from drawnet.data.fetch import RemoteFile
from drawnet.data.svhn import DERIVED_FILE, PUBLISHED, get_svhn, load_svhn, randomly_cropped, take

from .svhn_files import Box, ramp, write_digit_struct, write_photographs

pytestmark = pytest.mark.usefixtures("data")


def numbers(count: int, first: int) -> dict[str, list[Box]]:
    """Photographs 1.png to COUNT.png, each with its own boxes."""
    return {
        f"{k + 1}.png": [(10.0 + first + k, 10.0 + k, 12.0, 20.0, 3), (23.0 + first + k, 11.0, 9.0, 18.0, 10)][
            : 1 + (k > 0)
        ]
        for k in range(count)
    }


PARTS = {"train": numbers(11, 0), "test": numbers(4, 20), "extra": numbers(9, 30)}


def write_all(folder: Path, parts: tuple[str, ...] = ("train", "test", "extra")) -> Path:
    for part in parts:
        write_photographs(folder / part, PARTS[part])
    return folder


def crops(part: str) -> list[bytes]:
    """The crops of a part, worked out one by one."""
    photograph = Image.fromarray(ramp(100, 60))
    return [crop_number(photograph, tuple(DigitBox(*b) for b in boxes)).tobytes() for boxes in PARTS[part].values()]


def centres(part: str) -> set[bytes]:
    whole = [np.frombuffer(crop, np.uint8).reshape(3, 64, 64) for crop in crops(part)]
    return {crop[:, 5:59, 5:59].tobytes() for crop in whole}


def as_set(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_the_publishers_folders(data: Path) -> None:
    write_all(data / "svhn")
    dataset = load_svhn()
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("svhn", None, (3, 54, 54))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [18, 2, 4]
    assert {split.max_value for split in (dataset.train, dataset.validation, dataset.test)} == {255}
    held_out, trained_on = as_set(dataset.validation.images), as_set(dataset.train.images)
    assert held_out | trained_on == centres("train") | centres("extra")
    assert not held_out & trained_on
    assert as_set(dataset.test.images) == centres("test")
    assert torch.equal(load_svhn().validation.images, dataset.validation.images)
    assert load_dataset("svhn").name == "svhn"


def test_crops_are_made_once(data: Path) -> None:
    folder = write_all(data / "svhn")
    first = load_svhn()
    assert sorted(path.name.split("_")[0] for path in folder.glob("*.npy")) == ["extra", "test", "train"]
    for path in folder.glob("*/*.png"):
        path.unlink()
    assert torch.equal(load_svhn().train.images, first.train.images)
    [kept] = folder.glob("test_*.npy")
    kept.write_bytes(kept.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"test_64x64_\d+\.npy is damaged .*remove it"):
        load_svhn()
    kept.unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.png"):
        load_svhn()


def test_boxes_of_another_size_are_cropped_anew(data: Path) -> None:
    folder = write_all(data / "svhn")
    load_svhn()
    more = PARTS["test"] | {"77.png": [(5.0, 5.0, 20.0, 30.0, 1)] * 5}
    Image.fromarray(ramp(100, 60)).save(folder / "test" / "77.png")
    write_digit_struct(folder / "test" / "digitStruct.mat", more)
    assert len(load_svhn().test) == 5


def test_a_folder_that_cannot_be_written_is_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_all(data / "svhn")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("numpy.save", refuse)
    assert len(load_svhn().test) == 4
    assert not list(folder.glob("*.npy"))


def test_what_is_missing_is_said(data: Path) -> None:
    folder = write_all(data / "svhn", ("train", "test"))
    dataset = load_svhn()
    assert dataset.name == "svhn (without extra)"
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [10, 1, 4]
    assert svhn.svhn_status() == f"in {folder} (without extra)"
    (folder / "test" / "digitStruct.mat").unlink()
    assert svhn.svhn_status() == "not fetched"
    with pytest.raises(FileNotFoundError, match="drawnet data get svhn"):
        load_svhn()


def test_the_derived_subset_says_so_and_comes_last(data: Path) -> None:
    folder = data / "svhn"
    folder.mkdir()
    generator = np.random.default_rng(0)
    arrays = {
        f"{part}_images": generator.integers(0, 256, (n, 64, 64, 3), np.uint8)
        for part, n in [("train", 30), ("test", 4)]
    }
    np.savez(folder / DERIVED_FILE, **arrays, train_length=np.zeros(30))
    dataset = load_svhn()
    assert dataset.name == "svhn (derived subset, not comparable)"
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [27, 3, 4]
    expected = arrays["test_images"].transpose(0, 3, 1, 2)[:, :, 5:59, 5:59]
    assert np.array_equal(dataset.test.images.numpy(), expected)
    assert svhn.svhn_status() == f"in {folder} (derived subset, not comparable)"
    write_all(folder)
    assert load_svhn().name == "svhn"
    assert svhn.svhn_status() == f"in {folder}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", "svhn_numbers64.npz cannot be read"),
        ("grey", r"array test_images is uint8 of shape \[4, 64, 64\]: it must be uint8 of shape \[n, 64, 64, 3\]"),
        ("floats", r"array test_images is float64"),
        ("no test", "svhn_numbers64.npz cannot be read: .*test_images"),
        ("none", r"array test_images is uint8 of shape \[0, 64, 64, 3\]"),
    ],
)
def test_bad_derived_files_are_named(data: Path, change: str, message: str) -> None:
    path = data / "svhn" / DERIVED_FILE
    path.parent.mkdir()
    arrays = {"train_images": np.zeros((30, 64, 64, 3), np.uint8)}
    test = {
        "grey": np.zeros((4, 64, 64), np.uint8),
        "floats": np.zeros((4, 64, 64, 3)),
        "none": np.zeros((0, 64, 64, 3), np.uint8),
    }
    np.savez(path, **arrays, **({} if change == "no test" else {"test_images": test.get(change, test["grey"])}))
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=message):
        load_svhn()


def places() -> torch.Tensor:
    """One image: channel 0 holds the row, channel 1 the column, channel 2 nothing."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    return torch.stack([rows, columns, torch.zeros_like(rows)]).to(torch.uint8).unsqueeze(0)


def test_training_sees_every_place_alike_and_whole_crops() -> None:
    split = randomly_cropped(places().repeat(2, 1, 1, 1))
    draws = 121 * 80
    assert split.redraw is not None
    x = split.redraw(torch.zeros(draws, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert x.shape == (draws, 3, 54, 54)
    top, left = x[:, 0, 0, 0].long(), x[:, 1, 0, 0].long()
    step = torch.arange(54)
    assert (x[:, 0].long() == top[:, None, None] + step[:, None]).all()
    assert (x[:, 1].long() == left[:, None, None] + step).all()
    counts = torch.bincount(top * 11 + left, minlength=121)
    assert len(counts) == 121
    chi_square = ((counts - 80) ** 2 / 80).sum()
    assert abs(chi_square - 120) < 5 * 240**0.5
    centre = split.intensities(torch.tensor([1]))[0] * 255
    assert centre[0, 0, 0] == centre[1, 0, 0] == 5
    assert centre[0, -1, -1] == centre[1, -1, -1] == 58


def test_each_image_gets_its_own_crop() -> None:
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 64, 64).contiguous()
    split = randomly_cropped(images)
    indices = torch.tensor([4, 1, 1, 5])
    x = split.batch(indices, torch.Generator().manual_seed(0)) * 255
    assert torch.equal(x.amax((1, 2, 3)).round().long(), indices)
    assert torch.equal(x.amin((1, 2, 3)).round().long(), indices)
    stream, twin = (BatchStream(randomly_cropped(places().repeat(6, 1, 1, 1)), 3, seed) for seed in (0, 1))
    stream.next()
    twin.load_state_dict(stream.state_dict())
    assert torch.equal(stream.next(), twin.next())


def test_take_is_indexing_of_all_parts_together() -> None:
    parts = [np.arange(n, dtype=np.uint8).reshape(n, 1) + 10 * k for k, n in enumerate((4, 3, 5))]
    indices = torch.tensor([0, 3, 4, 6, 7, 11])
    assert np.array_equal(take(parts, indices).numpy(), np.concatenate(parts)[indices.numpy()])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("truncated", r"2\.png cannot be read as an image"),
        ("grey", r"2\.png is grey: the photographs of SVHN are RGB"),
        ("text", r"2\.png cannot be read as an image"),
        ("outside", r"2\.png: the boxes lie outside the 60 x 100 pixels"),
        ("path", r"has a photograph '\.\./test/1\.png': it must be called NUMBER\.png"),
    ],
)
def test_bad_photographs_are_named(data: Path, change: str, message: str) -> None:
    folder = write_all(data / "svhn", ("train", "test")) / "train"
    path = folder / "2.png"
    if change == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif change == "grey":
        Image.fromarray(ramp(100, 60)[:, :, 0]).save(path)
    elif change == "text":
        path.write_text("a photograph")
    else:
        name = "../test/1.png" if change == "path" else "2.png"
        write_digit_struct(folder / "digitStruct.mat", {"1.png": PARTS["train"]["1.png"], name: [(200, 5, 5, 5, 1)]})
    with pytest.raises(ValueError, match=message):
        load_svhn()
    assert not list((data / "svhn").glob("*train*.npy"))


def archive(folder: Path, part: str, **others: bytes) -> bytes:
    """The folder of a part as the publisher packs it, and other members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder / part, part)
        for name, body in others.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def published(url: str, bodies: dict[str, bytes]) -> dict[str, RemoteFile]:
    return {
        part: RemoteFile(f"{url}/{part}.tar.gz", hashlib.sha256(body).hexdigest(), len(body))
        for part, body in bodies.items()
    }


def test_get(server: tuple[str, Path, list[str]], data: Path, tmp_path: Path) -> None:
    url, root, requests = server
    made = write_all(tmp_path / "made")
    evil = {"../outside.png": b"x", "train/../../outside.png": b"x", "train/see_bboxes.m": b"x", "/tmp/1.png": b"x"}
    bodies = {part: archive(made, part, **evil) for part in PARTS}
    for part, body in bodies.items():
        (root / f"{part}.tar.gz").write_bytes(body)
    files, seen = published(url, bodies), []
    folder = get_svhn(lambda done, total: seen.append((done, total)), files)
    total = sum(map(len, bodies.values()))
    assert (folder, seen[-1]) == (data / "svhn", (total, total))
    assert sorted(path.name for path in folder.iterdir()) == ["extra", "test", "train"]  # and no archive
    names = sorted(path.name for path in (folder / "train").iterdir())
    assert names == sorted([*PARTS["train"], "digitStruct.mat"])
    assert not list(tmp_path.rglob("outside*"))
    assert load_svhn().name == "svhn"
    get_svhn(None, files)
    assert len(requests) == 3
    (folder / "extra" / "digitStruct.mat").unlink()
    with pytest.raises(OSError, match="extra"):  # what else is in that folder is not thrown away
        get_svhn(None, files)
    assert (folder / "extra" / "1.png").is_file()
    assert not list(folder.glob(".partial*"))


def test_bad_archives_leave_nothing_behind(
    server: tuple[str, Path, list[str]], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, root, _ = server
    made = write_all(tmp_path / "made")
    bodies = {part: archive(made, part) for part in PARTS}
    bodies["test"] = archive(made, "extra")  # has no test/digitStruct.mat
    for part, body in bodies.items():
        (root / f"{part}.tar.gz").write_bytes(body)
    files = published(url, bodies)
    with pytest.raises(ValueError, match=r"test\.tar\.gz has no test/digitStruct\.mat"):
        get_svhn(None, files)
    assert not (data / "svhn" / "test").exists()
    assert not list((data / "svhn").glob(".*"))
    (root / "test.tar.gz").write_bytes(bodies["test"][:-1] + b"!")
    (data / "svhn" / "test.tar.gz").unlink()
    with pytest.raises(ValueError, match=r"test\.tar\.gz is not the published file"):
        get_svhn(None, files)
    assert svhn.svhn_status() == "not fetched"
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"pip install 'drawnet\[svhn\]'"):
        get_svhn(None, files)


def test_the_published_files() -> None:
    assert [file.name for file in PUBLISHED.values()] == ["train.tar.gz", "test.tar.gz", "extra.tar.gz"]
    assert all(file.sha256 and len(file.sha256) == 64 for file in PUBLISHED.values())
    [info] = [info for info in registry.available() if info.name == "svhn"]
    assert sum(info.num_images[:2]) == 33_402 + 202_353  # photographs in train and extra
