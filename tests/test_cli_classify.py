"""`drawnet classify` as a person meets it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawnet.checkpoint import find_checkpoint
from drawnet.cli import main
from drawnet.data import cluttered_mnist
from drawnet.data.mnist import mnist_images_and_labels

SMALL = ["--hidden-size", "8", "--batch-size", "10", "--num-validation-images", "20", "--threads", "1"]
REPORT_KEYS = {
    "model", "dataset", "split", "num_images", "error", "nats", "parts", "estimator", "num_glimpses",
    "num_parameters", "updates", "train_seconds", "threads", "command",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", autouse=True)
def few_digits() -> None:
    """60 training, 30 validation and 40 test digits."""
    with pytest.MonkeyPatch.context() as patch:

        def few(which):
            images, labels = mnist_images_and_labels(which)
            return images[: 90 if which == "train" else 40], labels[: 90 if which == "train" else 40]

        patch.setattr(cluttered_mnist, "mnist_images_and_labels", few)
        patch.setattr(cluttered_mnist, "NUM_TRAIN", 60)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, few_digits: None) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for model in ("glimpses-4", "ram-4", "conv"):
        command = ["classify", "train", f"translated-60-{model}", "--run-dir", str(folder / model), "--epochs", "2"]
        assert main([*command, *SMALL]) == 0
    return folder


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Exit code 2, at most two lines, no traceback, nothing on standard output; gives the message."""
    assert main(["classify", *arguments]) == 2
    out, err = capsys.readouterr()
    message = "\n".join(line for line in err.splitlines() if not line.startswith("training on"))
    assert out == ""
    assert 1 <= len(message.splitlines()) <= 2, message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("model", ["glimpses-4", "ram-4", "conv"])
def test_training_leaves_everything_in_the_run_folder(trained: Path, model: str) -> None:
    names = {str(p.relative_to(trained / model)) for p in (trained / model).rglob("*") if p.is_file()}
    pictures = {"pictures/curves.png"} | ({"pictures/glimpses.png"} if model != "conv" else set())
    assert pictures | {"metrics.jsonl", "report.json", "config.json"} <= names
    assert ("pictures/glimpses.png" in names) == (model != "conv")
    report = json.loads((trained / model / "report.json").read_text())
    assert report.keys() >= REPORT_KEYS
    assert (report["dataset"], report["split"], report["num_images"]) == ("translated-mnist-60", "test", 40)
    assert report["command"].startswith(f"drawnet classify train translated-60-{model} ")
    assert report["updates"] == 12
    error = report["error"]["mean"]
    assert report["error"]["standard_error"] == pytest.approx((error * (1 - error) / 40) ** 0.5)


