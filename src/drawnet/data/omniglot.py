"""Omniglot: 32,460 handwritten characters of fifty alphabets, reduced to 28 x 28.

Source: B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through probabilistic program induction"
(2015); https://github.com/brendenlake/omniglot, `python/images_background.zip` and `images_evaluation.zip`: 105 x 105
pixels, black strokes on white. This is not the 28 x 28 file that bounds on "Omniglot" are usually reported on.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from PIL import Image
from torch import Tensor

from drawnet.data.binarize import draw_once
from drawnet.data.dataset import Dataset, Split, hold_out
from drawnet.data.derived import read_derived
from drawnet.data.fetch import Progress, RemoteFile, check_published, data_folders, fetch_all, find_folder, not_fetched

FOLDER = "omniglot"
SIDE = 28
DERIVED_FILE = "omniglot28.npz"
DERIVED_NOTE = "derived 28 x 28"
SPLIT_SEED = 2015  # of the choice of validation images
BINARIZATION_SEED = 2015  # of the one draw that validation and test consist of, validation first

_PUBLISHED_SIDE = 105
_CHUNK = 1000  # images at a time: floats take eight times the room of bits
_URL = "https://github.com/brendenlake/omniglot/raw/master/python/{}.zip"


@dataclass(frozen=True)
class OmniglotPart:
    """One of the two archives.

    Attributes:
        archive: has a folder of the archive's name, in it alphabets, characters, and PNG files.
        num_images: in it.
    """

    archive: RemoteFile
    num_images: int

    @property
    def folder_name(self) -> str:
        """What it unpacks to."""
        return self.archive.name.removesuffix(".zip")


# The publisher states no checksums; these are those on which several public loaders of the same archives agree (their
# md5 are 68d2efa1b9178cc56df9314c21c6e718 and 6b91aef0f799c5bb55b94e3f2daec811).
PUBLISHED = {
    "train": OmniglotPart(
        RemoteFile(
            _URL.format("images_background"),
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            9_464_212,
        ),
        19_280,
    ),
    "test": OmniglotPart(
        RemoteFile(
            _URL.format("images_evaluation"),
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            6_462_886,
        ),
        13_180,
    ),
}


def find_omniglot(parts: Mapping[str, OmniglotPart] = PUBLISHED) -> Path | None:
    """The first data folder that has both parts, each as an archive or unpacked; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    for folder in data_folders(FOLDER):
        if all(
            (folder / part.archive.name).is_file() or (folder / part.folder_name).is_dir() for part in parts.values()
        ):
            return folder
    return None


