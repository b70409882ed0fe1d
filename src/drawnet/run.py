"""A run folder: train into it, resume from it, report on it."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drawnet.checkpoint import Trained, newest_checkpoint, save_checkpoint
from drawnet.classify import ClassifierEvaluation, classifier_fields, evaluate_classifier
from drawnet.config_file import config_content
from drawnet.data import Dataset, Split
from drawnet.data.labelled import LabelledDataset
from drawnet.evaluate import Evaluation, evaluate, evaluation_fields
from drawnet.files import replacing, write_json
from drawnet.models.draw import Draw
from drawnet.models.registry import Classifier, ClassifierConfig, Model, build_classifier, build_model
from drawnet.models.vae import VAE
from drawnet.presets import RunConfig
from drawnet.train import StepRecord, Training, TrainingDivergedError, fit

SECONDS_BETWEEN_CHECKPOINTS = 180.0
UPDATES_BETWEEN_METRICS = 10


@dataclass(frozen=True)
class ValidationRecord:
    """The averaged weights on validation images, after an update.

    Attributes:
        update: minibatches tried so far.
        seconds: wall time of the run so far.
        evaluation: the score.
    """

    update: int
    seconds: float
    evaluation: Evaluation | ClassifierEvaluation


def new_model(config: RunConfig, dataset: Dataset) -> Model:
    """A model with starting weights from the run's seed, which starts from the mean training image where it can.

    Raises:
        ValueError: the model is not of the images' shape or levels; the message names the field.
    """
    assert not isinstance(config.model, ClassifierConfig)
    _check_shape(config, dataset)
    if dataset.binarization is None and getattr(config.model, "num_levels", None) == 2:
        raise ValueError(
            f"num_levels is 2, but the images of {dataset.name} are intensities, not bits (bytes have 256 levels)"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)  # torch's layers draw their starting weights from the global one
        model = build_model(config.model)
    if isinstance(model, Draw):
        model.start_canvas_at(mean_image(dataset.train))
    elif isinstance(model, VAE) and model.config.initialization == "torch":
        model.start_output_at(mean_image(dataset.train))
    return model


def new_classifier(config: RunConfig, dataset: LabelledDataset) -> Classifier:
    """A classifier with starting weights from the run's seed.

    Raises:
        ValueError: it is not for the images' shape or classes; the message names the field.
    """
    assert isinstance(config.model, ClassifierConfig)
    _check_shape(config, dataset)
    if (wanted := config.model.num_classes) != dataset.num_classes:
        raise ValueError(f"num_classes is {wanted}, but the images of {dataset.name} have {dataset.num_classes}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        return build_classifier(config.model)


def _check_shape(config: RunConfig, dataset: Dataset | LabelledDataset) -> None:
    shape = dict(zip(("num_channels", "height", "width"), dataset.image_shape, strict=True))
    for field, actual in shape.items():
        if (wanted := getattr(config.model, field)) != actual:
            raise ValueError(f"{field} is {wanted}, but the images of {dataset.name} have {actual}")


def mean_image(split: Split) -> Tensor:
    """Mean intensity of every pixel, `[channel, height, width]`, in [0, 1]."""
    chunks = split.images.split(1000)
    total = torch.stack([chunk.sum(0, dtype=torch.float64) for chunk in chunks]).sum(0)
    return (total / (len(split) * split.max_value)).float()


def run(
    config: RunConfig,
    dataset: Dataset | LabelledDataset,
    run_dir: Path,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    compile: bool = False,
    tensorboard: bool = False,
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
) -> Generator[StepRecord | ValidationRecord, None, None]:
    """Train to the end of the plan in a run folder, yielding what happens.

    Writes `config.json`, `metrics.jsonl`, checkpoints every few minutes and at the end. Closing the iterator between
    two records writes a checkpoint first, so that a stopped run loses nothing.

    Args:
        config: the run.
        dataset: its images; with labels, where the model is a classifier. Training and validation images are used,
            test images are not.
        run_dir: made if missing.
        resume: go on from the newest checkpoint in `run_dir`, bit for bit; without one, start. With other epochs or
            minutes, the learning rate goes on from where that plan would be by now.
        device: where to train.
        compile: see `Training`.
        tensorboard: write TensorBoard event files into `run_dir`/tensorboard too.
        seconds_between_checkpoints: wall time.

    Raises:
        ValueError: the run folder holds another run, or something in it is damaged.
        OSError: a file cannot be written; the last whole checkpoint is as it was.
        TrainingDivergedError: too many updates in a row were not finite; a checkpoint of the last good weights is
            written first.
    """
    checkpoint = newest_checkpoint(run_dir)
    if not resume and (checkpoint is not None or (run_dir / "metrics.jsonl").exists()):
        raise ValueError(f"{run_dir} already holds a run: go on with --resume or choose another --run-dir")
    if checkpoint is not None:
        plan = {"epochs": config.training.epochs, "minutes": config.training.minutes}
        training_before = dataclasses.replace(checkpoint.config.training, **plan)
        before = dataclasses.replace(checkpoint.config, training=training_before)
        if before != config:
            raise ValueError(f"{run_dir} holds a run of other settings: {_differences(before, config)}")

    model = new_classifier(config, dataset) if isinstance(dataset, LabelledDataset) else new_model(config, dataset)
    training = Training(model.to(device), dataset.train, config.training, compile=compile)
    if checkpoint is not None:
        checkpoint.load_weights(training.averaged_model)
        training.load_state_dict(checkpoint.load_trainer_state())
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(run_dir / "config.json", config_content(config))
    metrics = _Metrics(run_dir, training.update, tensorboard)

    def save() -> None:
        trained = Trained(training.update, training.seconds, torch.get_num_threads())
        save_checkpoint(run_dir / "checkpoints", training.averaged_model, training.state_dict(), config, trained)

    last_saved = time.monotonic()
    num_validations = config.training.num_validations
    num_validated = int(training.progress * num_validations)
    try:
        for record in fit(training):
            due = record.update % UPDATES_BETWEEN_METRICS == 0 or record.progress == 1
            if due and math.isfinite(record.nats + record.gradient_norm):  # JSON has no NaN
                metrics.write("train", dataclasses.asdict(record))
            validation = None
            if int(record.progress * num_validations) > num_validated:
                num_validated = int(record.progress * num_validations)
                evaluation = validate(training, dataset.validation)
                validation = ValidationRecord(record.update, record.seconds, evaluation)
                is_error = isinstance(evaluation, ClassifierEvaluation)
                scores = classifier_fields(evaluation) if is_error else evaluation_fields(evaluation)
                metrics.write("validation", {"update": record.update, "seconds": record.seconds, **scores})
            yield record
            if validation is not None:
                yield validation
            if time.monotonic() - last_saved > seconds_between_checkpoints:
                save()
                last_saved = time.monotonic()
    except (GeneratorExit, TrainingDivergedError):
        save()
        raise
    finally:
        metrics.close()
    save()


def _differences(old: Any, new: Any, prefix: str = "") -> str:
    """`field: old, not new` for every differing field of two configurations of one type."""
    found = []
    for field in dataclasses.fields(old):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if a != b and dataclasses.is_dataclass(a):
            found.append(_differences(a, b, f"{prefix}{field.name}."))
        elif a != b:
            found.append(f"{prefix}{field.name} is {a} there, not {b}")
    return "; ".join(found)


def validate(training: Training, split: Any) -> Evaluation | ClassifierEvaluation:
    """The averaged weights on a split of validation images; the same images and latents every time."""
    model, num_images = training.averaged_model, training.config.num_validation_images
    if isinstance(model, Classifier):
        return evaluate_classifier(model, split, num_images=num_images)
    return evaluate(model, split, num_images=num_images)


class _Metrics:
    """metrics.jsonl, cut back to the update that a resumed run starts from, and TensorBoard if asked for."""

    def __init__(self, run_dir: Path, update: int, tensorboard: bool) -> None:
        path = run_dir / "metrics.jsonl"
        self.writer = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ValueError(
                    f"tensorboard cannot be used ({error}): pip install 'drawnet[tensorboard]'"
                ) from error
            self.writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=update + 1)
        kept = _lines_up_to(path, update) if path.exists() else []
        with replacing(path) as temporary:
            temporary.write_text("".join(kept))
        self.path = path

    def write(self, kind: str, fields: dict[str, Any]) -> None:
        try:
            with self.path.open("a") as file:
                file.write(json.dumps({"kind": kind, **fields}) + "\n")
        except OSError as error:
            raise OSError(f"cannot write {self.path}: {error.strerror}") from error
        if self.writer is not None:
            values = {"nats": fields["nats"], **fields["parts"]}
            if kind == "validation":
                values |= {name: fields[name]["mean"] for name in ("nats", "error") if name in fields}
            for name, value in values.items():
                self.writer.add_scalar(f"{kind}/{name}", value, fields["update"])

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _lines_up_to(path: Path, update: int) -> list[str]:
    """The whole lines of a metrics file that were written up to an update; a killed process leaves later ones."""
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if line.endswith("\n") and json.loads(line)["update"] <= update:
                kept.append(line)
        except ValueError:
            continue  # cut off in the middle of a write
    return kept