def test_evaluate_prints_one_json_object_equal_to_the_report(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("glimpses-4", "ram-4", "conv"):
        assert main(["classify", "evaluate", str(trained / model), "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        report = json.loads((trained / model / "report.json").read_text())
        same = REPORT_KEYS - {"model", "command"}
        assert {key: result[key] for key in same} == {key: report[key] for key in same}


def test_evaluate_prints_a_table_for_people(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["classify", "evaluate", str(trained / "glimpses-4"), "--split", "validation", "--num-images", "7"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "7 validation images of translated-mnist-60" in out
    assert " ± " in out
    assert "%" in out
    assert "nats" in out


@pytest.mark.parametrize("model", ["glimpses-4", "ram-4"])
def test_show_draws_the_same_glimpses_every_time(trained: Path, model: str) -> None:
    for out in "ab":
        assert main(["classify", "show", str(trained / model), "--count", "2", "--out", out]) == 0
    a, b = (Path(out, "glimpses.png") for out in "ab")
    assert a.read_bytes() == b.read_bytes()
    page = np.asarray(Image.open(a).convert("RGB")).astype(int)
    assert (page == (32, 196, 92)).all(2).any()
    assert page.std() > 10


def test_other_images_for_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["classify", "train", "cluttered-100-glimpses-4", "--dataset", "cluttered-mnist-60", "--epochs", "0.5"]
    assert main([*command, *SMALL, "--run-dir", "run"]) == 0
    config = find_checkpoint("run", classifier=True).config
    assert (config.dataset, config.model.height, config.model.width) == ("cluttered-mnist-60", 60, 60)


def test_a_finished_run_is_not_overwritten_and_other_settings_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "translated-60-glimpses-4", "--run-dir", str(trained / "glimpses-4")]
    assert "already holds a run" in fails(capsys, *command, "--epochs", "2", *SMALL)
    message = fails(capsys, *command, "--resume", "--learning-rate", "0.5")
    assert "learning_rate is 0.0003 there, not 0.5" in message


def test_resuming_needs_no_settings_and_goes_on(trained: Path) -> None:
    shutil.copytree(trained / "glimpses-4", "run")
    newest = sorted(Path("run/checkpoints").iterdir())[-1]
    assert newest.name == "00000012"
    assert main(["classify", "train", "translated-60-glimpses-4", "--run-dir", "run", "--resume"]) == 0
    assert find_checkpoint("run", classifier=True).trained.updates == 12


def test_ctrl_c_stops_with_a_checkpoint_and_resume_goes_on() -> None:
    command = [sys.executable, "-m", "drawnet", "classify", "train", "translated-60-glimpses-4", "--run-dir", "run"]
    command += [*SMALL, "--num-validations", "0", "--epochs", "300"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not Path("run/metrics.jsonl").exists() or not Path("run/metrics.jsonl").read_text():
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "go on with: drawnet classify train translated-60-glimpses-4 --run-dir run --resume" in err
    stopped = find_checkpoint("run", classifier=True).trained.updates
    assert stopped > 0
    process = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True)
    while json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["update"] <= stopped:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert find_checkpoint("run", classifier=True).trained.updates > stopped


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify"]) == main(["classify", "--help"]) == main(["classify", "train"]) == 0
    out = capsys.readouterr().out
    for word in ("train", "evaluate", "show", "cluttered-100-glimpses-8", "cluttered-60-ram-4", "translated-60-conv"):
        assert f"  {word}" in out
    for arguments in (["evaluate"], ["show"], ["train", "cluttered-100-ram-8"]):
        with pytest.raises(SystemExit) as stop:
            main(["classify", *arguments, "--help"])
        assert stop.value.code == 0
        assert f"drawnet classify {' '.join(arguments)}" in capsys.readouterr().out


def test_wrong_words_are_named(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preset = ["train", "cluttered-100-glimpses-8"]
    assert "did you mean train" in fails(capsys, "trian")
    assert "cluttered-100-glimpses-8" in fails(capsys, "train", "cluttered")
    assert "no preset 'mnist'" in fails(capsys, "train", "mnist")
    assert "--hiden-size, 3 (did you mean --hidden-size?)" in fails(capsys, *preset, "--hiden-size", "3")
    assert "read_size is 1" in fails(capsys, *preset, "--read-size", "1")
    assert "num_glimpses is 0" in fails(capsys, *preset, "--num-glimpses", "0")
    assert "read_size is 61" in fails(capsys, "train", "translated-60-glimpses-8", "--read-size", "61")
    assert "for classification there are" in fails(capsys, *preset, "--dataset", "mnist")
    assert "height is 32, but" in fails(capsys, *preset, "--height", "32")
    assert "num_classes is 9, but" in fails(capsys, *preset, "--num-classes", "9")
    assert "epochs" in fails(capsys, *preset, "--epochs", "1", "--minutes", "1")
    assert "engine is 'mixed'" in fails(capsys, "train", "translated-60-conv", "--engine", "mixed")
    assert "--threads is 0" in fails(capsys, *preset, "--threads", "0")
    assert "--device is 'gpu'" in fails(capsys, *preset, "--device", "gpu")
    assert "MODEL" in fails(capsys, "evaluate")
    assert "no model 'nothing'" in fails(capsys, "evaluate", "nothing")
    assert "--split" in fails(capsys, "evaluate", str(trained / "conv"), "--split", "train")
    assert "num_images is 0" in fails(capsys, "evaluate", str(trained / "conv"), "--num-images", "0")
    assert "--count is 41" in fails(capsys, "show", str(trained / "ram-4"), "--count", "41")
    assert "sees the whole image at once" in fails(capsys, "show", str(trained / "conv"))


def test_each_command_says_which_kind_of_model_it_takes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a model of images" in fails(capsys, "evaluate", "mnist-quick")
    assert "is a model of images" in fails(capsys, "show", "mnist-quick")
    run = str(trained / "glimpses-4")
    for command in (["evaluate", run], ["sample", run], ["reconstruct", run], ["complete", run], ["compare", run]):
        assert main(command) == 2
        assert "is a classifier: it is for the verbs of `drawnet classify`" in capsys.readouterr().err
    assert main(["train", "mnist", "--run-dir", run, "--resume"]) == 2
    assert "is a classifier" in capsys.readouterr().err


def test_models_lists_errors_beside_nats(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they will stand there when weights of classifiers come with the package."""
    import drawnet.checkpoint

    shipped = drawnet.checkpoint.shipped_models() | {"mine": trained / "ram-4"}
    monkeypatch.setattr(drawnet.checkpoint, "shipped_models", lambda: shipped)
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models"]) == 0
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if len(line.split()) > 2}
    assert "upper bound" in rows["mnist-quick"]
    assert " % " in rows["mine"]
    assert "error" in rows["mine"]
    assert "translated-mnist-60 test" in rows["mine"]


def test_damaged_weights_are_named_and_nothing_is_lost(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(trained / "ram-4", "run")
    weights = next(Path("run/checkpoints").glob("*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    assert "model.safetensors is damaged" in fails(capsys, "evaluate", "run")
    resume = ["train", "translated-60-ram-4", "--run-dir", "run", "--resume"]
    assert "model.safetensors is damaged" in fails(capsys, *resume)
    assert before == {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
