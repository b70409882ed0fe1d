from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.lines import Line2D
from PIL import Image

from drawnet.figures.bounds import STYLES, Panel, _figure, bound_curves

# Methods and splits at different heights, so that no line can stand in for another.
CURVES = {
    label: [(100, -900.0 - i), (1000, -150.0 - i), (10_000, -110.0 - i), (50_000, -100.0 - i)]
    for i, label in enumerate(STYLES)
}


def drawn_points(line: Line2D) -> list[tuple[float, float]]:
    return [(x, y) for x, y in np.asarray(line.get_xydata()).tolist()]


def test_every_curve_is_drawn_where_its_points_are():
    second = {label: [(samples, bound - 20) for samples, bound in points] for label, points in CURVES.items()}
    panels = [Panel("three", CURVES), Panel("five", second)]
    axes = _figure(panels).axes
    assert [axis.get_title() for axis in axes] == ["three", "five"]
    for axis, panel in zip(axes, panels, strict=True):
        assert axis.get_xscale() == "log"
        assert axis.get_xlabel() == "training samples evaluated"
        drawn = {line.get_label(): drawn_points(line) for line in axis.get_lines()}
        assert drawn == panel.curves
        looks = {line.get_label(): (line.get_color(), line.get_linestyle()) for line in axis.get_lines()}
        assert looks == STYLES
        assert len(set(looks.values())) == len(STYLES)
    assert axes[0].get_ylabel() == "bound, nats per data point"


def test_the_legend_names_each_line_once():
    figure = _figure([Panel("a", CURVES), Panel("b", {"AEVB (test)": CURVES["AEVB (test)"]})])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(STYLES)


def test_panels_share_a_y_axis_that_fits_the_late_points_higher_is_higher():
    lower = {label: [(samples, bound - 20) for samples, bound in points] for label, points in CURVES.items()}
    axes = _figure([Panel("a", CURVES), Panel("b", lower)]).axes
    assert axes[0].get_ylim() == axes[1].get_ylim()
    low, high = axes[0].get_ylim()
    assert -150 < low < -133  # the late points go from -100 down to -133; -150 is early
    assert -100 < high < -90


def test_a_curve_that_went_astray_does_not_flatten_the_others():
    astray = CURVES | {"wake-sleep (train)": [(100, -900.0), (10_000, -4000.0), (50_000, -2927.8)]}
    expected = _figure([Panel("a", CURVES)]).axes[0].get_ylim()
    good, bad = _figure([Panel("a", CURVES), Panel("b", astray)]).axes
    assert good.get_ylim() == bad.get_ylim() == expected
    assert [text.get_text() for text in bad.texts] == ["wake-sleep (train) below, at -2,928"]
    assert [text.get_text() for text in good.texts] == [""]


def test_points_that_are_not_finite_are_left_out():
    points = [(100, -math.inf), (1000, -120.0), (5000, math.nan), (9000, -110.0)]
    (axis,) = _figure([Panel("a", {"AEVB (train)": points, "AEVB (test)": [(9000, math.nan)]})]).axes
    (line,) = axis.get_lines()
    assert drawn_points(line) == [(1000, -120), (9000, -110)]
    assert all(map(math.isfinite, axis.get_ylim()))
    _figure([Panel("nothing finite", {"AEVB (test)": [(9000, math.nan)]})])


def test_the_file_is_a_picture_and_the_same_every_time(tmp_path):
    for name in ("a", "b"):
        bound_curves([Panel("a", CURVES)], tmp_path / "new" / f"{name}.png")
    with Image.open(tmp_path / "new" / "a.png") as image:
        assert image.size[0] > 500
        assert np.asarray(image.convert("L")).std() > 5
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize(
    ("curves", "message"),
    [
        ({"VAE": [(1, 0.0)]}, "'VAE': the labels are 'AEVB"),
        ({"AEVB (train)": [(0, 0.0)]}, "samples must be 1 or more"),
        ({"AEVB (train)": []}, "curves of 'title' has no point"),
        ({}, "curves of 'title' has no point"),
    ],
)
def test_a_panel_that_cannot_be_drawn_is_refused(curves, message):
    with pytest.raises(ValueError, match=message):
        Panel("title", curves)


def test_no_panels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="panels is empty"):
        bound_curves([], tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
