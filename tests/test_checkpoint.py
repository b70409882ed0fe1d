"""Checkpoints: whole or not there, and clear about what is wrong with a damaged one."""

import json
import resource
from pathlib import Path

import pytest
import torch

import drawnet.checkpoint as checkpoint_module
from drawnet.checkpoint import (
    Trained,
    find_checkpoint,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    shipped_models,
)
from drawnet.config_file import FORMAT_VERSION
from drawnet.models.draw import Draw
from drawnet.models.registry import Model, build_model
from drawnet.train import Training
from toy import TOY_MODELS, bars, toy_config


@pytest.fixture
def training() -> Training:
    config = toy_config()
    training = Training(Draw(config.model), bars(60, 0, resample=True), config.training)
    training.step()
    return training


def save(folder: Path, training: Training, updates: int = 1) -> Path:
    trained = Trained(updates, 1.5, 1)
    return save_checkpoint(folder, training.averaged_model, training.state_dict(), toy_config(), trained)


@torch.no_grad()
def nll(model: Model) -> torch.Tensor:
    """Nats of five images, the latents always the same."""
    return model.nll(bars(5, 3).batch(torch.arange(5)), generator=torch.Generator().manual_seed(0)).nats


def test_saving_and_loading_gives_identical_numbers(tmp_path: Path, training: Training) -> None:
    path = save(tmp_path / "checkpoints", training)
    checkpoint = find_checkpoint(str(tmp_path))
    assert checkpoint == read_checkpoint(path)
    assert checkpoint.config == toy_config()
    assert checkpoint.trained == Trained(1, 1.5, 1)
    assert torch.equal(nll(training.averaged_model), nll(checkpoint.load_model()))
    for name, tensor in training.state_dict().items():
        loaded = checkpoint.load_trainer_state()[name]
        assert torch.equal(tensor, loaded), name
        assert tensor.dtype == loaded.dtype, name


@pytest.mark.parametrize("name", TOY_MODELS)
def test_every_model_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    config = toy_config(name)
    training = Training(build_model(config.model), bars(60, 0, resample=True), config.training)
    training.step()
    save_checkpoint(tmp_path, training.averaged_model, training.state_dict(), config, Trained(1, 1.5, 1))
    checkpoint = read_checkpoint(tmp_path / "00000001")
    assert checkpoint.config == config
    assert torch.equal(nll(training.averaged_model), nll(checkpoint.load_model()))


def test_a_configuration_of_an_older_version_is_read_as_it_was_meant(tmp_path: Path, training: Training) -> None:
    path = save(tmp_path, training)
    content = json.loads((path / "config.json").read_text())
    assert content["format_version"] == 3
    for version, added_later in [(2, ["engine"]), (1, ["optimizer", "objective", "weight_prior"])]:
        for key in added_later:
            del content["training"][key]
        (path / "config.json").write_text(json.dumps(content | {"format_version": version + 1}))
        with pytest.raises(ValueError, match=rf"missing key training\.{min(added_later)}"):
            read_checkpoint(path)
        (path / "config.json").write_text(json.dumps(content | {"format_version": version}))
        assert read_checkpoint(path).config == toy_config(engine="plain")


def test_shipped_weights_from_before_the_engine_were_trained_without_it() -> None:
    versions = {
        path: json.loads((path / "config.json").read_text())["format_version"] for path in shipped_models().values()
    }
    old = [path for path, version in versions.items() if version < 3]
    assert {read_checkpoint(path).config.training.engine for path in old} == {"plain"}


def test_the_newest_two_are_kept_and_abandoned_ones_go(tmp_path: Path, training: Training) -> None:
    (tmp_path / "00000000.partial").mkdir()
    for updates in (1, 2, 10):
        save(tmp_path, training, updates)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000002", "00000010"]


def test_a_checkpoint_that_cannot_be_finished_leaves_the_older_one(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "checkpoints", training, 1)
    real = checkpoint_module._save_tensors

    def full_disk(tensors: dict, path: Path) -> None:
        if path.name == "trainer.safetensors":
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        real(tensors, path)

    monkeypatch.setattr(checkpoint_module, "_save_tensors", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path / "checkpoints", training, 2)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000001"]
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    checkpoint.load_model()


def test_a_write_that_the_system_refuses_is_an_os_error(tmp_path: Path, training: Training) -> None:
    save(tmp_path / "checkpoints", training, 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            save(tmp_path / "checkpoints", training, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["00000001"]


@pytest.mark.parametrize("file", ["model.safetensors", "trainer.safetensors", "config.json"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_named(tmp_path: Path, training: Training, file: str, share: float) -> None:
    path = save(tmp_path, training) / file
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share) if share < 0.9 else -2])
    with pytest.raises(ValueError, match=f"{file}.*damaged"):
        load_all(path.parent)


def load_all(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    checkpoint.load_model()
    checkpoint.load_trainer_state()


def edited(tmp_path: Path, training: Training, edit: str) -> Path:
    path = save(tmp_path, training)
    content = json.loads((path / "config.json").read_text())
    exec(edit, {"c": content})
    (path / "config.json").write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (f"c['format_version'] = {FORMAT_VERSION + 1}", "update drawnet"),
        ("del c['format_version']", "no format_version"),
        ("c['extra'] = 1", "unknown key extra"),
        ("c['model']['peephole'] = True", "unknown key model.peephole"),
        ("del c['training']['seed']", "missing key training.seed"),
        ("c['model']['type'] = 'gan'", "model.type is 'gan', this drawnet knows draw, vae"),
        ("c['model']['read_size'] = 1", "read_size is 1"),
        ("c['model']['hidden_size'] = 'many'", "hidden_size"),
        ("c['model']['hidden_size'] = 13", "does not fit"),
        ("c['model'] = 3", "model is not an object"),
        ("c['training']['seed'] = True", "training.seed is True: it must be int"),
        ("c['training']['clip'] = 'none'", "clip is 'none'"),
        ("c['images']['image_size'] = [3]", "image_size"),
        ("c['trained']['updates'] = None", "trained.updates is None"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_configuration_that_is_not_ours_is_refused(
    tmp_path: Path, training: Training, edit: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        load_all(edited(tmp_path, training, edit))
    assert str(tmp_path) in str(raised.value)


def test_no_such_model_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model 'nothing'.*come with drawnet"):
        find_checkpoint("nothing")
    with pytest.raises(ValueError, match="neither a checkpoint nor a run folder"):
        find_checkpoint(str(tmp_path))
