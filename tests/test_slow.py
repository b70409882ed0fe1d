"""Checks that take minutes: `make test-slow`."""

import json

import pytest

from drawnet.checkpoint import find_checkpoint
from drawnet.data import load_dataset
from drawnet.evaluate import evaluate
from drawnet.presets import mnist
from drawnet.run import new_model
from drawnet.train import Training

pytestmark = pytest.mark.slow


def test_the_shipped_weights_score_their_report_on_the_whole_test_split() -> None:
    checkpoint = find_checkpoint("mnist-quick")
    report = json.loads((checkpoint.path / "report.json").read_text())
    result = evaluate(checkpoint.load_model(), load_dataset("mnist").test)
    assert result.num_images == report["num_images"] == 10_000
    assert result.nats.mean == pytest.approx(report["nats"]["mean"], abs=0.01)
    assert result.kl_per_step == pytest.approx(report["kl_per_step"], abs=0.01)


def test_the_papers_network_sees_the_image_from_the_start() -> None:
    """With zero biases it stays at the entropy of the mean image, 206 nats, for hundreds of updates."""
    config, data = mnist(), load_dataset("mnist")
    training = Training(new_model(config, data), data.train, config.training)
    nats = [training.step().nats for _ in range(150)]
    assert sum(nats[-20:]) / 20 < 195
