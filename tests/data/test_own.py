"""Folders and arrays of one's own: read exactly, or refused by name."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.data import ImageOptions, load_dataset
from drawnet.data.dataset import SPLITS

RNG = np.random.default_rng(0)


def grey(height: int = 4, width: int = 6) -> np.ndarray:
    return RNG.integers(2, 250, (height, width), np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def fill(folder: Path, num_images: int, height: int = 4, width: int = 6) -> list[np.ndarray]:
    images = [grey(height, width) for _ in range(num_images)]
    for k, pixels in enumerate(images):
        save(folder / f"{k:03d}.png", pixels)
    return images


def as_set(*splits: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for images in splits for image in images}


def test_folder_is_read_exactly_and_split_80_10_10(tmp_path: Path) -> None:
    images = fill(tmp_path / "b" / "c", 20) + fill(tmp_path, 11)
    save(tmp_path / ".hidden" / "x.png", grey(9, 9))
    for name in ("Thumbs.db", "README.md", "LICENSE", "labels.csv", "notes.TXT", "a.json", ".DS_Store"):
        (tmp_path / name).touch()
    dataset = load_dataset(f"folder:{tmp_path}")
    assert [len(getattr(dataset, split)) for split in SPLITS] == [25, 3, 3]
    assert dataset.image_shape == (1, 4, 6)
    assert (dataset.binarization, dataset.train.max_value) == (None, 255)
    parts = [getattr(dataset, split).images for split in SPLITS]
    assert as_set(*parts) == {pixels.tobytes() for pixels in images}
    again = load_dataset(str(tmp_path))
    assert torch.equal(again.train.images, dataset.train.images)


def test_named_folders_are_splits(tmp_path: Path) -> None:
    train, test = fill(tmp_path / "train" / "class", 10), fill(tmp_path / "test", 2)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert [len(getattr(dataset, split)) for split in SPLITS] == [9, 1, 2]
    assert as_set(dataset.train.images, dataset.validation.images) == {pixels.tobytes() for pixels in train}
    assert as_set(dataset.test.images) == {pixels.tobytes() for pixels in test}
    valid = fill(tmp_path / "valid", 3)
    assert np.array_equal(load_dataset(f"folder:{tmp_path}").validation.images[:, 0].numpy(), np.stack(valid))
    (tmp_path / "val").mkdir()
    with pytest.raises(ValueError, match="valid and val"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "val").rmdir()
    save(tmp_path / "extra" / "e.png", grey())
    with pytest.raises(ValueError, match=r"e\.png is outside"):
        load_dataset(f"folder:{tmp_path}")


def test_channels(tmp_path: Path) -> None:
    value = grey()
    Image.fromarray(value).convert("LA").save(tmp_path / "la.png")
    palette = Image.fromarray(value).convert("P")
    palette.save(tmp_path / "palette.png")
    save(tmp_path / "l.png", value)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert dataset.image_shape == (1, 4, 6)
    assert as_set(*(getattr(dataset, split).images for split in SPLITS)) == {value.tobytes()}
    colour = RNG.integers(0, 256, (4, 6, 3), np.uint8)
    save(tmp_path / "colour.png", colour)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert dataset.image_shape == (3, 4, 6)
    expected = {np.stack([value] * 3).tobytes(), colour.transpose(2, 0, 1).tobytes()}
    assert as_set(*(getattr(dataset, split).images for split in SPLITS)) == expected
    assert load_dataset(f"folder:{tmp_path}", ImageOptions(channels=1)).image_shape == (1, 4, 6)


def test_orientation_tag_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    pixels = grey(4, 6)
    for k in range(3):
        save(tmp_path / f"{k}.png", pixels, exif=exif)
    images = load_dataset(f"folder:{tmp_path}").train.images
    assert np.array_equal(images[0, 0].numpy(), np.rot90(pixels, -1))


def test_image_size(tmp_path: Path) -> None:
    bands = np.zeros((20, 60), np.uint8)
    bands[:, 20:40] = 200  # the middle square
    for k in range(3):
        save(tmp_path / f"{k}.png", bands)
    save(tmp_path / "small.png", np.full((10, 10), 200, np.uint8))
    with pytest.raises(ValueError, match=r"0\.png is 20 x 60, .*small\.png is 10 x 10 .*--image-size HEIGHT WIDTH"):
        load_dataset(f"folder:{tmp_path}")
    (tmp_path / "small.png").unlink()
    crop = load_dataset(f"folder:{tmp_path}", ImageOptions(image_size=(10, 10))).train.images
    assert crop.shape == (1, 1, 10, 10)
    assert ((crop.int() - 200).abs() <= 12).all()  # the filter reaches a little over the cut
    stretched = load_dataset(f"folder:{tmp_path}", ImageOptions(image_size=(10, 12), fit="stretch")).train.images
    assert stretched.shape == (1, 1, 10, 12)
    middle = stretched[0, 0, 5].int()
    assert ((middle[[0, 6, 11]] - torch.tensor([0, 200, 0])).abs() <= 12).all()  # bands as they were, a fifth as wide


def black_and_white(folder: Path) -> None:
    for k in range(3):
        save(folder / f"{k}.png", RNG.integers(0, 2, (4, 6), np.uint8) * 255)


def test_bits_are_recognised(tmp_path: Path) -> None:
    black_and_white(tmp_path)
    dataset = load_dataset(f"folder:{tmp_path}")
    assert (dataset.binarization, dataset.train.max_value) == ("fixed", 1)
    assert dataset.train.images.max() == 1
    with pytest.raises(ValueError, match=f"{tmp_path}: binarize is set"):
        load_dataset(f"folder:{tmp_path}", ImageOptions(binarize=True))


def write_bad(folder: Path, kind: str) -> None:
    path = folder / "bad.png"
    if kind == "truncated":
        buffer = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (40, 60), np.uint8)).save(buffer, "png")
        path.write_bytes(buffer.getvalue()[:1000])
    elif kind == "garbage":
        path.write_bytes(b"not an image")
    elif kind == "empty":
        path.touch()
    elif kind == "grey16":
        save(path, np.full((4, 6), 40_000, np.uint16))
    elif kind == "rgb16":
        # 1 x 1 RGB with 16 bits, written by hand: Pillow cannot.
        import struct
        import zlib

        def chunk(name: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(bytes(7)))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))
    elif kind == "animated":
        frames = [Image.fromarray(grey()) for _ in range(2)]
        frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    elif kind == "transparent":
        save(path, np.concatenate([np.full((4, 6, 3), 9, np.uint8), np.full((4, 6, 1), 254, np.uint8)], 2))
    elif kind == "transparent palette":
        Image.fromarray(np.zeros((4, 6), np.uint8)).convert("P").save(path, transparency=0)
    elif kind == "cmyk":
        Image.new("CMYK", (6, 4)).save(path.with_suffix(".jpg"))
    elif kind == "other":
        path.with_suffix(".pdf").touch()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "cannot be read as an image"),
        ("garbage", "cannot be read as an image"),
        ("empty", "cannot be read as an image"),
        ("grey16", "more than 8 bits"),
        ("rgb16", "more than 8 bits"),
        ("animated", "has 2 frames"),
        ("transparent", "transparent"),
        ("transparent palette", "transparent"),
        ("cmyk", "CMYK"),
        ("other", "not an image file"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, kind: str, message: str) -> None:
    fill(tmp_path, 3)
    write_bad(tmp_path, kind)
    with pytest.raises(ValueError, match=rf"bad\.\w+ .*{message}"):
        load_dataset(f"folder:{tmp_path}")


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none: no such folder"):
        load_dataset(f"folder:{tmp_path / 'none'}")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file"):
        load_dataset(f"folder:{tmp_path / 'file'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no images"):
        load_dataset(f"folder:{tmp_path / 'empty'}")
    fill(tmp_path / "two", 2)
    with pytest.raises(ValueError, match="two has 2 images"):
        load_dataset(f"folder:{tmp_path / 'two'}")
    for k in range(3):
        save(tmp_path / "dark" / f"{k}.png", RNG.integers(0, 2, (4, 6), np.uint8))
    with pytest.raises(ValueError, match="dark: no value in any image is above 1"):
        load_dataset(f"folder:{tmp_path / 'dark'}")
    fill(tmp_path / "half" / "train", 3)
    (tmp_path / "half" / "test").mkdir()
    with pytest.raises(ValueError, match="half has a folder for test without images"):
        load_dataset(f"folder:{tmp_path / 'half'}")


def test_names_and_options(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'mnits'.*mnist, binarized-mnist, .*folder:PATH.*did you mean mnist"):
        load_dataset("mnits")
    with pytest.raises(ValueError, match="folder:PATH"):
        load_dataset("folder:")
    assert load_dataset("mnist", ImageOptions()).name == "mnist"
    for options, field in [
        (ImageOptions(image_size=(28, 28)), "image_size"),
        (ImageOptions(channels=1), "channels"),
        (ImageOptions(binarize=True), "binarize"),
    ]:
        for name in ("mnist", "binarized-mnist"):
            with pytest.raises(ValueError, match=f"{field} is .*{name} takes no image options"):
                load_dataset(name, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (0, 3)}, r"image_size is \(0, 3\)"),
        ({"image_size": 28}, "image_size is 28"),
        ({"fit": "pad"}, "fit is 'pad'"),
        ({"fit": "stretch"}, "without an image_size"),
        ({"channels": 2}, "channels is 2"),
        ({"binarize": 1}, "binarize is 1"),
    ],
)
def test_bad_options(unchecked_shapes: None, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageOptions(**options)
