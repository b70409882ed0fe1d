"""Presets: the published numbers, and that each one trains."""

import dataclasses
import math

import pytest
import torch

from drawnet.data import ImageOptions, Split, load_dataset
from drawnet.presets import PRESETS, own_images
from drawnet.run import new_model
from drawnet.train import Training


def test_the_mnist_preset_is_the_papers_table_3() -> None:
    model = PRESETS["mnist"]().model
    assert (model.num_glimpses, model.hidden_size, model.latent_size) == (64, 256, 100)
    assert (model.read_size, model.write_size) == (2, 5)
    plain = PRESETS["mnist-no-attention"]().model
    assert dataclasses.replace(plain, read_size=2, write_size=5) == model


def test_the_teaching_preset_is_kothari_2018() -> None:
    config = PRESETS["mnist-kothari"]()
    model, training = config.model, config.training
    assert (model.num_glimpses, model.hidden_size, model.latent_size) == (10, 128, 10)
    assert (model.read_size, model.write_size) == (5, 5)
    assert (training.learning_rate, training.batch_size, training.beta1) == (1e-3, 100, 0.5)
    assert (training.clip, training.clip_norm) == ("per-tensor", 5.0)
    assert (training.final_learning_rate, training.warmup_updates, training.average_decay) == (1.0, 0, 0.0)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_trains(name: str) -> None:
    config = PRESETS[name]()
    data = load_dataset(config.dataset)
    training = Training(new_model(config, data), Split(data.train.images[:300], 255, resample=True), config.training)
    before = [p.detach().clone() for p in training.model.parameters()]
    records = [training.step() for _ in range(2)]
    assert all(math.isfinite(record.nats) for record in records)
    assert 150 < records[0].nats < 600
    assert any(not torch.equal(p, q) for p, q in zip(before, training.model.parameters(), strict=True))


@pytest.mark.parametrize(("side", "grid"), [(8, 2), (28, 5), (54, 10), (64, 12), (200, 12)])
def test_grids_for_ones_own_images_grow_with_the_image(side: int, grid: int) -> None:
    config = own_images("my.npz", ImageOptions(), (3, side // 2, side))
    assert (config.model.read_size, config.model.write_size) == (grid, grid)
    assert (config.model.num_channels, config.model.height, config.model.width) == (3, side // 2, side)
