from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.figures.animation import HOLD_MS, animation_pages, save_animation, step_durations


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
