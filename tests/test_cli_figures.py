"""`drawnet figures` as a person meets it, with tiny weights in the place of shipped ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import drawnet.data
from drawnet import checkpoint as checkpoints
from drawnet.checkpoint import Trained, write_model
from drawnet.cli import main, paper_figures
from drawnet.cli.paper_figures import FIGURES
from drawnet.data import Dataset, Split, cluttered_mnist
from drawnet.data.labelled import LabelledDataset
from drawnet.figures.sequence import drawing_sequence
from drawnet.models.draw import DrawConfig
from drawnet.models.glimpse_classifier import GlimpseClassifierConfig
from drawnet.models.registry import ClassifierConfig, ModelConfig, build_classifier, build_model
from drawnet.models.vae import VAEConfig
from drawnet.presets import RunConfig
from test_cli import fails

GREY = {"num_glimpses": 3, "hidden_size": 4, "latent_size": 2}
MODELS: dict[str, tuple[str, ModelConfig | ClassifierConfig]] = {
    "mnist": ("mnist", DrawConfig(**GREY)),
    "mnist-no-attention": ("mnist", DrawConfig(**GREY, read_size=None, write_size=None)),
    "mnist-two-digits": ("mnist-two-digits", DrawConfig(60, 60, **GREY)),
    "svhn": ("svhn", DrawConfig(54, 54, 3, **GREY)),
    "cifar10": ("cifar10", DrawConfig(32, 32, 3, **GREY)),
    "cluttered-100-glimpses-8": (
        "cluttered-mnist-100",
        GlimpseClassifierConfig(num_glimpses=2, hidden_size=4),
    ),
}
METRICS = [
    {"kind": "validation", "update": update, "nats": {"mean": 200.0 - update, "standard_error": 1.0}}
    for update in (1, 2, 3)
]
ALL = {
    "1": ["figure-1.png"],
    "3": ["figure-3.png"],
    "4": ["figure-4.png"],
    "5": ["figure-5.png"],
    "6": ["figure-6.png", "figure-6-distances.png", "figure-6-distances.json"],
    "7": ["figure-7.png"],
    "8": ["figure-8.png", "figure-8.json"],
    "9": ["figure-9.png", "figure-9-distances.png", "figure-9-distances.json"],
    "10": ["figure-10.png", "figure-10-reading.png"],
    "11": ["figure-11.png"],
    "12": ["figure-12.png", "figure-12-distances.png", "figure-12-distances.json"],
    "video": ["drawing.gif", "drawing.webp", "reading.gif", "reading.webp"],
}


def tiny_dataset(name: str) -> Dataset:
    """Noise of the data set's size."""
    shape = {"mnist": (1, 28, 28), "svhn": (3, 54, 54), "cifar10": (3, 32, 32)}[name]
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (30, *shape), generator=generator, dtype=torch.uint8)
    binarization = "sampled" if name == "mnist" else None
    splits = (Split(part, 255, resample=name == "mnist") for part in images.split(10))
    return Dataset(name, *splits, binarization=binarization)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of untrained networks, by the names that are shipped."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, (dataset, config) in MODELS.items():
        model = build_classifier(config) if isinstance(config, ClassifierConfig) else build_model(config)
        (folder / name).mkdir()
        write_model(folder / name, model, RunConfig(dataset, model=config), Trained(1, 1.0, 1))
        (folder / name / "metrics.jsonl").write_text("\n".join(map(json.dumps, METRICS)) + "\n")
    return folder


@pytest.fixture(scope="module")
def cluttered() -> LabelledDataset:
    return cluttered_mnist.load_cluttered_mnist("cluttered-mnist-100")


