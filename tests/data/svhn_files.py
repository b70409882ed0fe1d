"""Small files in the formats that SVHN is published in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

FIELDS = ("height", "label", "left", "top", "width")
Box = tuple[float, float, float, float, int]  # left, top, width, height, label


def write_digit_struct(path: Path, numbers: Mapping[str, Sequence[Box]]) -> None:
    """As MATLAB 7.3 writes it: a field of one box is a number, of several a column of references to numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        count = 0

        def referred(values: np.ndarray) -> h5py.Reference:
            nonlocal count
            count += 1
            return references.create_dataset(f"v{count}", data=values).ref

        names, groups = [], []
        for name, boxes in numbers.items():
            names.append(referred(np.array([[ord(letter)] for letter in name], np.uint16)))
            group = references.create_group(f"b{len(groups)}")
            groups.append(group.ref)
            columns = dict(zip(("left", "top", "width", "height", "label"), zip(*boxes, strict=True), strict=False))
            for field in FIELDS if boxes else ():
                values = columns[field]
                if len(values) == 1:
                    group.create_dataset(field, data=np.array([[values[0]]], np.float64))
                else:
                    column = [[referred(np.array([[value]], np.float64))] for value in values]
                    group.create_dataset(field, data=np.array(column, h5py.ref_dtype), dtype=h5py.ref_dtype)
        struct = file.create_group("digitStruct")
        for field, column in [("name", names), ("bbox", groups)]:
            data = np.array(column, h5py.ref_dtype).reshape(-1, 1)
            struct.create_dataset(field, data=data, dtype=h5py.ref_dtype)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))  # what stands in the user block


def ramp(width: int, height: int) -> np.ndarray:
    """A photograph whose red grows by 2 a column, green by 3 a row and whose blue is 7 everywhere."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([2 * columns, 3 * rows, np.full_like(rows, 7)], 2).astype(np.uint8)


def write_photographs(folder: Path, numbers: Mapping[str, Sequence[Box]], width: int = 100, height: int = 60) -> None:
    """A folder as the publisher's archive unpacks to; the photographs are ramps."""
    folder.mkdir(parents=True)
    for name in numbers:
        Image.fromarray(ramp(width, height)).save(folder / name)
    write_digit_struct(folder / "digitStruct.mat", numbers)
