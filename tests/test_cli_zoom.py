"""`drawnet zoom` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.cli import main
from drawnet.cli.zoom import ZoomOptions, windows_from
from drawnet.figures.sheet import arrange
from test_cli import fails


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (75, 100, 3), np.uint8)).save("colour.png")
    Image.fromarray(generator.integers(0, 256, (40, 30), np.uint8)).save("grey.png")
    Image.fromarray(generator.integers(0, 256, (300, 200), np.uint8)).save("large.png")


def page(path: str = "zoom.png") -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(("name", "cell"), [("colour", (225, 300)), ("grey", (280, 210)), ("large", (300, 201))])
def test_any_picture_gives_three_rows(name: str, cell: tuple[int, int], capsys: pytest.CaptureFixture) -> None:
    assert main(["zoom", f"{name}.png", "--out", "new/seen.png"]) == 0
    assert page("new/seen.png").shape[:2] == arrange(3, 5, *cell).size[::-1]
    first, *rows, last = capsys.readouterr().out.splitlines()
    assert first.endswith("pixels (height x width)")
    assert len(rows) == 3
    assert last == str(Path("new/seen.png"))
    assert page("new/seen.png").std() > 10


def test_the_same_command_gives_the_same_bytes() -> None:
    for out in ("a.png", "b.png"):
        assert main(["zoom", "colour.png", "--out", out]) == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_options_take_one_value_or_one_a_row() -> None:
    options = ZoomOptions(Path("x"), grid_size=5, center=((3, 4), (5, 6)), stride=(2.0,), gamma=(1.0, 2.0))
    found = windows_from(options, 20, 30)
    assert found.center_x.tolist() == [3, 5]
    assert found.center_y.tolist() == [4, 6]
    assert found.stride.tolist() == [2, 2]
    assert found.sigma.tolist() == [1, 1]
    assert found.gamma.tolist() == [1, 2]
    command = "zoom colour.png --center 20 30 40.5 50 --stride 2 --sigma 1 0.5 --gamma 3 --grid-size 7"
    assert main(command.split()) == 0
    assert page().shape[:2] == arrange(2, 5, 225, 300).size[::-1]


def test_the_first_default_window_spans_the_shorter_side_and_the_next_ones_zoom_in() -> None:
    found = windows_from(ZoomOptions(Path("x")), 75, 100)
    assert (2 * found.half_width).tolist() == pytest.approx([74, 37, 18.5])
    assert torch.equal(found.sigma, found.stride / 2)
    assert set(found.center_x.tolist()) == {50.5}
    assert set(found.center_y.tolist()) == {38.0}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("missing.png", "IMAGE is 'missing.png': there is no such file"),
        ("text.png", "cannot be read as an image"),
        ("colour.png --grid-size 1", "--grid-size is 1: the attention grid needs at least 2 x 2"),
        ("colour.png --grid-size 76", "grid_size is 76: the image is 75 x 100"),
        ("colour.png --sigma -1", "--sigma is -1: it must be a number above 0"),
        ("colour.png --sigma nan", "--sigma is nan"),
        ("colour.png --stride 0", "--stride is 0"),
        ("colour.png --stride 101", "--stride is 101: it must be a number above 0 and at most 100 pixels"),
        ("colour.png --gamma 0", "--gamma is 0"),
        ("colour.png --center inf 3", "--center is inf"),
        ("colour.png --stride 1 2 --sigma 1 2 3", "--stride has 2 values: it must have 1, or 3"),
        ("colour.png --side 1", "--side is 1"),
        ("colour.png --out text.png/zoom.png", "text.png"),
        ("colour.png --out folder", "--out is 'folder': its name must end in .png"),
        ("colour.png --out folder.png", "folder.png"),
        ("colour.png --out zoom.txt", ".txt"),
        ("colour.png --grid 3 --wrong", "--wrong"),
        ("", "IMAGE"),
    ],
)
def test_bad_input_is_told_in_two_lines(command: str, message: str, capsys: pytest.CaptureFixture) -> None:
    Path("text.png").write_text("no picture")
    for folder in ("folder", "folder.png"):
        Path(folder).mkdir()
    assert message in fails(capsys, "zoom", *command.split())
    assert not Path("zoom.png").exists()
    assert not list(Path().rglob(".partial-*"))
