"""Presets of classifiers: the published numbers, and that each one trains."""

import dataclasses
import math
from functools import cache

import pytest

from drawnet.classifier_presets import CLASSIFIER_PRESETS
from drawnet.data.cluttered_mnist import load_cluttered_mnist
from drawnet.data.labelled import LabelledDataset
from drawnet.presets import PRESETS
from drawnet.run import new_classifier
from drawnet.train import Training


def test_the_rows_of_table_1() -> None:
    for t in (4, 8):
        config = CLASSIFIER_PRESETS[f"cluttered-100-glimpses-{t}"]
        model = config.model
        assert config.dataset == "cluttered-mnist-100"
        assert (model.height, model.width, model.num_glimpses) == (100, 100, t)
        assert (model.hidden_size, model.read_size) == (256, 12)
        ram = CLASSIFIER_PRESETS[f"cluttered-100-ram-{t}"].model
        assert (ram.num_glimpses, ram.patch_size, ram.num_scales, ram.hidden_size) == (t, 12, 4, 256)
    assert CLASSIFIER_PRESETS["cluttered-100-conv"].model.height == 100


def test_every_data_set_has_every_model_and_no_name_is_taken() -> None:
    names = {f"{images}-{model}" for images in ("cluttered-100", "cluttered-60", "translated-60")
             for model in ("glimpses-8", "glimpses-4", "ram-8", "ram-4", "conv")}  # fmt: skip
    assert CLASSIFIER_PRESETS.keys() == names
    assert not names & PRESETS.keys()


@cache
def images(name: str) -> LabelledDataset:
    return load_cluttered_mnist(name)


@pytest.mark.parametrize("name", CLASSIFIER_PRESETS)
def test_each_preset_trains(name: str) -> None:
    config = CLASSIFIER_PRESETS[name]
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=2))
    data = images(config.dataset)
    training = Training(new_classifier(config, data), data.train, config.training)
    before = [p.detach().clone() for p in training.model.parameters()]
    assert math.isfinite(training.step().nats)
    assert any((p != q).any() for p, q in zip(before, training.model.parameters(), strict=True))
