from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, to_pictures
from drawnet.figures.sequence import drawing_sequence, reconstruction_sheet, sequences_beside, shown_steps
from drawnet.figures.sheet import arrange
from drawnet.files import save_picture
from drawnet.models.draw import Draw, DrawConfig


def _cells(page, num_rows, num_columns, height, width, rows_in_group):
    """The page cut back into `[row][column]`."""
    sheet = arrange(num_rows, num_columns, height, width, rows_in_group=rows_in_group, last_column_apart=True)
    page = np.asarray(page)
    assert page.shape[:2] == sheet.size[::-1]
    return [[page[top : top + height, left : left + width] for left in sheet.left] for top in sheet.top]


def _holds(cell, colour):
    return (cell == colour).all(2).any()


def test_shown_steps_reach_from_first_to_last():
    assert shown_steps(1) == [1]
    assert shown_steps(12) == list(range(1, 13))
    assert shown_steps(64) == list(range(1, 65, 7))
    for num_steps in range(13, 200):
        steps = shown_steps(num_steps)
        assert (steps[0], steps[-1]) == (1, num_steps)
        assert 9 <= len(steps) <= 12
        assert np.ptp(np.diff(steps)) <= 1


def test_a_sequence_shows_the_writing_and_then_the_picture_alone(make_frames):
    images = torch.rand(2, 1, 28, 14, generator=torch.Generator().manual_seed(0))
    cells = _cells(drawing_sequence(iter(make_frames(5, images))), 2, 6, 140, 70, 1)
    for row, image in zip(cells, to_pictures(images, 5), strict=True):
        assert all(_holds(cell, WRITE_COLOUR) for cell in row[:-1])
        np.testing.assert_array_equal(row[-1], image)


def test_a_reconstruction_shows_reading_above_writing(make_frames):
    x = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    cells = _cells(reconstruction_sheet(x, make_frames(3, x)), 4, 4, 140, 140, 2)
    pictures = to_pictures(x, 5)
    for i in range(2):
        above, below = cells[2 * i], cells[2 * i + 1]
        assert all(_holds(cell, READ_COLOUR) and not _holds(cell, WRITE_COLOUR) for cell in above[:-1])
        assert all(_holds(cell, WRITE_COLOUR) and not _holds(cell, READ_COLOUR) for cell in below[:-1])
        np.testing.assert_array_equal(above[-1], pictures[i])
        np.testing.assert_array_equal(below[-1], pictures[i])


def test_no_attention_no_rectangles(grey, make_frames):
    frames = make_frames(3, grey, with_windows=False)
    for page in (drawing_sequence(frames), reconstruction_sheet(grey, frames)):
        values = np.asarray(page)
        assert (values[:, :, 0] == values[:, :, 1]).all()
        assert values.std() > 10


@pytest.mark.parametrize("sizes", [(2, 3), (None, 3), (2, None)])
def test_a_model_draws_and_reconstructs(sizes):
    torch.manual_seed(0)
    config = DrawConfig(
        8, 10, 1, num_glimpses=3, hidden_size=4, latent_size=2, read_size=sizes[0], write_size=sizes[1]
    )
    model = Draw(config)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 1, 8, 10, generator=generator)
    drawing_sequence(model.sample(2, generator=generator))
    reconstruction_sheet(x, model.reconstruct(x, generator=generator))


def test_equal_frames_give_equal_bytes(colour, make_frames, tmp_path):
    for name in ("a", "b"):
        save_picture(reconstruction_sheet(colour, make_frames(4, colour)), tmp_path / "new" / f"{name}.png")
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    assert len(list((tmp_path / "new").iterdir())) == 2


class HalfWritten(Image.Image):
    def save(self, path, **_):
        path.write_text("half")
        raise OSError("cannot write")


def test_what_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "a.png").write_text("old")
    with pytest.raises(OSError, match="cannot write"):
        save_picture(HalfWritten(), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "old"


@pytest.mark.usefixtures("unchecked_shapes")
def test_no_frames_and_other_images_are_refused(grey, make_frames):
    with pytest.raises(ValueError, match="frames is empty"):
        drawing_sequence([])
    with pytest.raises(ValueError, match="x has shape"):
        reconstruction_sheet(grey[:1], make_frames(2, grey))


def test_sequences_of_models_stand_one_below_the_other(grey, make_frames):
    drawings = {"first": make_frames(3, grey), "second": make_frames(5, grey, with_windows=False)}
    page = np.asarray(sequences_beside(drawings))
    parts = [np.asarray(drawing_sequence(frames)) for frames in drawings.values()]
    assert page.shape[1] == max(part.shape[1] for part in parts)
    band = (len(page) - sum(map(len, parts))) // 2
    top = 0
    for part in parts:
        assert (page[top : top + band] < 200).any()  # its name
        top += band
        np.testing.assert_array_equal(page[top : top + len(part), : part.shape[1]], part)
        top += len(part)
    with pytest.raises(ValueError, match="drawings is empty"):
        sequences_beside({})