@pytest.fixture(autouse=True)
def small(weights: Path, cluttered: LabelledDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, number in (("COMPARED", 8), ("COUNTED", 12), ("ANIMATED", 4), ("ROWS", 2), ("READ", 2)):
        monkeypatch.setattr(paper_figures, f"NUM_{name}", number)
    monkeypatch.setattr(paper_figures, "NUM_SAMPLES", {1: 4, 3: 4})
    monkeypatch.setattr(drawnet.data, "load_dataset", lambda name, *_: tiny_dataset(name))
    monkeypatch.setattr(cluttered_mnist, "load_cluttered_mnist", {cluttered.name: cluttered}.__getitem__)
    ship(monkeypatch, weights, *MODELS)


def ship(monkeypatch: pytest.MonkeyPatch, weights: Path, *names: str) -> None:
    monkeypatch.setattr(checkpoints, "shipped_models", lambda: {name: weights / name for name in names})


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Figure -> what its line says."""
    assert main(["figures", *arguments]) == 0
    return {
        title.removeprefix("figure "): rest
        for title, rest in (line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    }


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(float)


def test_with_all_weights_all_figures_are_made_and_none_is_blank(capsys: pytest.CaptureFixture[str]) -> None:
    said = lines(capsys)
    assert list(said) == list(ALL) == list(FIGURES)
    for name, files in ALL.items():
        for file in files:
            assert str(Path("docs/figures") / file) in said[name]
            if not file.endswith(".json"):
                assert pixels(f"docs/figures/{file}").std() > 5
    assert sorted(path.name for path in Path("docs/figures").iterdir()) == sorted(
        file for files in ALL.values() for file in files
    )
    assert "median distance to the nearest training image: samples" in said["6"]
    assert "neighbours left out" not in said["6"]
    assert all("neighbours left out (see --with-neighbours)" in said[name] for name in ("9", "12"))
    assert said["10"].endswith("it reads its own drawings)")
    count = json.loads(Path("docs/figures/figure-8.json").read_text())
    assert count["num_drawings"] == 12
    assert count["command"] == "drawnet figures"
    assert "drawings" in said["8"]


def test_the_same_seed_gives_the_same_files(capsys: pytest.CaptureFixture[str]) -> None:
    some = ("6", "8", "11", "video")  # an example of every kind of file
    for out in ("a", "b"):
        lines(capsys, "--out", out, "--only", *some)
    for name in some:
        for file in ALL[name]:
            a, b = ((Path(out) / file).read_bytes() for out in "ab")
            assert a.replace(b"--out a", b"--out b") == b, file
    lines(capsys, "--out", "c", "--seed", "1", "--only", "6")
    assert Path("a/figure-6.png").read_bytes() != Path("c/figure-6.png").read_bytes()


def test_only_some_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(lines(capsys, "--only", "4", "1")) == ["1", "4"]
    assert sorted(path.name for path in Path("docs/figures").iterdir()) == ["figure-1.png", "figure-4.png"]


def test_without_weights_it_says_which(
    capsys: pytest.CaptureFixture[str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, weights)
    said = lines(capsys)
    made = {name for name, line in said.items() if not line.startswith("skipped")}
    assert made == {"3", "4"}
    assert said["1"] == "skipped, weights mnist and mnist-quick are not shipped yet"
    assert said["7"] == "skipped, weights mnist-no-attention are not shipped yet"
    assert said["9"] == said["10"] == "skipped, weights svhn are not shipped yet"
    assert said["12"] == "skipped, weights cifar10 are not shipped yet"


def test_other_weights_stand_in_and_are_named(
    capsys: pytest.CaptureFixture[str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "shipped_models", lambda: {"mnist-quick": weights / "mnist"})
    said = lines(capsys, "--only", "1", "11")
    assert said["1"].endswith("(of mnist-quick; mnist not shipped yet)")
    assert said["11"].endswith("(of mnist-quick; svhn and mnist not shipped yet)")


def test_a_run_of_ones_own_stands_in_for_weights_that_are_not_shipped(
    capsys: pytest.CaptureFixture[str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, weights, "mnist")
    for run, model in (("svhn", "svhn"), ("mnist", "cifar10")):  # what is shipped comes first
        shutil.copytree(weights / model, Path("own", run, "checkpoints", "00000001"))
        shutil.copy(weights / model / "metrics.jsonl", Path("own", run))
    said = lines(capsys, "--runs", "own", "--only", "1", "9", "11", "12")
    assert said["1"].endswith("(of mnist)")
    assert "(of the run own/svhn; median distance" in said["9"]
    assert said["11"].endswith("(of the run own/svhn)")
    assert said["12"] == "skipped, weights cifar10 are not shipped yet"
    assert json.loads(Path("docs/figures/figure-9-distances.json").read_text())["model"] == "svhn"


def test_a_run_of_another_model_is_refused(
    capsys: pytest.CaptureFixture[str], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, weights)
    config = VAEConfig()
    folder = Path("own/mnist/checkpoints/00000001")
    folder.mkdir(parents=True)
    write_model(folder, build_model(config), RunConfig("mnist", model=config), Trained(1, 1.0, 1))
    assert "is not a DRAW network" in fails(capsys, "figures", "--runs", "own", "--only", "1")


def test_without_data_the_rest_is_made(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str, *_: object) -> Dataset:
        raise FileNotFoundError(f"{name} has not been fetched")

    monkeypatch.setattr(drawnet.data, "load_dataset", nothing)
    said = lines(capsys, "--only", "9", "10", "video")
    assert said["9"].endswith("no nearest images, data set svhn is not there)")
    assert said["video"].endswith("without reading, data set mnist is not there)")
    assert not Path("docs/figures/figure-9-distances.png").exists()
    assert not Path("docs/figures/reading.gif").exists()


def test_images_that_may_not_be_published_are_shown_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    lines(capsys, "--only", "6", "9", "10", "--out", "without")
    said = lines(capsys, "--only", "6", "9", "10", "--out", "with", "--with-neighbours")
    without, with_neighbours = (pixels(f"{out}/figure-9.png") for out in ("without", "with"))
    assert with_neighbours.shape[1] > without.shape[1]  # one column more
    np.testing.assert_array_equal(pixels("without/figure-6.png"), pixels("with/figure-6.png"))
    assert "left out" not in said["9"]
    assert said["10"].endswith("it reads test images)")
    assert (pixels("without/figure-10.png") == pixels("with/figure-10.png")).all()
    assert (pixels("without/figure-10-reading.png") != pixels("with/figure-10-reading.png")).any()


def test_figure_1_is_what_the_model_draws(capsys: pytest.CaptureFixture[str], weights: Path) -> None:
    lines(capsys, "--only", "1", "--seed", "5")
    model = checkpoints.read_checkpoint(weights / "mnist").load_model()
    page = drawing_sequence(model.sample(2, generator=torch.Generator().manual_seed(5)))
    np.testing.assert_array_equal(pixels("docs/figures/figure-1.png"), np.asarray(page))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--only 2", "--only is '2': the figures are 1, 3, 4"),
        ("--only 1 x", "--only is 'x'"),
        ("--runs nowhere", "--runs is 'nowhere': there is no such folder"),
        ("--threads 0", "--threads is 0"),
        ("--device nowhere", "--device is 'nowhere'"),
        ("--out file/figures --only 4", "file"),
        ("--wrong", "--wrong"),
    ],
)
def test_bad_input_is_told_in_two_lines(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert message in fails(capsys, "figures", *arguments.split())
