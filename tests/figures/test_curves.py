from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from drawnet.figures.curves import kl_per_step, read_metrics, training_curves, validation_curves


def _train(update, nats):
    return {"kind": "train", "update": update, "nats": nats, "parts": {"reconstruction": nats - 20, "kl": 20.0}}


def _validation(update, nats):
    return {"kind": "validation", "update": update, "nats": {"mean": nats, "standard_error": 0.4}}


def _assert_is_a_picture(path):
    with Image.open(path) as image:
        assert image.size[0] > 500
        assert np.asarray(image.convert("L")).std() > 5


RUN = [_train(update, 90 + 400 / update) for update in range(1, 1001)] + [_validation(500, 92.0), _validation(999, 91)]


@pytest.mark.parametrize(
    "metrics",
    [
        RUN,
        [_train(1, 540.0)],
        [_validation(10, 100.0)],
        [_train(1, float("nan")), _train(2, 80.0) | {"nats": None, "parts": {"pixels": 3.0}}],
        [{"kind": "train", "update": 5, "nats": 3.0, "parts": {"pixels": 3.0}}, {"kind": "other"}],
    ],
)
def test_curves_of_any_run(metrics, tmp_path):
    training_curves(metrics, tmp_path / "new" / "curves.png")
    _assert_is_a_picture(tmp_path / "new" / "curves.png")


def test_equal_metrics_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        training_curves(RUN, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_to_plot_is_said(tmp_path):
    with pytest.raises(ValueError, match="nothing to plot"):
        training_curves([{"kind": "other"}], tmp_path / "a.png")


def test_bars_of_kl(tmp_path):
    kl_per_step({"kl_per_step": [3.0, 2.0, 0.5]}, tmp_path / "kl.png")
    _assert_is_a_picture(tmp_path / "kl.png")
    for report in ({}, {"kl_per_step": None}):
        with pytest.raises(ValueError, match="kl_per_step"):
            kl_per_step(report, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_metrics_are_read_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RUN))
    assert read_metrics(path) == RUN


@pytest.mark.parametrize("line", ['{"kind": "tra', "", "[1, 2]"])
def test_a_broken_line_is_named(line, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"kind": "train"}}\n{line}\n{{}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_metrics(path)


def test_runs_beside_each_other(tmp_path):
    validation_curves({"plain": RUN, "mixed": [_validation(500, 93.0), _validation(999, 92)]}, tmp_path / "runs.png")
    _assert_is_a_picture(tmp_path / "runs.png")
    with pytest.raises(ValueError, match="mixed has no record"):
        validation_curves({"plain": RUN, "mixed": [_train(1, 3.0)]}, tmp_path / "none.png")
    with pytest.raises(ValueError, match="runs is empty"):
        validation_curves({}, tmp_path / "none.png")
