"""A person's own images: a folder, or an array file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from drawnet.data.arrays import read_arrays
from drawnet.data.binarize import draw_once
from drawnet.data.dataset import Binarization, Dataset, Split
from drawnet.data.folder import read_folder
from drawnet.data.options import ImageOptions

SPLIT_SEED = 2015  # of the shuffle before a cut into splits
BINARIZATION_SEED = 2015  # of the one draw that validation and test consist of, validation first


def load_own(path: Path, options: ImageOptions, name: str) -> Dataset:
    """Images of one's own in three splits.

    Splits that the folder or file names are kept. Without any, the images are shuffled with the seed `SPLIT_SEED` and
    cut: a tenth for test, a tenth for validation (rounded down, at least one image each), the rest for training.
    Without a validation split alone, it is a tenth of the training images, shuffled in the same way.

    Images whose every value is 0 or 255 (bytes), 0 or 1 (floats), or which are bool, are bits: they are kept as 0 and
    1 and the binarization is "fixed". Others are intensities, and the binarization None, unless `options.binarize`.

    Args:
        path: a folder, or a file that ends in .npy or .npz.
        options: size, channels, and whether to draw bits.
        name: of the data set.

    Raises:
        ValueError: the images cannot be used, are too few, or are bits already and `options.binarize` is set; the
            message names the file.
        OSError: a file cannot be read.
    """
    is_array_file = path.suffix.lower() in (".npy", ".npz") and not path.is_dir()
    parts = read_arrays(path, options) if is_array_file else read_folder(path, options)
    parts, max_value, are_bits = _bits_or_intensities(parts)
    train, validation, test = (Split(images, max_value) for images in _three_splits(path, parts))
    binarization: Binarization | None = "fixed" if are_bits else None
    if options.binarize:
        if are_bits:
            raise ValueError(f"{path}: binarize is set, but these images are bits already")
        generator = torch.Generator().manual_seed(BINARIZATION_SEED)
        train = Split(train.images, max_value, resample=True)
        validation, test = draw_once(validation, generator), draw_once(test, generator)
        binarization = "sampled"
    return Dataset(name, train, validation, test, binarization)


def _bits_or_intensities(parts: dict[str, Tensor]) -> tuple[dict[str, Tensor], int, bool]:
    """Images as they are stored, the value that means intensity 1, and whether they are bits."""
    dtype = next(iter(parts.values())).dtype
    highest = 255 if dtype == torch.uint8 else 1
    if all(((images == 0) | (images == highest)).all() for images in parts.values()):
        return {part: (images != 0).to(torch.uint8) for part, images in parts.items()}, 1, True
    return parts, highest, False


def _three_splits(path: Path, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    if "all" in parts:
        images = _shuffled(parts["all"])
        if len(images) < 3:
            raise ValueError(f"{path} has {len(images)} images: at least 3 are needed, one for each split")
        tenth = max(1, len(images) // 10)
        return images[: -2 * tenth], images[-2 * tenth : -tenth], images[-tenth:]
    if "validation" in parts:
        return parts["train"], parts["validation"], parts["test"]
    images = _shuffled(parts["train"])
    if len(images) < 2:
        raise ValueError(f"{path} has 1 training image and no validation images: at least 2 are needed, to share out")
    tenth = max(1, len(images) // 10)
    return images[:-tenth], images[-tenth:], parts["test"]


def _shuffled(images: Tensor) -> Tensor:
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(SPLIT_SEED))]
