"""The scripts in examples/ run, made small."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.data import Split, load_dataset
from drawnet.evaluate import evaluate
from drawnet.figures.bounds import STYLES
from drawnet.models.vae import VAEConfig
from drawnet.presets import RunConfig, for_images, freyfaces_vae, mnist_vae
from drawnet.run import new_model
from drawnet.train import Training
from scripts import load_script

BATCH = 40  # all training images: 50, of which a tenth validates and a tenth tests
SEED = 3


@pytest.fixture(scope="module")
def vae_figures() -> ModuleType:
    return load_script("examples/vae_figures.py")


def array_file(folder: Path, kind: str) -> Path:
    values = np.random.default_rng(0).random((50, 6, 5)).astype(np.float32)
    np.savez(folder / "tiny.npz", images=values > 0.7 if kind == "bits" else values)
    return folder / "tiny.npz"


def learned_apart(path: Path, preset: RunConfig, latents: int, updates: int, objective: str) -> dict[str, float]:
    """The bound after so many updates of all training images, by the package alone."""
    data = load_dataset(str(path))
    training = dataclasses.replace(preset.training, epochs=updates, seed=SEED, objective=objective)
    model = dataclasses.replace(preset.model, latent_size=latents)
    config = for_images(dataclasses.replace(preset, model=model, training=training), data)
    trained = Training(new_model(config, data), data.train, config.training)
    for _ in range(updates):
        trained.step()
    bounds = {}
    for name in ("train", "test"):
        split: Split = getattr(data, name)
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
        shuffled = dataclasses.replace(split, images=split.images[order])
        bounds[name] = -evaluate(trained.averaged_model, shuffled, seed=SEED).nats.mean
    return bounds


@pytest.mark.parametrize(
    ("kind", "preset", "asked", "latents"),
    [("bits", mnist_vae(), "--latents 3", [3]), ("intensities", freyfaces_vae(), "", [2, 5, 10, 20])],
)
def test_vae_figures(
    kind: str, preset: RunConfig, asked: str, latents: list[int], vae_figures: ModuleType, tmp_path: Path
) -> None:
    path, out, updates = array_file(tmp_path, kind), tmp_path / "out", 4
    flags = f"--dataset {path} --samples {updates * BATCH + 5} --seed {SEED} --out {out} {asked}".strip()
    vae_figures.main(flags.split())

    assert {file.name for file in out.iterdir()} == {"figure2.png", "figure2.json", "figure4.png", "figure5.png"}
    for name in ("figure2.png", "figure4.png", "figure5.png"):
        with Image.open(out / name) as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 1

    content = json.loads((out / "figure2.json").read_text())
    assert content["command"] == f"python examples/vae_figures.py {flags}"
    assert content["num_images"] == {"train": 40, "test": 5}
    assert isinstance(preset.model, VAEConfig)
    assert content["model"]["decoder"] == preset.model.decoder
    assert content["model"]["hidden_size"] == preset.model.hidden_size
    assert [panel["latents"] for panel in content["panels"]] == latents
    for panel in content["panels"]:
        assert panel["curves"].keys() == STYLES.keys()
        for points in panel["curves"].values():
            samples = [point["samples"] for point in points]
            assert samples == sorted(set(samples))
            assert samples[0] == BATCH
            assert samples[-1] == updates * BATCH
            assert all(point["standard_error"] > 0 for point in points)

    for method, objective in (("AEVB", "likelihood"), ("wake-sleep", "wake-sleep")):
        expected = learned_apart(path, preset, latents[-1], updates, objective)
        for split, bound in expected.items():
            last = content["panels"][-1]["curves"][f"{method} ({split})"][-1]
            assert last["bound"] == pytest.approx(bound, rel=1e-5)


def test_a_subset_is_drawn_from_all_over_the_split(vae_figures: ModuleType) -> None:
    """The test images of binarized-mnist are sorted."""
    split = Split(torch.arange(10_000).remainder(256).to(torch.uint8).view(-1, 1, 1, 1), max_value=255)
    sorted_split = dataclasses.replace(split, images=split.images.sort(dim=0).values)
    chosen = vae_figures.some(sorted_split)
    assert len(chosen) == 1000
    assert chosen.max_value == 255
    assert abs(chosen.images.double().mean() - 127.5) < 4 * 74 / 1000**0.5  # sigma of 0..255 is 74
    assert len(chosen.images.unique()) > 240


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (f"--samples {BATCH - 1}", "--samples is 39: it must be at least one batch, 40"),
        ("--latents 0", "latent_size is 0"),
        ("--threads 0", "--threads is 0"),
        ("--latent two", "--latent"),
        ("--dataset nothing", "no data set, folder or array file 'nothing'"),
    ],
)
def test_vae_figures_says_what_is_wrong(flags: str, message: str, vae_figures: ModuleType, tmp_path: Path) -> None:
    path, out = array_file(tmp_path, "bits"), tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        vae_figures.main(["--dataset", str(path), "--out", str(out), *flags.split()])
    assert not list(out.glob("*"))


def test_a_folder_that_cannot_be_is_refused_before_the_training(vae_figures: ModuleType, tmp_path: Path) -> None:
    path = array_file(tmp_path, "bits")
    with pytest.raises(FileExistsError):
        vae_figures.main(["--dataset", str(path), "--samples", str(10**9), "--out", str(path)])
