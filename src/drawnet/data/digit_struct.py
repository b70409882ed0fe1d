"""digitStruct.mat: which digits are where in the photographs of SVHN, and the crop around them.

Source: Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning" (2011) for the file, a
MATLAB 7.3 one, which is HDF5; I. Goodfellow et al., "Multi-digit Number Recognition from Street View Imagery using
Deep Convolutional Neural Networks" (2013), section 5.1, for the crop.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

CROP_SIDE = 64  # pixels
MARGIN = 0.3  # the box around all digits grows by this share of itself, half of it on each side
_FIELDS = ("left", "top", "width", "height", "label")


@dataclass(frozen=True)
class DigitBox:
    """One digit, in pixels from the top left corner, where the publisher's viewer has 0; label 10 is the digit 0."""

    left: float
    top: float
    width: float
    height: float
    label: int


@dataclass(frozen=True)
class HouseNumber:
    """One photograph: its file name and its digits, from left to right as far as the publisher has them so."""

    name: str
    boxes: tuple[DigitBox, ...]


def import_h5py() -> Any:
    """The module that reads HDF5.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ValueError(f"digitStruct.mat cannot be read ({error}): pip install 'drawnet[svhn]'") from error
    return h5py


def read_digit_struct(path: Path) -> list[HouseNumber]:
    """Every photograph that the file describes, in its order.

    `digitStruct/name` and `digitStruct/bbox` hold a reference for every photograph: to the characters of its name, and
    to a group with the five fields of its boxes. A field of one box is a number; of several, a column of references to
    numbers.

    Args:
        path: digitStruct.mat.

    Raises:
        ValueError: h5py is not installed, the file is damaged or without photographs, or a photograph has no boxes or
            incomplete ones; the message names the file.
        OSError: the file cannot be read.
    """
    h5py = import_h5py()
    try:
        with h5py.File(path, "r") as file:
            struct = file["digitStruct"]
            names, boxes = struct["name"][:, 0], struct["bbox"][:, 0]
            numbers = [_house_number(file, *references) for references in zip(names, boxes, strict=True)]
    except _BoxError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # h5py raises all sorts of things on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(
            f"{path} cannot be read: {error}; it must be a complete digitStruct.mat (MATLAB 7.3)"
        ) from error
    if not numbers:
        raise ValueError(f"{path} describes no photographs")
    return numbers


class _BoxError(ValueError):
    """The file can be read, but its boxes cannot be used."""


def _house_number(file: Any, name: Any, boxes: Any) -> HouseNumber:
    text = "".join(map(chr, file[name][()].flatten()))
    group = file[boxes]
    missing = [field for field in _FIELDS if field not in group]
    if missing:
        raise _BoxError(f"{text} has no boxes: there is no {', '.join(missing)}")
    columns = [_numbers(file, group[field]) for field in _FIELDS]
    lengths = {len(column) for column in columns}
    if lengths == {0}:
        raise _BoxError(f"{text} has no boxes")
    if len(lengths) != 1:
        raise _BoxError(f"{text} has boxes whose fields are {sorted(lengths)} long: they must be alike")
    rows = zip(*columns, strict=True)
    return HouseNumber(text, tuple(DigitBox(*row[:4], label=int(row[4])) for row in rows))


def _numbers(file: Any, field: Any) -> list[float]:
    """The values of one field, one for every box."""
    if field.dtype.kind == "O":
        return [float(file[reference][0, 0]) for reference in field[()].flatten()]
    # MATLAB stores an empty array as its two sizes, with this mark.
    return [] if "MATLAB_empty" in field.attrs else [float(value) for value in field[()].flatten()]


def crop_rectangle(boxes: tuple[DigitBox, ...], width: int, height: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the box around all digits, grown by `MARGIN`, as far as the photograph reaches.

    Args:
        boxes: of the digits; at least one.
        width: of the photograph, in pixels.
        height: of the photograph, in pixels.

    Raises:
        ValueError: nothing of it lies in the photograph.

    Example:
        >>> from drawnet.data.digit_struct import DigitBox, crop_rectangle
        >>> crop_rectangle((DigitBox(20, 10, 10, 20, 1), DigitBox(30, 12, 10, 18, 7)), width=100, height=32)
        (17.0, 7.0, 43.0, 32.0)
    """
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right = max(box.left + box.width for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    across, down = MARGIN / 2 * (right - left), MARGIN / 2 * (bottom - top)
    left, top = max(left - across, 0.0), max(top - down, 0.0)
    right, bottom = min(right + across, float(width)), min(bottom + down, float(height))
    if left >= right or top >= bottom:
        raise ValueError(f"the boxes lie outside the {height} x {width} pixels")
    return left, top, right, bottom


def crop_number(image: Image.Image, boxes: tuple[DigitBox, ...]) -> UInt8[np.ndarray, "3 64 64"]:
    """The digits of a photograph, stretched to 64 x 64 (bilinear; averaging where it shrinks).

    Args:
        image: the photograph, RGB.
        boxes: of its digits.

    Raises:
        ValueError: the boxes lie outside.
    """
    rectangle = crop_rectangle(boxes, image.width, image.height)
    crop = image.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BILINEAR, box=rectangle)
    return np.asarray(crop).transpose(2, 0, 1)
