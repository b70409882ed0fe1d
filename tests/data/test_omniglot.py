"""Omniglot from small archives and folders: areas against exact fractions, and what other files are told."""

import hashlib
import io
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.data import load_dataset, omniglot
from drawnet.data.fetch import RemoteFile
from drawnet.data.omniglot import DERIVED_FILE, PUBLISHED, OmniglotPart, get_omniglot, load_omniglot, reduce

pytestmark = pytest.mark.usefixtures("data")

FOLDERS = {"train": "images_background", "test": "images_evaluation"}
COUNTS = {"train": 20, "test": 6}


def slow_area_means(ink: list[list[bool]]) -> list[list[Fraction]]:
    """Mean of `side` x `side` squares of ink over each of 28 x 28, by the overlap of the sides of squares."""
    side = len(ink)

    def overlap(big: int, small: int) -> Fraction:
        width = Fraction(side, 28)  # of a new pixel, in old ones
        return (
            max(min((big + 1) * width, Fraction(small + 1)) - max(big * width, Fraction(small)), Fraction(0)) / width
        )

    overlaps = [[overlap(big, small) for small in range(side)] for big in range(28)]
    rows = [[sum((o * row[a] for a, o in enumerate(line) if o), Fraction(0)) for line in overlaps] for row in ink]
    return [
        [sum((o * rows[b][a] for b, o in enumerate(line) if o), Fraction(0)) for a in range(28)] for line in overlaps
    ]


@pytest.mark.parametrize("side", [105, 28, 31])
def test_a_reduced_pixel_is_the_mean_over_its_area(side: int) -> None:
    ink = torch.rand(2, side, side, generator=torch.Generator().manual_seed(0)) < 0.3
    reduced = reduce(ink)
    assert (reduced.shape, reduced.dtype) == ((2, 1, 28, 28), torch.uint8)
    for image, bits in zip(reduced[:, 0].tolist(), ink.tolist(), strict=True):
        means = slow_area_means(bits)
        assert all(
            abs(v - 255 * m) <= Fraction(1, 2) + 1e-9
            for r, s in zip(image, means, strict=True)
            for v, m in zip(r, s, strict=True)
        )
    assert reduce(torch.ones(1, side, side, dtype=torch.bool)).unique().tolist() == [255]


def drawing(seed: int) -> Image.Image:
    """A published image: one bit a pixel, strokes black."""
    paper = np.ones((105, 105), bool)
    paper[10 + 3 * seed : 14 + 3 * seed, 20:90] = False  # a horizontal stroke, its place tells which image it is
    return Image.fromarray(paper)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def files(which: str) -> dict[str, bytes]:
    """Names in the archive and contents, in the order of the names."""
    return {
        f"{FOLDERS[which]}/Alphabet/character{k // 4:02}/{k:04}_01.png": png(drawing(k)) for k in range(COUNTS[which])
    }


