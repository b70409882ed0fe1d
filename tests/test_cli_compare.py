"""Training, evaluating and comparing every kind of model from the command line."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawnet.checkpoint import find_checkpoint
from drawnet.cli import main
from drawnet.cli.compare import short_names
from drawnet.cli.evaluate import print_report
from drawnet.estimators.posterior_density import posterior_density_log_likelihood
from test_cli import fails
from toy import bars

PLAN = ["--batch-size", "40", "--epochs", "1", "--num-validations", "1", "--threads", "1"]
PIXELS = ["--num-layers", "1", "--hidden-size", "4", "--head-size", "4"]
SMALL = ["--small-num-layers", "1", "--small-hidden-size", "4", "--num-condition-maps", "4"]
MODELS = {
    "pixelcnn": ("mnist-pixelcnn", PIXELS),
    "row": ("mnist-row-lstm", PIXELS),
    "diagonal": ("mnist-diagonal-bilstm", PIXELS),
    "multiscale": ("mnist-multiscale", [*PIXELS, *SMALL]),
    "vae": ("mnist-vae", ["--hidden-size", "4", "--latent-size", "2"]),
}
EXACT = [name for name in MODELS if name != "vae"]
COMPLETION = {"completion.png", "completion.gif", "completion.webp"}
STEPS = {"samples.png", "sequence.png", "drawing.gif", "drawing.webp", "curves.png"}


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of each of MODELS."""
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "bars.npz", x=bars(40, 0).images.bool().numpy())
    for name, (preset, flags) in MODELS.items():
        where = ["--dataset", str(folder / "bars.npz"), "--run-dir", str(folder / name)]
        assert main(["train", preset, *where, "--height", "8", "--width", "8", *PLAN, *flags]) == 0
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_training_leaves_everything_in_the_run_folder(name: str, trained: Path) -> None:
    pictures = {path.name for path in (trained / name / "pictures").iterdir()}
    if name == "vae":
        assert pictures == COMPLETION | {"samples.png", "curves.png", "reconstruction.png", "manifold.png"}
    else:
        assert pictures == COMPLETION | STEPS
    report = json.loads((trained / name / "report.json").read_text())
    assert report["exact"] is (name in EXACT)
    assert (report["pixels"], report["caveat"]) == ("bits", None)
    assert report["binarization"] == "fixed"
    assert report["num_latent_samples"] == (0 if name in EXACT else 1)
    assert report["bits_per_dim"] == pytest.approx(report["nats"]["mean"] / (64 * math.log(2)))
    parts = {"vae": {"reconstruction", "kl"}, "multiscale": {"small", "upsampling"}}.get(name, {"pixels"})
    assert report["parts"].keys() == parts
    assert report["nats"]["mean"] == pytest.approx(sum(report["parts"].values()))
    assert report["kl_per_step"] is report["importance"] is report["annealed"] is report["posterior_density"] is None
    layers = {"row": "row", "diagonal": "diagonal", "multiscale": "pixelcnn"}
    assert getattr(find_checkpoint(str(trained / name)).config.model, "layer", None) == layers.get(name)


def report_nats(run_dir: Path) -> str:
    nats = json.loads((run_dir / "report.json").read_text())["nats"]
    return f"{nats['mean']:.2f} ± {nats['standard_error']:.2f}"


