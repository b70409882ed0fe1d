"""Classifiers through the one training loop: resumable, kept, scored; and what is refused."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from drawnet.checkpoint import find_checkpoint, newest_checkpoint, save_checkpoint
from drawnet.classify import classifier_report, evaluate_classifier
from drawnet.models.registry import build_classifier, build_model
from drawnet.run import ValidationRecord, new_classifier, run
from drawnet.train import Training, fit
from toy import toy_config, toy_dataset
from toy_classifier import TOY_CLASSIFIERS, bars, toy_classifier_config, toy_labelled

every_classifier = pytest.mark.parametrize("name", TOY_CLASSIFIERS)


def toy_training(name: str, **training: object) -> Training:
    config = toy_classifier_config(name, **training)
    return Training(new_classifier(config, toy_labelled()), bars(60, 0), config.training)


@every_classifier
def test_interrupted_anywhere_and_resumed_is_bit_for_bit_the_same(name: str) -> None:
    whole = toy_training(name)
    whole_records = list(fit(whole))
    for stop in (1, 6, 8, 29):
        first = toy_training(name)
        first_records = list(itertools.islice(fit(first), stop))
        second = toy_training(name)
        second.averaged_model.load_state_dict(first.averaged_model.state_dict())
        second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
        second_records = list(fit(second))
        assert [r.nats for r in first_records + second_records] == [r.nats for r in whole_records]
        for key, tensor in whole.averaged_model.state_dict().items():
            assert torch.equal(tensor, second.averaged_model.state_dict()[key]), key
        for key, tensor in whole.state_dict().items():
            if key != "seconds":
                assert torch.equal(tensor, second.state_dict()[key]), key


@every_classifier
def test_a_run_that_is_stopped_and_resumed_equals_one_that_is_not(name: str, tmp_path: Path) -> None:
    config = toy_classifier_config(name)
    events = list(run(config, toy_labelled(), tmp_path / "whole"))
    validations = [event for event in events if isinstance(event, ValidationRecord)]
    assert [event.update for event in validations] == [15, 30]
    stopped = run(config, toy_labelled(), tmp_path / "stopped")
    for event in stopped:
        if event.update == 17:
            stopped.close()
    list(run(config, toy_labelled(), tmp_path / "stopped", resume=True))
    states, lines = [], []
    for folder in ("whole", "stopped"):
        checkpoint = newest_checkpoint(tmp_path / folder)
        assert checkpoint is not None
        assert checkpoint.config == config
        states.append({**checkpoint.load_trainer_state(), **checkpoint.load_classifier().state_dict()})
        records = [json.loads(line) for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
        lines.append([{k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in records])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items() if key != "seconds")
    assert lines[0] == lines[1]
    scores = [line for line in lines[0] if line["kind"] == "validation"]
    assert [score["error"]["mean"] for score in scores] == [event.evaluation.error.mean for event in validations]
    assert all(score["nats"]["mean"] == score["parts"]["cross-entropy"] for score in scores)


@pytest.mark.parametrize("name", ["glimpse-classifier", "conv-classifier"])
def test_training_learns(name: str) -> None:
    training = toy_training(name, epochs=80, learning_rate=1e-2)
    data = toy_labelled()
    before = evaluate_classifier(training.averaged_model, data.test)
    list(fit(training))
    after = evaluate_classifier(training.averaged_model, data.test)
    assert before.error.mean > 0.4
    assert after.error.mean < 0.15
    assert after.nats.mean < before.nats.mean


def test_ram_learns_by_its_hybrid_loss() -> None:
    training = toy_training("ram", epochs=150, learning_rate=1e-2, clip="per-tensor")
    list(fit(training))
    assert evaluate_classifier(training.averaged_model, toy_labelled().test).error.mean < 0.25


@every_classifier
def test_the_score_is_that_of_a_loop_over_images(name: str) -> None:
    torch.manual_seed(0)
    model, split = build_classifier(TOY_CLASSIFIERS[name]).eval(), bars(300, 3).fixed(0)  # more than one batch
    progress = []
    found = evaluate_classifier(model, split, progress=lambda done, total: progress.append((done, total)))
    wrong, nats = 0, []
    for n in range(300):
        one = split.batch(torch.tensor([n]))
        log_probs = model.look(one.images).log_probs[0].tolist()
        wrong += max(range(3), key=log_probs.__getitem__) != one.labels.item()
        nats.append(-log_probs[int(one.labels)])
    assert found.error.mean == wrong / 300
    assert found.error.standard_error == pytest.approx(math.sqrt(wrong / 300 * (1 - wrong / 300) / 300))
    assert found.nats.mean == pytest.approx(sum(nats) / 300, rel=1e-5)
    assert (found.num_images, progress[-1]) == (300, (300, 300))
    some = evaluate_classifier(model, split, num_images=3)
    assert some.nats.mean == pytest.approx((nats[0] + nats[100] + nats[200]) / 3, rel=1e-5)
    with pytest.raises(ValueError, match="num_images is 0"):
        evaluate_classifier(model, split, num_images=0)


def test_training_never_looks_at_a_test_image(tmp_path: Path) -> None:
    class Untouchable:
        def __len__(self) -> int:
            raise AssertionError("the test split was asked for")

        def batch(self, indices: torch.Tensor, generator: torch.Generator | None = None) -> None:
            len(self)

    data = toy_labelled()
    object.__setattr__(data, "test", Untouchable())
    assert len(list(run(toy_classifier_config(), data, tmp_path))) == 32


@every_classifier
def test_a_checkpoint_comes_back_as_it_was_and_is_reported(name: str, tmp_path: Path) -> None:
    config = toy_classifier_config(name)
    list(run(config, toy_labelled(), tmp_path / "run"))
    checkpoint = find_checkpoint(str(tmp_path / "run"), classifier=True)
    result = classifier_report(checkpoint, toy_labelled(), "test", model_name="mine", command="drawnet ...")
    model = checkpoint.load_classifier()
    score = evaluate_classifier(model, toy_labelled().test)
    assert result["error"] == {"mean": score.error.mean, "standard_error": score.error.standard_error}
    assert result["nats"]["mean"] == result["parts"]["cross-entropy"] == score.nats.mean
    assert (result["dataset"], result["split"], result["num_images"]) == ("bars", "test", 30)
    assert (result["model"], result["command"]) == ("mine", "drawnet ...")
    assert (result["updates"], result["threads"]) == (30, torch.get_num_threads())
    assert result["train_seconds"] > 0
    assert result["num_parameters"] == sum(p.numel() for p in model.parameters())
    assert "binomial" in result["estimator"]
    assert ("policy" in result["estimator"]) == (name == "ram")


def test_classifiers_and_models_of_images_are_not_taken_for_each_other(tmp_path: Path) -> None:
    list(run(toy_classifier_config(), toy_labelled(), tmp_path / "classifier"))
    list(run(toy_config(), toy_dataset(), tmp_path / "draw"))
    with pytest.raises(ValueError, match="is a classifier: it is for the verbs of `drawnet classify`"):
        find_checkpoint(str(tmp_path / "classifier"))
    with pytest.raises(ValueError, match="is a model of images: it is for the verbs of `drawnet`"):
        find_checkpoint(str(tmp_path / "draw"), classifier=True)
    for folder, load in (("classifier", "load_model"), ("draw", "load_classifier")):
        checkpoint = newest_checkpoint(tmp_path / folder)
        with pytest.raises(ValueError, match="it is for the verbs of"):
            getattr(checkpoint, load)()


def test_the_engine_is_the_glimpse_classifiers_too() -> None:
    assert toy_training("glimpse-classifier", engine="float32").model.engine == "float32"
    plain = toy_training("glimpse-classifier", engine="plain")
    assert plain.model.engine == "plain"
    assert plain.averaged_model.engine == "auto"
    with pytest.raises(ValueError, match=r"engine is 'float32'.*not for RAM"):
        toy_training("ram", engine="float32")
    with pytest.raises(ValueError, match=r"objective is 'wake-sleep'.*not for ConvClassifier"):
        toy_training("conv-classifier", objective="wake-sleep")


def test_a_classifier_that_does_not_fit_its_images_is_named(tmp_path: Path) -> None:
    for field, value in (("height", 12), ("num_classes", 10)):
        config = toy_classifier_config()
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **{field: value}))
        with pytest.raises(ValueError, match=f"{field} is {value}, but the images of bars have"):
            next(run(config, toy_labelled(), tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import drawnet.checkpoint as checkpoint_module

    events = run(toy_classifier_config(), toy_labelled(), tmp_path, seconds_between_checkpoints=0)
    for event in events:
        if event.update == 3:
            break

    def full_disk(tensors: dict, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint_module, "_save_tensors", full_disk)
    with pytest.raises(OSError, match="No space"):
        list(events)
    monkeypatch.undo()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["00000001", "00000002"]
    find_checkpoint(str(tmp_path), classifier=True).load_classifier()


def test_tensorboard_shows_the_error(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = list(run(toy_classifier_config(), toy_labelled(), tmp_path, tensorboard=True))
    accumulator = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    expected = [e.evaluation.error.mean for e in events if isinstance(e, ValidationRecord)]
    assert [e.value for e in accumulator.Scalars("validation/error")] == pytest.approx(expected)


def test_old_and_new_checkpoints_are_of_one_format(tmp_path: Path) -> None:
    """A model of images is saved and read as before: `load_weights` is what `load_model` does."""
    config = toy_config()
    training = Training(build_model(config.model), toy_dataset().train, config.training)
    from drawnet.checkpoint import Trained, read_checkpoint

    path = save_checkpoint(tmp_path, training.averaged_model, training.state_dict(), config, Trained(0, 0.0, 1))
    other = build_model(config.model)
    read_checkpoint(path).load_weights(other)
    for a, b in zip(other.parameters(), training.averaged_model.parameters(), strict=True):
        assert torch.equal(a, b)