def zipped(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in reversed(contents.items()):
            archive.writestr(name, body)
        archive.writestr(f"{next(iter(contents)).split('/')[0]}/readme.txt", "text")
    return buffer.getvalue()


ARCHIVES = {which: zipped(files(which)) for which in FOLDERS}


def published(archives: dict[str, bytes] = ARCHIVES, url: str = "http://127.0.0.1:1") -> dict[str, OmniglotPart]:
    return {
        which: OmniglotPart(
            RemoteFile(f"{url}/{FOLDERS[which]}.zip", hashlib.sha256(body).hexdigest(), len(body)), COUNTS[which]
        )
        for which, body in archives.items()
    }


def put_archives(folder: Path, archives: dict[str, bytes] = ARCHIVES) -> Path:
    folder.mkdir(exist_ok=True)
    for which, body in archives.items():
        (folder / f"{FOLDERS[which]}.zip").write_bytes(body)
    return folder


def put_folders(folder: Path) -> Path:
    for which in FOLDERS:
        for name, body in files(which).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(body)
    return folder


def images_of(which: str) -> torch.Tensor:
    ink = [~np.asarray(drawing(k)) for k in range(COUNTS[which])]
    return reduce(torch.from_numpy(np.stack(ink)))


def test_archives_and_folders_give_the_same(data: Path) -> None:
    put_archives(data / "omniglot")
    first = load_omniglot(published())
    assert (first.name, first.binarization, first.image_shape) == ("omniglot", "sampled", (1, 28, 28))
    assert [len(split) for split in (first.train, first.validation, first.test)] == [18, 2, 6]
    assert (first.train.max_value, first.train.resample, first.test.max_value) == (255, True, 1)
    for which in FOLDERS:
        (data / "omniglot" / f"{FOLDERS[which]}.zip").unlink()
    put_folders(data / "omniglot")
    second = load_omniglot(published())
    for split in ("train", "validation", "test"):
        assert torch.equal(getattr(first, split).images, getattr(second, split).images)
    assert omniglot.omniglot_status(published()) == f"in {data / 'omniglot'}"


def test_strokes_are_white_and_splits_apart(data: Path) -> None:
    put_archives(data / "omniglot")
    dataset = load_omniglot(published())
    grey = images_of("train")
    trained_on = {image.numpy().tobytes() for image in dataset.train.images}
    assert len(trained_on) == 18
    held_out = [image for image in grey if image.numpy().tobytes() not in trained_on]
    for bits, intensities in [
        *zip(dataset.validation.images, held_out, strict=True),
        *zip(dataset.test.images, images_of("test"), strict=True),
    ]:
        assert set(bits.unique().tolist()) == {0, 1}
        assert (bits[intensities == 0] == 0).all()
        assert (bits[intensities == 255] == 1).all()


def test_the_derived_file_says_so_and_comes_last(data: Path) -> None:
    folder = data / "omniglot"
    folder.mkdir()
    arrays = {
        "background_28x28": images_of("train")[:, 0].numpy(),
        "evaluation_28x28": images_of("test")[:, 0].numpy(),
    }
    np.savez(folder / DERIVED_FILE, **arrays, alphabet_names=np.array(["Latin"]))
    dataset = load_omniglot(published())
    assert dataset.name == "omniglot (derived 28 x 28)"
    assert omniglot.omniglot_status() == f"in {folder} (derived 28 x 28)"
    put_archives(folder)
    same = load_omniglot(published())
    assert same.name == "omniglot"
    assert torch.equal(same.train.images, dataset.train.images)
    np.savez(folder / DERIVED_FILE, background_28x28=np.zeros((3, 105, 105), np.uint8))
    (folder / "images_background.zip").unlink()
    with pytest.raises(ValueError, match=r"omniglot28\.npz cannot be read: .*evaluation_28x28"):
        load_omniglot(published())


def test_missing(data: Path) -> None:
    with pytest.raises(FileNotFoundError, match="drawnet data get omniglot"):
        load_dataset("omniglot")
    put_archives(data / "omniglot", {"train": ARCHIVES["train"]})
    assert omniglot.omniglot_status() == "not fetched"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(Image.new("1", (105, 104))), r"has 104 x 105 pixels of mode 1: it must be black on white, 105 x 105"),
        (png(Image.new("RGB", (105, 105))), r"has 105 x 105 pixels of mode RGB"),
        (png(drawing(0))[:60], "cannot be read as an image"),
        (b"text", "cannot be read as an image"),
        (None, r"images_background has 19 images, expected 20: .*drawnet data get omniglot"),
    ],
)
@pytest.mark.parametrize("archived", [True, False])
def test_bad_images_are_named(data: Path, content: bytes | None, message: str, archived: bool) -> None:
    name = list(files("train"))[7]
    where = "" if content is None else rf"{Path(name).name} "
    if archived:
        changed = {key: body for key, body in files("train").items() if key != name}
        archives = ARCHIVES | {"train": zipped(changed | ({name: content} if content is not None else {}))}
        put_archives(data / "omniglot", archives)
    else:
        archives = ARCHIVES
        path = put_folders(data / "omniglot") / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    with pytest.raises(ValueError, match=where + message):
        load_omniglot(published(archives))


def test_other_archives_are_refused(data: Path) -> None:
    put_archives(data / "omniglot", ARCHIVES | {"test": ARCHIVES["test"][:-1] + b"!"})
    with pytest.raises(ValueError, match=r"images_evaluation\.zip is not the published file.*data get omniglot"):
        load_omniglot(published())


def test_get(server: tuple[str, Path, list[str]], data: Path) -> None:
    url, root, requests = server
    put_archives(root)
    parts, seen = published(url=url), []
    folder = get_omniglot(lambda done, total: seen.append((done, total)), parts)
    total = sum(map(len, ARCHIVES.values()))
    assert (folder, seen[-1]) == (data / "omniglot", (total, total))
    assert load_omniglot(parts).name == "omniglot"
    get_omniglot(None, parts)
    assert len(requests) == 2
    (root / "images_evaluation.zip").write_bytes(b"something else")
    (folder / "images_evaluation.zip").unlink()
    with pytest.raises(ValueError, match="is not the published file"):
        get_omniglot(None, parts)
    assert [path.name for path in folder.iterdir()] == ["images_background.zip"]
    put_folders(folder)
    get_omniglot(None, parts)  # nothing is missing


def test_the_published_files() -> None:
    assert [part.folder_name for part in PUBLISHED.values()] == ["images_background", "images_evaluation"]
    assert sum(part.num_images for part in PUBLISHED.values()) == 32_460
