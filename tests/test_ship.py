"""What `tools/ship.py` takes from a run and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from drawnet.checkpoint import Trained, read_checkpoint, save_checkpoint
from drawnet.models.draw import Draw
from scripts import load_script
from toy import TOY_MODELS, toy_config


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/ship.py")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    torch.manual_seed(0)
    model = Draw(TOY_MODELS["draw"])  # type: ignore[arg-type]
    save_checkpoint(folder / "checkpoints", model, {"step": torch.zeros(1)}, toy_config(), Trained(7, 1.0, 1))
    (folder / "report.json").write_text(json.dumps({"updates": 7}))
    rows = [{"kind": kind, "update": 7} for kind in ("train", "validation")]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "samples.png").write_bytes(b"picture")
    return folder


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_weights_report_curve_and_pictures_are_copied(tool: ModuleType, run: Path, tmp_path: Path) -> None:
    tool.ship(run, "toy", root=tmp_path)
    assert files(tmp_path / "results") == ["toy/metrics.jsonl", "toy/pictures/samples.png", "toy/report.json"]
    weights = tmp_path / "src/drawnet/weights"
    assert files(weights) == [f"toy/{x}" for x in ("config.json", "metrics.jsonl", "model.safetensors", "report.json")]
    assert (weights / "toy/metrics.jsonl").read_text() == json.dumps({"kind": "validation", "update": 7}) + "\n"
    torch.testing.assert_close(
        read_checkpoint(weights / "toy").load_model().state_dict(),
        read_checkpoint(run / "checkpoints/00000007").load_model().state_dict(),
        rtol=0,
        atol=0,
    )


def test_half_precision_is_float32_again_when_loaded(tool: ModuleType, run: Path, tmp_path: Path) -> None:
    tool.ship(run, "toy", half=True, root=tmp_path)
    folder = tmp_path / "src/drawnet/weights/toy"
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.float16}
    state = read_checkpoint(folder).load_model().state_dict()
    exact = read_checkpoint(run / "checkpoints/00000007").load_model().state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32}
    torch.testing.assert_close(state, exact, rtol=1e-3, atol=1e-6)


def test_too_large_weights_and_unfinished_runs_are_refused_and_nothing_is_copied(
    tool: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "MAX_MEGABYTES", 0)
    with pytest.raises(ValueError, match="shipped are 0 at most"):
        tool.ship(run, "toy", root=tmp_path)
    (run / "report.json").write_text(json.dumps({"updates": 6}))
    with pytest.raises(ValueError, match="not of the run's newest checkpoint"):
        tool.ship(run, "toy", root=tmp_path)
    (run / "report.json").unlink()
    with pytest.raises(ValueError, match=r"no report\.json"):
        tool.ship(run, "toy", root=tmp_path)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "src").exists()


def test_results_alone_where_the_weights_are_too_large(
    tool: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "MAX_MEGABYTES", 0)
    tool.ship(run, "toy", weights=False, root=tmp_path)
    assert (tmp_path / "results/toy/report.json").exists()
    assert not (tmp_path / "src").exists()
