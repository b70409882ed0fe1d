from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import Image

from drawnet.figures.speed import AXES, COLOURS, _bars, _curves, speed_bars, speed_curves

PLAIN = {"mnist": 500.0, "svhn": 3000.0}
FACTORS = {"plain": 1.0, "engine-float32": 2.5, "engine-mixed": 4.5, "jax": 1.3, "products": 9.0}
ROWS = [
    {
        "preset": preset, "work": work, "implementation": name, "ms": plain / factor / share, "ratio_to_plain": factor,
    }
    for preset, plain in PLAIN.items()
    for work, share in (("train", 1), ("evaluate", 4))
    for name, factor in FACTORS.items()
    if (work, name) != ("evaluate", "engine-mixed")
]  # fmt: skip
SCAN = [
    {"preset": "mnist", "work": "train", "implementation": name, "ms": 7 * steps / factor, "num_glimpses": steps}
    for steps in (8, 64, 32)
    for name, factor in FACTORS.items()
]


def test_every_row_is_a_bar_of_its_height_in_its_colour():
    figure = _bars(ROWS)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["train", "evaluate"]
    for axis in figure.axes:
        assert axis.get_yscale() == "log"
        bars = {
            (name, round(bar.get_x() + bar.get_width() / 2)): bar.get_height()
            for name, container in zip(
                [name for name in COLOURS if name != "engine-mixed" or axis is figure.axes[0]],
                [container for container in axis.containers if len(container)],
                strict=True,
            )
            for bar in container
        }
        work = axis.get_title(loc="left")
        expected = {
            (row["implementation"], list(PLAIN).index(row["preset"])): row["ms"] for row in ROWS if row["work"] == work
        }
        assert bars == expected
        assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == list(PLAIN)


def test_the_bars_say_how_many_times_as_fast_and_do_not_overlap():
    axis = _bars(ROWS).axes[0]
    texts = [text.get_text() for text in axis.texts]
    assert texts == [f"{FACTORS[name]:.1f}" for name in COLOURS if name != "plain" for _ in PLAIN]
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for c in axis.containers for bar in c)
    assert all(right <= left for (_, right), (left, _) in itertools.pairwise(edges))
    bottom, top = axis.get_ylim()
    assert bottom == 10  # the fastest takes 14 ms
    assert top > 3000


def test_a_bar_without_plain_beside_it_has_no_number():
    rows = [{**row, "ratio_to_plain": None} for row in ROWS if row["implementation"] == "jax"]
    assert {text.get_text() for axis in _bars(rows).axes for text in axis.texts} == {""}


def test_every_point_of_a_scan_is_on_the_line_of_its_implementation():
    (axis,) = _curves(SCAN, "num_glimpses").axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert axis.get_xlabel() == AXES["num_glimpses"]
    lines = {line.get_label(): (line.get_color(), np.asarray(line.get_xydata()).tolist()) for line in axis.get_lines()}
    assert lines == {
        name: (COLOURS[name], [[steps, 7 * steps / factor] for steps in (8, 32, 64)])
        for name, factor in FACTORS.items()
    }
    assert axis.get_xticks().tolist() == [8, 32, 64]


def test_the_legend_names_each_implementation_once():
    for figure in (_bars(ROWS), _curves(SCAN, "num_glimpses")):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == list(COLOURS)


def test_the_files_are_pictures_and_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        speed_bars(ROWS, tmp_path / "new" / f"{name}-bars.png")
        speed_curves(SCAN, "num_glimpses", tmp_path / "new" / f"{name}-curves.png")
    for kind in ("bars", "curves"):
        with Image.open(tmp_path / "new" / f"a-{kind}.png") as image:
            assert image.size[0] > 500
            assert np.asarray(image.convert("L")).std() > 5
        assert (tmp_path / "new" / f"a-{kind}.png").read_bytes() == (tmp_path / "new" / f"b-{kind}.png").read_bytes()


def test_what_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match="rows is empty"):
        speed_bars([], tmp_path / "a.png")
    with pytest.raises(ValueError, match="rows is empty"):
        speed_curves([], "threads", tmp_path / "a.png")
    with pytest.raises(ValueError, match="field is 'depth': it must be one of num_glimpses, batch_size"):
        speed_curves(SCAN, "depth", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
