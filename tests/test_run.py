"""Run folders: killed and resumed, metrics, what is refused."""

import itertools
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drawnet.checkpoint import newest_checkpoint
from drawnet.data import Dataset
from drawnet.run import ValidationRecord, mean_image, new_model, run
from drawnet.train import StepRecord, TrainingDivergedError
from toy import toy_config, toy_dataset, with_training

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from toy import toy_config, toy_dataset
from drawnet.run import run
config, data = toy_config(epochs=40.0), toy_dataset()
for event in run(config, data, Path(sys.argv[1]), resume=True, seconds_between_checkpoints=0):
    print(event.update, flush=True)
"""


def metrics(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def final_state(run_dir: Path) -> dict[str, torch.Tensor]:
    checkpoint = newest_checkpoint(run_dir)
    assert checkpoint is not None
    return {**checkpoint.load_trainer_state(), **checkpoint.load_model().state_dict()}


def assert_same_run(a: Path, b: Path) -> None:
    states = final_state(a), final_state(b)
    assert states[0].keys() == states[1].keys()
    for name in states[0].keys() - {"seconds"}:
        assert torch.equal(states[0][name], states[1][name]), name
    times = ("seconds", "images_per_second")
    lines = [[{k: v for k, v in line.items() if k not in times} for line in metrics(folder)] for folder in (a, b)]
    assert lines[0] == lines[1]


def test_killed_twice_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    list(run(toy_config(epochs=40.0), toy_dataset(), tmp_path / "whole"))
    for kill_at in (25, 130):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
    checkpoint = newest_checkpoint(tmp_path / "killed")
    assert checkpoint is not None
    assert 25 <= checkpoint.trained.updates < 240
    list(run(toy_config(epochs=40.0), toy_dataset(), tmp_path / "killed", resume=True))
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_closing_the_iterator_keeps_everything(tmp_path: Path) -> None:
    list(run(toy_config(), toy_dataset(), tmp_path / "whole"))
    events = run(toy_config(), toy_dataset(), tmp_path / "stopped")
    for event in events:
        if event.update == 17:
            events.close()
    list(run(toy_config(), toy_dataset(), tmp_path / "stopped", resume=True))
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_validation_uses_the_averaged_weights_on_validation_images(tmp_path: Path) -> None:
    events = list(run(toy_config(), toy_dataset(), tmp_path))
    validations = [e for e in events if isinstance(e, ValidationRecord)]
    assert [e.update for e in validations] == [15, 30]
    assert validations[0].evaluation.num_images == 20
    lines = [line for line in metrics(tmp_path) if line["kind"] == "validation"]
    assert [line["nats"]["mean"] for line in lines] == [e.evaluation.nats.mean for e in validations]
    assert len(lines[0]["kl_per_step"]) == 3


def test_training_never_looks_at_a_test_image(tmp_path: Path) -> None:
    data = toy_dataset()

    class Untouchable:
        images = data.test.images

        def __len__(self) -> int:
            raise AssertionError("the test split was asked for")

        batch = intensities = __len__

    watched = Dataset(data.name, data.train, data.validation, data.test, data.binarization)
    object.__setattr__(watched, "test", Untouchable())
    assert len(list(run(toy_config(), watched, tmp_path))) == 32


def test_a_run_folder_is_not_overwritten(tmp_path: Path) -> None:
    list(run(toy_config(), toy_dataset(), tmp_path))
    before = final_state(tmp_path)
    with pytest.raises(ValueError, match=r"already holds a run.*--resume"):
        next(run(toy_config(), toy_dataset(), tmp_path))
    with pytest.raises(ValueError, match=r"training\.learning_rate is 0\.004 there, not 0\.1"):
        next(run(with_training(toy_config(), learning_rate=0.1), toy_dataset(), tmp_path, resume=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in final_state(tmp_path).items())


def test_a_resumed_run_may_have_a_longer_plan(tmp_path: Path) -> None:
    list(run(toy_config(), toy_dataset(), tmp_path))
    longer = toy_config(epochs=8.0)
    events = [e for e in run(longer, toy_dataset(), tmp_path, resume=True) if isinstance(e, StepRecord)]
    assert [e.update for e in events] == list(range(31, 49))
    first = 0.004 * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * 30 / 48)))  # where the longer plan is by then
    assert events[0].learning_rate == pytest.approx(first)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.config == longer


def test_a_diverging_run_stops_with_the_last_good_weights(tmp_path: Path) -> None:
    events = run(with_training(toy_config(epochs=20.0), clip_norm=1e38, learning_rate=1e30), toy_dataset(), tmp_path)
    with pytest.raises(TrainingDivergedError):
        list(events)
    state = final_state(tmp_path)
    assert state["counts"][1] >= 20
    assert all(torch.isfinite(t).all() for n, t in state.items() if not n.startswith(("weights.", "optimizer.")))


def test_model_and_images_of_different_size_are_refused(tmp_path: Path) -> None:
    import dataclasses

    config = dataclasses.replace(toy_config(), model=dataclasses.replace(toy_config().model, height=9))
    with pytest.raises(ValueError, match="height is 9, but the images of toy have 8"):
        next(run(config, toy_dataset(), tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_starting_weights_come_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    a = new_model(toy_config(seed=5), toy_dataset())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    b = new_model(toy_config(seed=5), toy_dataset())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_the_first_canvas_is_the_mean_image() -> None:
    data = toy_dataset()
    mean = data.train.images.float().mean(0)
    assert torch.allclose(mean_image(data.train), mean)
    model = new_model(toy_config(), data)
    assert torch.allclose(torch.sigmoid(model.canvas_0), mean.clamp(0.01, 0.99), atol=1e-6)


def test_tensorboard_files_hold_the_curves(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    records = list(run(toy_config(), toy_dataset(), tmp_path, tensorboard=True))
    accumulator = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    nats = {e.step: e.value for e in accumulator.Scalars("train/nats")}
    expected = {r.update: r.nats for r in records if isinstance(r, StepRecord) and r.update % 10 == 0}
    assert nats == pytest.approx(expected)
    assert len(accumulator.Scalars("validation/kl")) == 2


def test_metrics_are_finite_json_lines_in_order(tmp_path: Path) -> None:
    list(run(toy_config(), toy_dataset(), tmp_path))
    train = [line for line in metrics(tmp_path) if line["kind"] == "train"]
    assert [line["update"] for line in train] == [10, 20, 30]
    assert all(math.isfinite(line["nats"]) for line in train)
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(train))
