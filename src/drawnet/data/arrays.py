"""Images from .npy and .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from drawnet.data.folder import fit_image
from drawnet.data.options import ImageOptions

_KEYS = "train and test (and validation, valid or val), or one of images and x, or a single array"


def read_arrays(path: Path, options: ImageOptions) -> dict[str, Tensor]:
    """The images of an array file. Pickled objects are never read.

    Each array is `[image, height, width]`, `[image, height, width, channel]` or `[image, channel, height, width]`
    with 1 or 3 channels, of type uint8 (0 to 255), bool (bits) or float16, float32, float64 (in [0, 1]). Of an `.npz`
    file, `train`, `test` and perhaps `validation` (or `valid`, `val`) are read if `train` and `test` are there,
    otherwise `images` or `x`, otherwise the only array; arrays under other names are passed over.

    Args:
        path: ends in .npy or .npz.
        options: size, fit and channels. Only uint8 images can be resized or change their channels.

    Returns:
        `train`, `test` and perhaps `validation`, or `all`: `[image, channel, height, width]`, uint8, bool or float32.

    Raises:
        ValueError: the file is damaged, or an array is not as described; the message names file and key.
        OSError: the file cannot be read.
    """
    images = {part: (where, _channels_second(where, array)) for part, (where, array) in _load(path).items()}
    for where, array in images.values():
        _check_values(where, array)
    _check_alike(list(images.values()))
    if all(array.dtype == np.uint8 and array.max() <= 1 for _, array in images.values()):
        raise ValueError(
            f"{path} is uint8 with no value above 1: if these are bits, save them as bool; if they are grey levels of "
            "255, all of them are black to the eye"
        )
    return {part: _as_tensor(where, array, options) for part, (where, array) in images.items()}


def _load(path: Path) -> dict[str, tuple[str, np.ndarray]]:
    """The arrays to use: part -> (what messages call it, array)."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                chosen = {"all": (str(path), loaded)}
            else:
                keys = _choose_keys(path, loaded.files)
                chosen = {part: (f"{path}, array {key}", loaded[key]) for part, key in keys.items()}
            is_archive = not isinstance(loaded, np.ndarray)
    except _KeyChoiceError:
        raise
    except Exception as error:  # zipfile, zlib, struct and numpy each raise their own on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path} cannot be read: {error}; it must be a complete .npy or .npz file of numbers (no objects)"
        ) from error
    if is_archive != (path.suffix.lower() == ".npz"):
        raise ValueError(f"{path} is {'an .npz' if is_archive else 'a .npy'} file by its contents: rename it")
    return chosen


class _KeyChoiceError(ValueError):
    """It is not clear which arrays of an archive are meant."""


def _choose_keys(path: Path, keys: list[str]) -> dict[str, str]:
    validation = [key for key in ("validation", "valid", "val") if key in keys]
    whole = [key for key in ("images", "x") if key in keys]
    if "train" in keys and "test" in keys:
        if len(validation) > 1:
            raise _KeyChoiceError(f"{path} has {' and '.join(validation)}: which one is for validation? Keep one")
        chosen = {"train": "train", "test": "test"}
        return chosen | {"validation": validation[0]} if validation else chosen
    if len(whole) == 1:
        return {"all": whole[0]}
    if len(keys) == 1:
        return {"all": keys[0]}
    raise _KeyChoiceError(f"{path} has arrays {', '.join(keys) or '(none)'}: it must have {_KEYS}")


def _channels_second(where: str, array: np.ndarray) -> np.ndarray:
    shape = list(array.shape)
    layouts = "[n, height, width], [n, height, width, 1 or 3] or [n, 1 or 3, height, width]"
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4:
        second, last = shape[1] in (1, 3), shape[3] in (1, 3)
        if second and last:
            raise ValueError(
                f"{where} has shape {shape}, and both axis 1 and axis 3 could be the channels: make them unmistakable "
                "(grey images can be [n, height, width])"
            )
        if not second and not last:
            raise ValueError(f"{where} has shape {shape}: it must be {layouts}")
        array = array if second else array.transpose(0, 3, 1, 2)
    else:
        raise ValueError(f"{where} has shape {shape}: it must be {layouts}")
    if array.size == 0:
        raise ValueError(f"{where} has shape {shape}: there must be at least one image, and one pixel in it")
    return array


def _check_values(where: str, array: np.ndarray) -> None:
    if array.dtype in (np.uint8, np.bool_):
        return
    if array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4, 8):
        raise ValueError(
            f"{where} has type {array.dtype}: it must be uint8 (0 to 255), bool (bits) or float16, float32, float64 "
            "(0 to 1)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{where} has values that are NaN or infinite: {array.dtype} must be in [0, 1]")
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        raise ValueError(f"{where} has values from {low:g} to {high:g}: {array.dtype} must be in [0, 1]")


def _check_alike(images: list[tuple[str, np.ndarray]]) -> None:
    (first, reference), *others = images
    for where, array in others:
        if array.dtype != reference.dtype or array.shape[1:] != reference.shape[1:]:
            raise ValueError(f"{where} has {_describe(array)}, {first} has {_describe(reference)}: they must be alike")


def _describe(array: np.ndarray) -> str:
    channels, height, width = array.shape[1:]
    return f"{array.dtype} images of {height} x {width} with {channels} channel{'s' if channels > 1 else ''}"


def _as_tensor(where: str, array: np.ndarray, options: ImageOptions) -> Tensor:
    channels, *size = array.shape[1:]
    wanted_channels = options.channels or channels
    wanted_size = list(options.image_size or size)
    if (channels, size) == (wanted_channels, wanted_size):
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        return torch.from_numpy(np.array(array, order="C"))  # a copy, writable and contiguous
    if array.dtype != np.uint8:
        raise ValueError(
            f"{where} has {_describe(array)}: only uint8 images can be brought to another size or number of channels"
        )
    mode = {1: "L", 3: "RGB"}[wanted_channels]
    result = np.empty((len(array), *wanted_size, wanted_channels), np.uint8)
    for k, image in enumerate(array):
        pixels = image[0] if channels == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
        fitted = fit_image(Image.fromarray(pixels), options).convert(mode)
        result[k] = np.asarray(fitted).reshape(result.shape[1:])
    return torch.from_numpy(np.ascontiguousarray(result.transpose(0, 3, 1, 2)))
