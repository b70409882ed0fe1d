"""digitStruct.mat: boxes as they were written, and crops against numbers computed by hand."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from drawnet.data.digit_struct import DigitBox, HouseNumber, crop_number, crop_rectangle, read_digit_struct

from .svhn_files import ramp, write_digit_struct

NUMBERS = {
    "1.png": [(246.0, 77.0, 81.0, 219.0, 1), (323.0, 81.0, 96.0, 219.0, 9)],
    "2.png": [(77.0, 29.0, 23.0, 32.0, 2)],
    "10.png": [(-1.0, 5.0, 15.0, 15.5, 10), (16.0, 4.0, 17.0, 15.0, 4), (33.0, 3.0, 9.0, 15.0, 7)],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "digitStruct.mat"


def test_one_digit_and_several(path: Path) -> None:
    write_digit_struct(path, NUMBERS)
    assert read_digit_struct(path) == [
        HouseNumber(name, tuple(DigitBox(*box) for box in boxes)) for name, boxes in NUMBERS.items()
    ]


def test_the_rectangle_is_the_box_around_all_digits_grown_by_30_percent() -> None:
    boxes = tuple(DigitBox(*box) for box in NUMBERS["1.png"])
    # Columns 246 to 419, rows 77 to 300: 173 x 223, so that 25.95 and 33.45 are added on each side.
    assert crop_rectangle(boxes, 741, 350) == pytest.approx((220.05, 43.55, 444.95, 333.45))
    assert crop_rectangle(boxes, 430, 320) == pytest.approx((220.05, 43.55, 430, 320))  # as far as the photograph goes
    boxes = tuple(DigitBox(*box) for box in NUMBERS["10.png"])
    # Columns -1 to 42, rows 3 to 20.5.
    assert crop_rectangle(boxes, 100, 22) == pytest.approx((0, 0.375, 48.45, 22))


@pytest.mark.parametrize("box", [(100, 0, 10, 10), (-20, 0, 10, 10), (0, 40, 10, 10), (5, 5, 0, 10), (5, 5, 5, 0)])
def test_boxes_outside_or_empty_are_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="the boxes lie outside the 30 x 90 pixels"):
        crop_rectangle((DigitBox(*box, label=1),), 90, 30)


def test_a_crop_is_the_rectangle_stretched() -> None:
    photograph = Image.fromarray(ramp(100, 60))
    crop = crop_number(photograph, (DigitBox(30, 20, 20, 10, 5), DigitBox(42, 18, 8, 14, 6)))
    assert (crop.shape, crop.dtype) == ((3, 64, 64), np.uint8)
    # Columns 30 to 50, rows 18 to 32; grown to 27 to 53, 15.9 to 34.1. The middle of the crop's pixel k lies at
    # 27 + (k + 1/2) 26/64, where a pixel n of the photograph has its middle at n + 1/2; between, brightness is linear.
    k = np.arange(64) + 0.5
    red = 2 * (27 + k * 26 / 64 - 0.5)
    green = 3 * (15.9 + k * 18.2 / 64 - 0.5)
    assert np.abs(crop[0] - red[None, :]).max() < 0.51
    assert np.abs(crop[1] - green[:, None]).max() < 0.51
    assert (crop[2] == 7).all()


def test_a_shrunk_crop_is_averaged() -> None:
    stripes = np.zeros((200, 640, 3), np.uint8)
    stripes[:, ::2] = 200  # finer than a pixel of the crop
    crop = crop_number(Image.fromarray(stripes), (DigitBox(60, 20, 400, 100, 1),))
    assert np.abs(crop.astype(int) - 100).max() <= 8


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "no struct", "no bbox", "not references"])
def test_damaged_files_are_named(path: Path, damage: str) -> None:
    write_digit_struct(path, NUMBERS)
    data = path.read_bytes()
    if damage in ("truncated", "empty", "text"):
        path.write_bytes(
            {"truncated": data[: len(data) // 2], "empty": b"", "text": b"MATLAB 5.0 MAT-file" * 99}[damage]
        )
    else:
        with h5py.File(path, "r+") as file:
            if damage == "no struct":
                del file["digitStruct"]
            else:
                del file["digitStruct/bbox"]
            if damage == "not references":
                file["digitStruct/bbox"] = np.zeros((3, 1))
    with pytest.raises(ValueError, match=r"digitStruct\.mat cannot be read: .*MATLAB 7\.3"):
        read_digit_struct(path)


def test_photographs_without_boxes_are_named(path: Path) -> None:
    write_digit_struct(path, NUMBERS | {"11.png": []})
    with pytest.raises(ValueError, match=r"digitStruct\.mat: 11\.png has no boxes"):
        read_digit_struct(path)
    write_digit_struct(path, {})
    with pytest.raises(ValueError, match=r"digitStruct\.mat describes no photographs"):
        read_digit_struct(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("delete", r"2\.png has no boxes: there is no width"),
        ("empty", r"2\.png has boxes whose fields are \[0, 1\] long"),
        ("all empty", r"2\.png has no boxes"),
        ("two", r"2\.png has boxes whose fields are \[1, 2\] long"),
    ],
)
def test_incomplete_boxes_are_named(path: Path, change: str, message: str) -> None:
    write_digit_struct(path, {"2.png": NUMBERS["2.png"]})
    with h5py.File(path, "r+") as file:
        group = file[file["digitStruct/bbox"][0, 0]]
        for field in list(group) if change == "all empty" else ["width"]:
            del group[field]
            if change in ("empty", "all empty"):
                group[field] = np.zeros(2, np.uint64)  # MATLAB's way: the sizes, and a mark
                group[field].attrs["MATLAB_empty"] = 1
            elif change == "two":
                group[field] = np.ones((2, 1))
    with pytest.raises(ValueError, match=message):
        read_digit_struct(path)


def test_missing_files_and_modules(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=r"digitStruct\.mat"):
        read_digit_struct(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"digitStruct\.mat cannot be read .*pip install 'drawnet\[svhn\]'"):
        read_digit_struct(path)
