"""SVHN: house numbers photographed from the street, cropped to 64 x 64 as in DRAW's section 4.4.

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning" (2011), the "full
numbers" of http://ufldl.stanford.edu/housenumbers/. Non-commercial use only.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from drawnet.data.dataset import Dataset, Split, hold_out
from drawnet.data.derived import read_derived
from drawnet.data.digit_struct import CROP_SIDE, crop_number, import_h5py, read_digit_struct
from drawnet.data.fetch import Progress, RemoteFile, data_folders, fetch_all, find_folder, not_fetched
from drawnet.data.folder import read_image
from drawnet.files import replacing

FOLDER = "svhn"
STRUCT = "digitStruct.mat"
DERIVED_FILE = "svhn_numbers64.npz"
DERIVED_NOTE = "derived subset, not comparable"
SEEN_SIDE = 54  # pixels of a crop that the model sees
NUM_VALIDATION = 4_701  # the paper's number; a tenth of the images where that is fewer
SPLIT_SEED = 2015  # of the choice of validation images

_URL = "http://ufldl.stanford.edu/housenumbers/{}.tar.gz"
# The publisher states no checksums; these are those on which two public loaders of the same archives agree (of extra,
# one has it), and the sizes are stated by many.
PUBLISHED = {
    "train": RemoteFile(
        _URL.format("train"), "4b17bb33b6cd8f963493168f80143da956f28ec406cc12f8e5745a9f91a51898", 404_141_560
    ),
    "test": RemoteFile(
        _URL.format("test"), "57ac9ceb530e4aa85b55d991be8fc49c695b3d71c6f6a88afea86549efde7fb5", 276_555_967
    ),
    "extra": RemoteFile(
        _URL.format("extra"), "e857e27d1e65bd1e7d3959b094061777f6506bbc39889a0df3bba6a729d60f9c", 1_955_489_752
    ),
}


def find_svhn() -> Path | None:
    """The first data folder that has train/ and test/ as the publisher's archives unpack; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return find_folder(FOLDER, (f"train/{STRUCT}", f"test/{STRUCT}"))


def svhn_status() -> str:
    """`in FOLDER`, with what is missing or other there, or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    if folder := find_svhn():
        return f"in {folder}" + ("" if (folder / "extra" / STRUCT).is_file() else " (without extra)")
    folder = find_folder(FOLDER, [DERIVED_FILE])
    return f"in {folder} ({DERIVED_NOTE})" if folder else "not fetched"


def get_svhn(progress: Progress | None = None, files: Mapping[str, RemoteFile] = PUBLISHED) -> Path:
    """Fetch and unpack the archives whose folder is not there yet: 2.6 GB, and as much again unpacked.

    A folder appears whole or not at all. The archives are removed at the end; those that an interruption leaves behind
    are not fetched again.

    Args:
        progress: called with the bytes done and in total, of the archives to fetch.
        files: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: h5py, which reads the boxes, is not installed; an archive is not the published one; or DRAWNET_DATA
            is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    import_h5py()  # before gigabytes are fetched in vain
    folder = find_svhn() or data_folders(FOLDER)[0]
    missing = {part: file for part, file in files.items() if not (folder / part / STRUCT).is_file()}
    fetch_all(list(missing.values()), folder, progress)
    for part, file in missing.items():
        _unpack(folder / file.name, folder, part)
        (folder / file.name).unlink()
    return folder


