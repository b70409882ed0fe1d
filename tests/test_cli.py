"""The command line as a person meets it: what it writes, and two lines and exit code 2 for what is wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drawnet.checkpoint import find_checkpoint
from drawnet.cli import main
from toy import bars

SMALL = ["--hidden-size", "8", "--latent-size", "2", "--num-glimpses", "3", "--batch-size", "10", "--threads", "1"]
REPORT_KEYS = {
    "model", "dataset", "binarization", "split", "num_images", "exact", "nats", "parts", "kl_per_step", "importance",
    "bits_per_dim", "num_parameters", "updates", "train_seconds", "threads", "command",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    np.savez(folder / "bars.npz", x=bars(80, 0).images.bool().numpy())
    assert main(["train", str(folder / "bars.npz"), "--run-dir", str(folder / "run"), "--epochs", "3", *SMALL]) == 0
    return folder


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Exit code 2, at most two lines, no traceback, nothing on standard output; gives the message."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    message = "\n".join(line for line in err.splitlines() if not line.startswith("training on"))
    assert out == ""
    assert 1 <= len(message.splitlines()) <= 2, message
    assert "Traceback" not in message
    return message


def test_training_leaves_everything_in_the_run_folder(trained: Path) -> None:
    names = {str(p.relative_to(trained / "run")) for p in (trained / "run").rglob("*") if p.is_file()}
    pictures = {"samples.png", "sequence.png", "drawing.gif", "drawing.webp", "reconstruction.png", "curves.png"}
    assert {f"pictures/{name}" for name in pictures} | {"metrics.jsonl", "report.json", "config.json"} <= names
    report = json.loads((trained / "run" / "report.json").read_text())
    assert report.keys() >= REPORT_KEYS
    assert report["split"] == "test"
    assert report["num_images"] == 8
    assert report["binarization"] == "fixed"
    assert report["command"].startswith("drawnet train ")
    assert report["nats"]["mean"] == pytest.approx(sum(report["parts"].values()))


def test_evaluate_prints_one_json_object(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained / "run"), "--json", "--importance-samples", "2"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() >= REPORT_KEYS
    assert result["importance"]["num_samples"] == 2
    report = json.loads((trained / "run" / "report.json").read_text())
    assert result["parts"].keys() == report["parts"].keys()
    assert result["bits_per_dim"] == pytest.approx(result["nats"]["mean"] / (64 * np.log(2)))


def test_evaluate_prints_a_table_for_people(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(trained / "run"), "--split", "validation"]) == 0
    out = capsys.readouterr().out
    assert "8 validation images" in out
    assert "fixed binarisation" in out
    assert "±" in out


def test_sample_is_the_same_for_a_seed(trained: Path) -> None:
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["sample", str(trained / "run"), "--out", out, "--seed", seed, "--count", "5"]) == 0
    for name in ("samples.png", "sequence.png", "drawing.gif", "drawing.webp"):
        a, b, c = (Path(out, name).read_bytes() for out in "abc")
        assert a == b != c
        assert np.asarray(Image.open(Path("a", name)).convert("RGB")).std() > 1


def test_reconstruct_writes_its_sheet(trained: Path) -> None:
    assert main(["reconstruct", str(trained / "run"), "--count", "2"]) == 0
    assert Image.open("pictures/reconstruction.png").width > 100


def test_sampling_without_the_training_images_says_so(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained / "run", "run")
    config = next(Path("run/checkpoints").glob("*/config.json"))
    config.write_text(config.read_text().replace("bars.npz", "gone.npz"))
    assert main(["sample", "run", "--count", "4"]) == 0
    assert "without the nearest training images" in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_pictures_trains(capsys: pytest.CaptureFixture[str]) -> None:
    Path("faces").mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(generator.integers(0, 256, (10, 14, 3), np.uint8)).save(f"faces/{i}.png")
    assert main(["train", "folder:faces", "--epochs", "2", "--read-size", "2", *SMALL]) == 0
    model = find_checkpoint("runs/faces").load_model()
    assert (model.config.num_channels, model.config.height, model.config.width) == (3, 10, 14)
    assert model.config.read_size == 2
    captured = capsys.readouterr()
    assert "not the compression cost" in captured.out  # with the report
    assert "not the compression cost" in " ".join(captured.err.split())  # and before nats are shown for the first time
    report = json.loads(Path("runs/faces/report.json").read_text())
    assert report["bits_per_dim"] is None
    assert "not the compression cost" in report["caveat"]
    assert main(["compare", "runs/faces", "--out", "compared"]) == 0
    assert (
        "intensities: a cross-entropy of intensities, as in the paper: not the compression" in capsys.readouterr().out
    )


def test_ctrl_c_stops_with_a_checkpoint_and_resume_goes_on(trained: Path) -> None:
    command = [sys.executable, "-m", "drawnet", "train", str(trained / "bars.npz"), "--run-dir", "run", *SMALL]
    process = subprocess.Popen([*command, "--epochs", "3000"], stderr=subprocess.PIPE, text=True)
    while not Path("run/metrics.jsonl").exists() or not Path("run/metrics.jsonl").read_text():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "--resume" in err
    stopped = find_checkpoint("run").trained.updates
    assert stopped > 0
    assert Path("run/metrics.jsonl").read_text().endswith("\n")
    process = subprocess.Popen([*command, "--epochs", "3000", "--resume"], stderr=subprocess.PIPE, text=True)
    while json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["update"] <= stopped:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert find_checkpoint("run").trained.updates > stopped


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    check = "import sys; from drawnet.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    for verb in ("train", "evaluate", "sample", "reconstruct", "data", "models"):
        assert f"  {verb} " in result.stdout


@pytest.mark.parametrize("verb", ["evaluate", "sample", "reconstruct", "data", "models"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert f"drawnet {verb}" in capsys.readouterr().out


def test_train_help_lists_the_presets_and_a_preset_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    for preset in ("mnist", "mnist-no-attention", "mnist-quick", "mnist-kothari"):
        assert f"  {preset} " in out
    with pytest.raises(SystemExit):
        main(["train", "mnist", "--help"])
    out = capsys.readouterr().out
    for flag in ("--run-dir", "--minutes", "--epochs", "--seed", "--threads", "--resume", "--num-glimpses"):
        assert flag in out


def test_data_and_models_list_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    names = {d["name"]: d for d in json.loads(capsys.readouterr().out)["datasets"]}
    assert names["mnist"]["status"] == "bundled"
    assert "binarized-mnist" in names
    assert main(["models", "--json"]) == 0
    assert "mnist-quick" in json.loads(capsys.readouterr().out)["models"]
    assert main(["data", "list"]) == main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names)  # on a narrow terminal too
    assert "[svhn" in out  # brackets are not taken for markup


def test_wrong_words_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean train" in fails(capsys, "trian")
    assert "mnist-quick" in fails(capsys, "train", "mnist-quik")
    assert "--hiden-size, 3 (did you mean --hidden-size?)" in fails(capsys, "train", "mnist", "--hiden-size", "3")
    assert "MODEL" in fails(capsys, "evaluate")
    assert "--hidden-size" in fails(capsys, "train", "mnist", "--hidden-size", "many")
    assert "read_size is 1" in fails(capsys, "train", "mnist", "--read-size", "1")
    assert "epochs" in fails(capsys, "train", "mnist", "--epochs", "1", "--minutes", "1")
    assert "nowhere: no such folder" in fails(capsys, "train", "folder:nowhere")
    assert "height is 32" in fails(capsys, "train", "mnist", "--height", "32")
    assert "no model 'nothing'" in fails(capsys, "evaluate", "nothing")
    assert "--split" in fails(capsys, "evaluate", "nothing", "--split", "tset")
    assert "--threads is 0" in fails(capsys, "train", "mnist", "--threads", "0")
    assert "--device is 'gpu'" in fails(capsys, "train", "mnist", "--device", "gpu")
    assert "no data set" in fails(capsys, "data", "get", "mnits").lower()
    assert "NAME" in fails(capsys, "data", "get")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((20, 8, 8), np.nan, np.float32), "NaN"),
        (np.zeros((20, 8, 8), np.int64), "int64"),
        (np.full((20, 8, 8), 2.0, np.float32), "[0, 1]"),
        (np.zeros((0, 8, 8), np.uint8), "0"),
    ],
)
def test_wrong_arrays_are_named(array: np.ndarray, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("wrong.npy", array)
    found = fails(capsys, "train", "wrong.npy")
    assert "wrong.npy" in found
    assert message in found


def test_a_truncated_checkpoint_is_named_and_nothing_is_lost(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "run", "run")
    weights = next(Path("run/checkpoints").glob("*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    assert "model.safetensors is damaged" in fails(capsys, "evaluate", "run")
    resume = ["train", str(trained / "bars.npz"), "--run-dir", "run", "--resume", "--epochs", "3", *SMALL]
    assert "model.safetensors is damaged" in fails(capsys, *resume)
    assert before == {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}


def test_resuming_with_other_settings_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(trained / "bars.npz"), "--run-dir", str(trained / "run")]
    assert "already holds a run" in fails(capsys, *command, "--epochs", "3", *SMALL)
    message = fails(capsys, *command, "--resume", "--learning-rate", "0.5")
    assert "learning_rate is 0.004 there, not 0.5" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("locked").mkdir(mode=0o500)
    command = ["train", str(trained / "bars.npz"), "--run-dir", "locked/run", "--epochs", "1", *SMALL]
    assert "Permission denied" in fails(capsys, *command)


def test_a_file_in_the_way_of_the_run_folder_is_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("mine")
    command = ["train", str(trained / "bars.npz"), "--run-dir", "taken", "--epochs", "1", *SMALL]
    assert "taken" in fails(capsys, *command)
    assert Path("taken").read_text() == "mine"


def test_shipped_weights_draw_and_score_what_their_report_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "mnist-quick", "--count", "16"]) == 0
    capsys.readouterr()
    checkpoint = find_checkpoint("mnist-quick")
    report = json.loads((checkpoint.path / "report.json").read_text())
    assert main(["evaluate", "mnist-quick", "--num-images", "1000", "--json"]) == 0
    nats = json.loads(capsys.readouterr().out)["nats"]
    assert abs(nats["mean"] - report["nats"]["mean"]) < 4 * nats["standard_error"]
    assert torch.isfinite(torch.cat([p.flatten() for p in checkpoint.load_model().parameters()])).all()
