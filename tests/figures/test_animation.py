from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.figures.animation import (
    HOLD_MS,
    animation_pages,
    reading_pages,
    save_animation,
    save_reading_animation,
    step_durations,
)
from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, draw_window, to_pictures
from drawnet.figures.sheet import arrange


def _played(path):
    """The frames of a file in RGB, and their milliseconds."""
    frames, durations = [], []
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            frames.append(np.asarray(image.convert("RGB")).astype(int))
            durations.append(image.info["duration"])
    return frames, durations


@pytest.mark.parametrize("channels", [1, 3])
def test_both_files_play_every_step_and_hold_the_last(channels, make_frames, tmp_path):
    images = torch.rand(3, channels, 10, 14, generator=torch.Generator().manual_seed(0))
    frames = make_frames(5, images)
    pages = [np.asarray(page).astype(int) for page in animation_pages(frames)]
    save_animation(iter(frames), tmp_path / "new" / "a.gif", tmp_path / "new" / "a.webp")
    for name, tolerance in (("a.gif", 5), ("a.webp", 0)):
        played, durations = _played(tmp_path / "new" / name)
        assert durations == step_durations(5)
        assert durations[-1] == HOLD_MS
        for page, frame in zip(pages, played, strict=True):
            assert page.std() > 10
            assert abs(page - frame).mean() <= tolerance
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_grey_gif_keeps_the_grey_values(make_frames, tmp_path):
    image = torch.linspace(0, 1, 28 * 28).reshape(1, 1, 28, 28)
    frames = make_frames(2, image, with_windows=False)
    save_animation(frames, tmp_path / "a.gif", tmp_path / "a.webp")
    played, _ = _played(tmp_path / "a.gif")
    final = np.asarray(animation_pages(frames)[-1]).astype(int)
    assert abs(final - played[-1]).max() <= 1


def test_equal_frames_give_equal_bytes(grey, make_frames, tmp_path):
    for name in ("a", "b"):
        save_animation(make_frames(3, grey), tmp_path / f"{name}.gif", tmp_path / f"{name}.webp")
    for suffix in ("gif", "webp"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("num_steps", [10, 32, 64, 128])
def test_a_drawing_takes_two_to_four_seconds(num_steps):
    *steps, hold = step_durations(num_steps)
    assert 2000 <= sum(steps) <= 4000
    assert len(steps) == num_steps
    assert hold == HOLD_MS


def test_no_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frames is empty"):
        save_animation([], tmp_path / "a.gif", tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_reading_is_above_and_drawing_below(channels, make_frames, tmp_path):
    x = torch.rand(3, channels, 12, 12, generator=torch.Generator().manual_seed(0))
    frames = make_frames(4, x.flip(0))
    pages = reading_pages(x, iter(frames))
    sheet = arrange(2, 3, 84, 84)
    assert len(pages) == 5
    inputs, scale = to_pictures(x, 7), 7
    for page, frame in zip(pages, frames, strict=False):
        canvases = to_pictures(frame.canvas, scale)
        for i, left in enumerate(sheet.left):
            above, below = (np.asarray(page)[top : top + 84, left : left + 84] for top in sheet.top)
            np.testing.assert_array_equal(above, draw_window(inputs[i], frame.read, i, READ_COLOUR, scale))
            np.testing.assert_array_equal(below, draw_window(canvases[i], frame.write, i, WRITE_COLOUR, scale))
    last = np.asarray(pages[-1])
    np.testing.assert_array_equal(last[sheet.top[0] :, sheet.left[0] :][:84, :84], inputs[0])

    save_reading_animation(x, frames, tmp_path / "a.gif", tmp_path / "a.webp")
    for name, tolerance in (("a.gif", 8), ("a.webp", 0)):  # noise has more than 256 colours
        played, durations = _played(tmp_path / name)
        assert durations == step_durations(4)
        for page, frame in zip(pages, played, strict=True):
            assert abs(np.asarray(page).astype(int) - frame).mean() <= tolerance


@pytest.mark.usefixtures("unchecked_shapes")
def test_reading_of_other_images_is_refused(grey, make_frames):
    with pytest.raises(ValueError, match="x has shape"):
        reading_pages(grey[:1], make_frames(2, grey))
    with pytest.raises(ValueError, match="frames is empty"):
        reading_pages(grey, [])