def _unpack(archive: Path, folder: Path, part: str) -> None:
    """Take the photographs and their boxes out of an archive. Names in it are compared, never used as paths."""
    wanted = re.compile(rf"(\./)?{part}/(?P<name>\d+\.png|{re.escape(STRUCT)})")
    temporary = folder / f".partial-{part}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.isfile() and (match := wanted.fullmatch(member.name)):
                    content = tar.extractfile(member)
                    assert content is not None  # it is a regular file
                    (temporary / match["name"]).write_bytes(content.read())
        if not (temporary / STRUCT).is_file():
            raise ValueError(f"{archive} has no {part}/{STRUCT}")
        temporary.rename(folder / part)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_svhn() -> Dataset:
    """House numbers: images of three channels, 54 x 54, bytes, out of crops of 64 x 64.

    Training images are the publisher's train and extra, 235,755 in all, less 4,701 that validate, drawn with the seed
    `SPLIT_SEED` (a tenth of them where that is fewer); test images are the publisher's 13,068. Training sees a crop of
    54 x 54 at a random one of 11 x 11 places, anew each time; validation and test see the central one.

    The crops of 64 x 64 take minutes to make. They are kept beside the photographs, where that folder can be written.

    What is not all of this says so in the name of the data set: `svhn (without extra)`, and of `svhn_numbers64.npz`,
    crops made from a part of the photographs elsewhere, `svhn (derived subset, not comparable)`.

    Raises:
        FileNotFoundError: the photographs have not been fetched.
        ValueError: a file is damaged, h5py is not installed, or DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    note = ""
    if folder := find_svhn():
        has_extra = (folder / "extra" / STRUCT).is_file()
        note = "" if has_extra else " (without extra)"
        train = [_crops(folder, part) for part in ("train", "extra")[: 1 + has_extra]]
        test = _crops(folder, "test")
    elif folder := find_folder(FOLDER, [DERIVED_FILE]):
        note = f" ({DERIVED_NOTE})"
        keys = ("train_images", "test_images")
        arrays = read_derived(folder / DERIVED_FILE, keys, (CROP_SIDE, CROP_SIDE, 3))
        first, test = (arrays[key].transpose(0, 3, 1, 2) for key in keys)
        train = [first]
    else:
        raise not_fetched("svhn", FOLDER)
    num_images = sum(map(len, train))
    kept, held_out = hold_out(num_images, min(NUM_VALIDATION, num_images // 10), SPLIT_SEED)
    return Dataset(
        f"svhn{note}",
        train=randomly_cropped(take(train, kept)),
        validation=Split(_centre(take(train, held_out)), max_value=255),
        test=Split(_centre(take([test], torch.arange(len(test)))), max_value=255),
        binarization=None,
    )


def _crops(folder: Path, part: str) -> UInt8[np.ndarray, "image 3 64 64"]:
    """The digits of every photograph of a folder. Made once: a file named after the size of the boxes' keeps them."""
    struct = folder / part / STRUCT
    kept = folder / f"{part}_{CROP_SIDE}x{CROP_SIDE}_{struct.stat().st_size}.npy"
    if kept.is_file():
        try:
            crops = np.load(kept, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{kept} is damaged ({error}): remove it, and it is made again") from error
        return crops
    numbers = read_digit_struct(struct)
    crops = np.empty((len(numbers), 3, CROP_SIDE, CROP_SIDE), np.uint8)
    for crop, number in zip(crops, numbers, strict=True):
        if not re.fullmatch(r"\d+\.png", number.name):
            raise ValueError(f"{struct} has a photograph {number.name!r}: it must be called NUMBER.png")
        path = folder / part / number.name
        image = read_image(path)
        if image.mode != "RGB":
            raise ValueError(f"{path} is grey: the photographs of SVHN are RGB")
        try:
            crop[...] = crop_number(image, number.boxes)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        with replacing(kept) as temporary:
            np.save(temporary, crops)
    except OSError:
        pass  # they are made again the next time
    return crops


def take(parts: Sequence[np.ndarray], indices: Int64[Tensor, "index"]) -> UInt8[Tensor, "index ..."]:
    """Images by their indices in several arrays one after the other, copied once.

    Args:
        parts: of images of one shape; files mapped into memory are read as far as they are needed.
        indices: ascending.
    """
    images = np.empty((len(indices), *parts[0].shape[1:]), np.uint8)
    start = done = 0
    for part in parts:
        rows = indices[(indices >= start) & (indices < start + len(part))].numpy() - start
        np.take(part, rows, axis=0, out=images[done : done + len(rows)], mode="clip")  # "raise" would copy twice
        start, done = start + len(part), done + len(rows)
    return torch.from_numpy(images)


def randomly_cropped(images: UInt8[Tensor, "image channel height width"]) -> Split:
    """A split that sees 54 x 54 pixels of each image, at a place drawn anew each time, uniformly from all there are.

    Args:
        images: of at least 54 x 54 pixels.
    """
    windows = images.unfold(2, SEEN_SIDE, 1).unfold(3, SEEN_SIDE, 1)  # image channel top left height width: a view
    num_tops, num_lefts = windows.shape[2:4]

    def redraw(indices: Tensor, generator: torch.Generator) -> Tensor:
        top = torch.randint(num_tops, indices.shape, generator=generator)
        left = torch.randint(num_lefts, indices.shape, generator=generator)
        return windows[indices, :, top, left]

    return Split(_centre(images), max_value=255, redraw=redraw)


def _centre(images: UInt8[Tensor, "image channel height width"]) -> UInt8[Tensor, "image channel 54 54"]:
    """The central 54 x 54 pixels: a view."""
    top, left = ((side - SEEN_SIDE) // 2 for side in images.shape[2:])
    return images[:, :, top : top + SEEN_SIDE, left : left + SEEN_SIDE]
