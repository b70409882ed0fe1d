"""Presets: the published numbers, and that each one trains."""

import dataclasses
import math

import pytest
import torch

from drawnet.data import Dataset, ImageOptions, Split, load_dataset
from drawnet.presets import PRESETS, RunConfig, own_images
from drawnet.run import new_model
from drawnet.train import Training


def test_the_mnist_preset_is_the_papers_table_3() -> None:
    model = PRESETS["mnist"]().model
    assert (model.num_glimpses, model.hidden_size, model.latent_size) == (64, 256, 100)
    assert (model.read_size, model.write_size) == (2, 5)
    plain = PRESETS["mnist-no-attention"]().model
    assert dataclasses.replace(plain, read_size=2, write_size=5) == model


def test_the_colour_presets_are_the_papers_table_3() -> None:
    rows = {}
    for name in ("svhn", "cifar10"):
        config = PRESETS[name]()
        m = config.model
        assert config.dataset == name
        assert (m.num_channels, m.height, m.width) == ((3, 54, 54) if name == "svhn" else (3, 32, 32))
        rows[name] = (m.num_glimpses, m.hidden_size, m.latent_size, m.read_size, m.write_size)
    assert rows == {"svhn": (32, 800, 100, 12, 12), "cifar10": (64, 400, 200, 5, 5)}


def test_presets_are_of_the_shape_of_their_images() -> None:
    shapes = {
        "mnist-two-digits": (1, 60, 60),
        "svhn-digits": (3, 32, 32),
        "omniglot": (1, 28, 28),
        "fashion-mnist": (1, 28, 28),
    }
    for name, shape in shapes.items():
        config = PRESETS[name]()
        assert config.dataset == name
        assert (config.model.num_channels, config.model.height, config.model.width) == shape


def test_the_teaching_preset_is_kothari_2018() -> None:
    config = PRESETS["mnist-kothari"]()
    model, training = config.model, config.training
    assert (model.num_glimpses, model.hidden_size, model.latent_size) == (10, 128, 10)
    assert (model.read_size, model.write_size) == (5, 5)
    assert (training.learning_rate, training.batch_size, training.beta1) == (1e-3, 100, 0.5)
    assert (training.clip, training.clip_norm) == ("per-tensor", 5.0)
    assert (training.final_learning_rate, training.warmup_updates, training.average_decay) == (1.0, 0, 0.0)


def test_the_published_rows_of_the_pixelrnn_paper() -> None:
    models = {name: config().model for name, config in PRESETS.items() if "lstm" in name or "pixelcnn" in name}
    sizes = {name: (m.num_layers, m.hidden_size, m.head_size, m.num_levels) for name, m in models.items()}
    assert sizes == {
        "mnist-pixelcnn": (7, 16, 32, 2),
        "mnist-row-lstm": (7, 16, 32, 2),
        "mnist-diagonal-bilstm": (7, 16, 32, 2),
        "mnist-diagonal-bilstm-1": (1, 32, 32, 2),
        "cifar10-pixelcnn": (15, 128, 1024, 256),
        "cifar10-row-lstm": (12, 128, 1024, 256),
        "cifar10-diagonal-bilstm": (12, 128, 1024, 256),
    }
    for name in models:
        training = PRESETS[name]().training
        assert (training.optimizer, training.batch_size) == ("rmsprop", 16)


def test_the_published_vae() -> None:
    config = PRESETS["mnist-vae"]()
    model = config.model
    assert (model.network, model.hidden_size, model.decoder) == ("mlp", 500, "bernoulli")
    assert model.initialization == "normal"
    training = config.training
    assert (training.optimizer, training.batch_size, training.weight_prior) == ("adagrad", 100, True)
    assert training.learning_rate in (0.01, 0.02, 0.1)
    faces = PRESETS["freyfaces-vae"]().model
    assert (faces.hidden_size, faces.decoder, faces.height, faces.width) == (200, "gaussian", 28, 20)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_trains(name: str) -> None:
    config = PRESETS[name]()
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=2))
    if name.startswith("cifar10-"):  # the published depth takes half a minute
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, num_layers=1))
    data = images_for(config)
    training = Training(new_model(config, data), data.train, config.training)
    before = [p.detach().clone() for p in training.model.parameters()]
    assert math.isfinite(training.step().nats)
    assert any(not torch.equal(p, q) for p, q in zip(before, training.model.parameters(), strict=True))


def images_for(config: RunConfig) -> Dataset:
    """The bundled images, or a few random ones of the shape of those that would have to be fetched."""
    if config.dataset == "mnist":
        data = load_dataset("mnist")
        return dataclasses.replace(data, train=dataclasses.replace(data.train, images=data.train.images[:20]))
    shape = (20, config.model.num_channels, config.model.height, config.model.width)
    generator = torch.Generator().manual_seed(0)
    bits = config.dataset == "binarized-mnist"
    images = torch.randint(0, 2 if bits else 256, shape, dtype=torch.uint8, generator=generator)
    split = Split(images, 1 if bits else 255)
    return Dataset(config.dataset, split, split, split, "fixed" if bits else None)


@pytest.mark.parametrize(("side", "grid"), [(8, 2), (28, 5), (54, 10), (64, 12), (200, 12)])
def test_grids_for_ones_own_images_grow_with_the_image(side: int, grid: int) -> None:
    config = own_images("my.npz", ImageOptions(), (3, side // 2, side))
    assert (config.model.read_size, config.model.write_size) == (grid, grid)
    assert (config.model.num_channels, config.model.height, config.model.width) == (3, side // 2, side)
