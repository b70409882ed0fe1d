"""Checkpoints: folders of safetensors and JSON that are either whole or not there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drawnet.config_file import build_dataclass, config_content, read_config
from drawnet.models.registry import Classifier, ClassifierConfig, Model, build_classifier, build_model
from drawnet.presets import RunConfig

NUM_KEPT = 2  # the newest checkpoint and the one before


@dataclass(frozen=True)
class Trained:
    """How far the weights of a checkpoint have come.

    Attributes:
        updates: minibatches tried.
        seconds: wall time of training.
        threads: CPU threads torch used.
    """

    updates: int
    seconds: float
    threads: int


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder says besides its tensors.

    Attributes:
        path: the folder.
        config: the run it is of.
        trained: how far it has come.
    """

    path: Path
    config: RunConfig
    trained: Trained

    def load_model(self) -> Model:
        """The model with the averaged weights, in float32 on the CPU, ready to be evaluated.

        Raises:
            ValueError: it is a classifier, or the weights file is damaged or of another model; the message names it.
            FileNotFoundError: there is none.
        """
        self.check_kind(classifier=False)
        assert not isinstance(self.config.model, ClassifierConfig)
        model = build_model(self.config.model).eval()
        self.load_weights(model)
        return model

    def load_classifier(self) -> Classifier:
        """The same of a classifier.

        Raises:
            ValueError: it is none, or the weights file is damaged or of another one; the message names it.
            FileNotFoundError: there is none.
        """
        self.check_kind(classifier=True)
        assert isinstance(self.config.model, ClassifierConfig)
        model = build_classifier(self.config.model).eval()
        self.load_weights(model)
        return model

    def load_weights(self, model: nn.Module) -> None:
        """Put the averaged weights into a model built from the checkpoint's configuration.

        Raises:
            ValueError: the weights file is damaged or of another model; the message names it.
            FileNotFoundError: there is none.
        """
        path = self.path / "model.safetensors"
        try:
            model.load_state_dict(_load_tensors(path))
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit its config.json: {' '.join(str(error).split())}") from error

    def check_kind(self, *, classifier: bool) -> None:
        """Refuse a classifier where a model of images is wanted, and the other way round.

        Raises:
            ValueError: see above; the message says which command takes it.
        """
        if isinstance(self.config.model, ClassifierConfig) != classifier:
            what, verb = ("a model of images", "drawnet") if classifier else ("a classifier", "drawnet classify")
            raise ValueError(f"{self.path} is {what}: it is for the verbs of `{verb}`, see `{verb} --help`")

    def load_trainer_state(self) -> dict[str, Tensor]:
        """What `Training.load_state_dict` takes.

        Raises:
            ValueError: the file is damaged.
            FileNotFoundError: weights that came without it cannot be trained on.
        """
        return _load_tensors(self.path / "trainer.safetensors")


def save_checkpoint(
    folder: Path, model: nn.Module, trainer_state: Mapping[str, Tensor], config: RunConfig, trained: Trained
) -> Path:
    """Write `folder`/UPDATES whole or not at all, then delete all but the newest two.

    Everything is written under a temporary name and flushed to the disk before the folder gets its name.

    Args:
        folder: the `checkpoints` folder of a run; made if missing.
        model: carries the averaged weights.
        trainer_state: `Training.state_dict()`.
        config: the run.
        trained: how far it has come; its `updates` name the checkpoint.

    Returns:
        The checkpoint's folder.

    Raises:
        OSError: no space, no permission; the older checkpoints are as they were.
    """
    target = folder / f"{trained.updates:08d}"
    if target.exists():
        return target  # the same update of the same run: the same content
    folder.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.glob("*.partial"):  # by a process that was killed
        shutil.rmtree(abandoned)
    temporary = folder / f"{target.name}.partial"
    try:
        temporary.mkdir()
        write_model(temporary, model, config, trained)
        _save_tensors(trainer_state, temporary / "trainer.safetensors")
        _sync(temporary)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(folder)
    for old in _numbered(folder)[:-NUM_KEPT]:
        shutil.rmtree(old)
    return target


def write_model(folder: Path, model: nn.Module, config: RunConfig, trained: Trained) -> None:
    """Write `model.safetensors` and `config.json` into an existing folder.

    Raises:
        OSError: no space, no permission.
    """
    _save_tensors(model.state_dict(), folder / "model.safetensors")
    path = folder / "config.json"
    path.write_text(json.dumps(config_content(config) | {"trained": dataclasses.asdict(trained)}, indent=2) + "\n")
    _sync(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder's `config.json`.

    Raises:
        ValueError: damaged, with unknown or missing keys, or written by a newer drawnet; the message names the file.
        FileNotFoundError: no such file.
    """
    file = path / "config.json"
    config, content = read_config(file)
    return Checkpoint(path, config, build_dataclass(Trained, file, "trained", content["trained"]))


def newest_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest checkpoint of a run folder; None if there is none yet.

    Raises:
        ValueError: it is damaged.
    """
    numbered = _numbered(run_dir / "checkpoints")
    return read_checkpoint(numbered[-1]) if numbered else None


def shipped_models() -> dict[str, Path]:
    """Weights that come with the package: name to checkpoint folder."""
    weights = Path(__file__).with_name("weights")
    return {path.name: path for path in sorted(weights.iterdir()) if (path / "config.json").is_file()}


def find_checkpoint(name: str, *, classifier: bool = False) -> Checkpoint:
    """The checkpoint a person means by MODEL: a run folder, a checkpoint folder or the name of shipped weights.

    Args:
        name: what the person wrote.
        classifier: a classifier is wanted, and not a model of images.

    Raises:
        ValueError: nothing of that name, or of the other kind, or what is there is damaged.
    """
    checkpoint = _find(name)
    checkpoint.check_kind(classifier=classifier)
    return checkpoint


def _find(name: str) -> Checkpoint:
    path = Path(name)
    if path.is_dir():
        if (path / "model.safetensors").exists():
            return read_checkpoint(path)
        if (checkpoint := newest_checkpoint(path)) is not None:
            return checkpoint
        raise ValueError(f"{name} is neither a checkpoint nor a run folder with one in it")
    shipped = shipped_models()
    if name in shipped:
        return read_checkpoint(shipped[name])
    raise ValueError(
        f"no model {name!r}: give a run folder, a checkpoint folder or one of the weights "
        f"that come with drawnet ({', '.join(shipped) or 'none'})"
    )


def _numbered(folder: Path) -> list[Path]:
    """Whole checkpoints in a folder, oldest first."""
    return sorted(p for p in folder.glob("*") if p.is_dir() and p.name.isdigit())


def _save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file({k: v.detach().to("cpu").clone().contiguous() for k, v in tensors.items()}, path)
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error
    _sync(path)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