@pytest.mark.parametrize("name", MODELS)
def test_evaluate_says_whether_it_is_exact(name: str, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(trained / name)]) == 0
    out = capsys.readouterr().out
    assert "4 test images" in out
    assert "fixed binarisation" in out
    assert (f"  -log p(x){' ' if name in EXACT else ' <= '}{report_nats(trained / name)} nats") in out
    assert "bits per dimension" in out
    assert "not the compression cost" not in out
    assert main(["evaluate", str(trained / name), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    report = json.loads((trained / name / "report.json").read_text())
    assert result.keys() == report.keys()
    assert result | {"model": 0, "command": 0} == report | {"model": 0, "command": 0}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("flag", ["--importance-samples", "--ais-temperatures", "--posterior-samples"])
def test_estimators_for_latents_are_refused_by_exact_models(
    name: str, flag: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    message = fails(capsys, "evaluate", str(trained / name), flag, "3")
    assert flag.strip("-").replace("-", "_") + " is 3" in message
    assert "has no latents, its nats are exact" in message


def test_the_estimators_of_a_vae(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = partial(posterior_density_log_likelihood, num_burn_in=50)  # of 500
    monkeypatch.setattr("drawnet.evaluate.posterior_density_log_likelihood", quick)
    command = ["evaluate", str(trained / "vae"), "--ais-temperatures", "10", "--ais-chains", "2"]
    command += ["--posterior-samples", "20", "--importance-samples", "3", "--num-images", "2"]
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["annealed"] == {**result["annealed"], "num_temperatures": 10, "num_chains": 2}
    assert result["posterior_density"] == {**result["posterior_density"], "num_samples": 20}
    # Two barely used latents: every estimate is near the bound.
    for key in ("importance", "annealed", "posterior_density"):
        assert result[key].keys() >= {"mean", "standard_error"}
        assert abs(result[key]["mean"] - result["nats"]["mean"]) < 2
    print_report(result)
    out = capsys.readouterr().out
    assert "annealed importance sampling, 10 temperatures, 2 chains" in out
    assert "posterior density, 20 samples" in out
    assert "importance-weighted, k = 3" in out


@pytest.mark.parametrize("name", EXACT)
def test_without_latents_there_is_nothing_to_reconstruct(
    name: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert "only models with latents can reconstruct" in fails(capsys, "reconstruct", str(trained / name))


def test_images_that_do_not_fit_the_model_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    np.save("grey.npy", generator.integers(0, 256, (20, 8, 8), np.uint8))
    np.save("colour.npy", generator.integers(0, 256, (20, 8, 8, 3), np.uint8))
    for preset, flags in MODELS.values():
        command = ["train", preset, *PLAN, *flags, "--dataset"]
        message = fails(capsys, *command, "colour.npy", "--num-channels", "1")
        assert "num_channels is 1, but the images of colour.npy have 3" in message
        assert "width is 6, but the images of grey.npy have 8" in fails(capsys, *command, "grey.npy", "--width", "6")
        if preset != "mnist-vae":
            message = fails(capsys, *command, "grey.npy", "--num-levels", "2")
            assert "num_levels is 2" in message
            assert "256 levels" in message
    assert "num_levels is 257" in fails(capsys, "train", "mnist-pixelcnn", "--num-levels", "257")
    assert "reduction is 3" in fails(capsys, "train", "mnist-multiscale", "--reduction", "3")
    assert {path.name for path in Path.cwd().iterdir()} == {"grey.npy", "colour.npy"}


def test_256_levels_of_colour_train_and_sample(capsys: pytest.CaptureFixture[str]) -> None:
    np.save("colour.npy", np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), np.uint8))
    command = ["train", "mnist-pixelcnn", "--dataset", "colour.npy", "--num-levels", "256", "--run-dir", "run"]
    command += [*PLAN, *PIXELS]
    assert main(command) == 0
    assert "(256 levels)" in capsys.readouterr().out
    report = json.loads(Path("run/report.json").read_text())
    assert (report["exact"], report["pixels"], report["binarization"]) == (True, "256 levels", None)
    assert report["bits_per_dim"] == pytest.approx(report["nats"]["mean"] / (60 * math.log(2)))
    assert abs(report["bits_per_dim"] - 8) < 0.5  # noise, and one update from the start
    assert main(["sample", "run", "--count", "4", "--out", "a"]) == 0
    page = np.asarray(Image.open("a/samples.png")).astype(int)
    assert (np.ptp(page, axis=2) > 20).any()  # colours, not greys


def test_compare_prints_a_table_and_leaves_its_files(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    names = ["vae", "pixelcnn"]
    command = ["compare", *(str(trained / name) for name in names), "--importance-samples", "2"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 test images of ")
    assert lines[0].endswith(", fixed binarisation")
    assert lines[-2:] == [str(Path("compare", file)) for file in ("compare.json", "compare.png")]
    rows = {line.split()[0]: line for line in lines[1:-2]}
    content = json.loads(Path("compare/compare.json").read_text())
    assert [Path(row["model"]).name for row in content["models"]] == names
    for row in content["models"]:
        name = Path(row["model"]).name
        report = json.loads((trained / name / "report.json").read_text())
        assert row["nats"] == report["nats"]
        assert f"{row['nats']['mean']:.2f} ± {row['nats']['standard_error']:.2f}" in rows[name]
        assert f"{row['num_parameters']:,}" in rows[name]
        assert f"{row['bits_per_dim']:.4f}" in rows[name]
        assert row["num_samples"] == 16
        assert row["sample_seconds"] > 0
        assert row["command"].startswith("drawnet compare ")
    assert "upper bound" in rows["vae"]
    assert "exact" in rows["pixelcnn"]
    vae, pixelcnn = content["models"]
    assert vae["importance"]["num_samples"] == 2
    assert pixelcnn["importance"] is None
    assert f"{vae['importance']['mean']:.2f}" in rows["vae"]


def test_compare_prints_one_json_object_and_draws_every_model(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    sizes = []
    for names in (["row"], list(MODELS)):
        command = ["compare", *(str(trained / name) for name in names), "--json", "--num-images", "1"]
        assert main([*command, "--split", "validation", "--out", "new/folder"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content == json.loads(Path("new/folder/compare.json").read_text())
        assert (content["split"], len(content["models"])) == ("validation", len(names))
        assert [row["exact"] for row in content["models"]] == [name in EXACT for name in names]
        assert all(row["num_images"] == 1 for row in content["models"])
        assert all(row["nats"]["standard_error"] is None for row in content["models"])  # of one image there is none
        sizes.append(Image.open("new/folder/compare.png").size)
    assert sizes[0][0] < sizes[1][0]
    assert sizes[0][1] < sizes[1][1]


def test_what_cannot_be_compared_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    row = str(trained / "row")
    message = fails(capsys, "compare", row, "mnist-quick")
    assert "bars.npz, mnist" in message
    assert "--dataset" in message
    assert "at least one MODEL" in fails(capsys, "compare")
    assert "no model 'nothing'" in fails(capsys, "compare", row, "nothing")
    assert "num_images is 0" in fails(capsys, "compare", row, "--num-images", "0")
    assert "x has shape" in fails(capsys, "compare", row, "--dataset", "mnist", "--num-images", "2")
    assert "no data set" in fails(capsys, "compare", row, "--dataset", "mnits")
    assert not Path("compare").exists()


def test_models_that_share_a_last_name_are_told_apart(tmp_path: Path) -> None:
    assert short_names(["runs/a", "b/", "mnist-quick"]) == {"runs/a": "a", "b/": "b", "mnist-quick": "mnist-quick"}
    assert short_names(["x/run", "y/run", "z"]) == {"x/run": "x/run", "y/run": "y/run", "z": "z"}
    assert short_names(["."]) == {".": tmp_path.name}


def test_help_names_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for flag in ("MODEL", "--dataset", "--split", "--importance-samples", "--out", "--json"):
        assert flag in out


def test_models_lists_weights_with_their_nats(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["models", "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["models"]
    tables = []
    for columns in ("80", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert main(["models"]) == 0
        tables.append(" ".join(capsys.readouterr().out.split()))
    for table in tables:
        assert "…" not in table
        for name, report in reports.items():
            assert name in table
            number = 100 * report["error"]["mean"] if "error" in report else report["nats"]["mean"]
            assert f"{number:.2f}" in table
            assert f"{report['num_parameters']:,}" in table
            assert f"{report['updates']:,}" in table