def omniglot_status(parts: Mapping[str, OmniglotPart] = PUBLISHED) -> str:
    """`in FOLDER`, or `not fetched`.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    if folder := find_omniglot(parts):
        return f"in {folder}"
    folder = find_folder(FOLDER, [DERIVED_FILE])
    return f"in {folder} ({DERIVED_NOTE})" if folder else "not fetched"


def get_omniglot(progress: Progress | None = None, parts: Mapping[str, OmniglotPart] = PUBLISHED) -> Path:
    """Fetch the archives, unless both parts are there as archives or unpacked. They are read as they are.

    Args:
        progress: called with the bytes done and in total.
        parts: what to fetch.

    Returns:
        The folder.

    Raises:
        ValueError: an archive is not the published one, or DRAWNET_DATA is not a folder.
        OSError: the network failed, or a file cannot be written.
    """
    folder = find_omniglot(parts) or data_folders(FOLDER)[0]
    missing = [part.archive for part in parts.values() if not (folder / part.folder_name).is_dir()]
    fetch_all(missing, folder, progress)
    return folder


def load_omniglot(parts: Mapping[str, OmniglotPart] = PUBLISHED) -> Dataset:
    """Omniglot for binary models: 17,352 / 1,928 / 13,180 images of one channel, 28 x 28, strokes white.

    Training images are the publisher's background set, thirty alphabets, less a tenth that validates, drawn with
    `SPLIT_SEED`. Test images are the evaluation set: twenty other alphabets, so that test nats also measure how
    strokes carry over to them. Training pixels are drawn anew each time with the reduced intensities as means;
    validation and test images are one draw, with the seed `BINARIZATION_SEED`.

    `omniglot28.npz`, characters that were reduced elsewhere, is read where there are no others, and the data set is
    then called `omniglot (derived 28 x 28)`.

    Args:
        parts: others than the published ones are for tests.

    Raises:
        FileNotFoundError: the files have not been fetched.
        ValueError: a file is damaged or not the published one, or DRAWNET_DATA is not a folder.
        OSError: a file cannot be read.
    """
    note = ""
    if folder := find_omniglot(parts):
        train, test = (_read(folder, parts[which]) for which in ("train", "test"))
    elif folder := find_folder(FOLDER, [DERIVED_FILE]):
        note = f" ({DERIVED_NOTE})"
        keys = ("background_28x28", "evaluation_28x28")
        arrays = read_derived(folder / DERIVED_FILE, keys, (SIDE, SIDE))
        train, test = (torch.from_numpy(arrays[key]).unsqueeze(1) for key in keys)
    else:
        raise not_fetched("omniglot", FOLDER)
    kept, held_out = hold_out(len(train), len(train) // 10, SPLIT_SEED)
    generator = torch.Generator().manual_seed(BINARIZATION_SEED)
    return Dataset(
        f"omniglot{note}",
        train=Split(train[kept], max_value=255, resample=True),
        validation=draw_once(Split(train[held_out], max_value=255), generator),
        test=draw_once(Split(test, max_value=255), generator),
        binarization="sampled",
    )


def _read(folder: Path, part: OmniglotPart) -> UInt8[Tensor, "image 1 28 28"]:
    """The images of one part in the order of their names, from the archive if it is there, else unpacked."""
    archive = folder / part.archive.name
    if archive.is_file():
        check_published(archive, part.archive, "omniglot")
        files = _in_archive(archive)
    else:
        files = _unpacked(folder / part.folder_name)
    strokes = [_strokes(where, content) for where, content in files]
    if len(strokes) != part.num_images:
        raise ValueError(
            f"{archive.with_suffix('')} has {len(strokes)} images, expected {part.num_images}: remove it, and "
            "`drawnet data get omniglot` fetches it again"
        )
    chunks = [np.stack(strokes[start : start + _CHUNK]) for start in range(0, len(strokes), _CHUNK)]
    return torch.cat([reduce(torch.from_numpy(chunk)) for chunk in chunks])


def _in_archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as contents:
        for name in sorted(contents.namelist()):
            if name.endswith(".png"):
                yield f"{archive}, {name}", contents.read(name)


def _unpacked(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*.png")):
        yield str(path), path.read_bytes()


def _strokes(where: str, content: bytes) -> np.ndarray:
    """A published image, `[105, 105]`, True where there is ink."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:  # decoders raise all sorts of things on damaged files
        raise ValueError(f"{where} cannot be read as an image: {error}") from error
    if image.mode not in ("1", "L") or image.size != (_PUBLISHED_SIDE, _PUBLISHED_SIDE):
        raise ValueError(
            f"{where} has {image.height} x {image.width} pixels of mode {image.mode}: it must be black on white, "
            f"{_PUBLISHED_SIDE} x {_PUBLISHED_SIDE}"
        )
    return np.asarray(image.convert("L")) < 128


def reduce(strokes: Tensor) -> UInt8[Tensor, "image 1 28 28"]:
    """Mean over the area of each of 28 x 28 pixels, as bytes: 255 where all of it is ink.

    Args:
        strokes: `[image, side, side]`, True where there is ink.
    """
    weights = _shares(strokes.shape[-1], SIDE)
    means = weights @ strokes.to(torch.float64) @ weights.T
    return (means * 255).round().to(torch.uint8).unsqueeze(1)


def _shares(num_before: int, num_after: int) -> Float64[Tensor, "after before"]:
    """The share that each of `num_before` equal stretches of a line has in each of `num_after`; rows sum to 1."""
    before = torch.arange(num_before, dtype=torch.float64) * num_after  # in units of which both are multiples
    after = torch.arange(num_after, dtype=torch.float64)[:, None] * num_before
    overlap = torch.minimum(before + num_after, after + num_before) - torch.maximum(before, after)
    return overlap.clamp(min=0) / num_before
