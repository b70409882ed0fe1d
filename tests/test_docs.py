"""Examples in docstrings run, and so do the commands in README.md, made small."""

import doctest
import importlib
import json
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import drawnet
from drawnet.cli import main
from drawnet.presets import PRESETS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SMALLER = {
    "train": "--epochs 0.004 --num-validation-images 10 --hidden-size 8 --batch-size 10",
    "evaluate": "--num-images 10",
    "compare": "--num-images 10",
    "complete": "--count 1 --completions 2",
    "sample": "--count 4",
    "reconstruct": "--count 2",
    "bench": "--work sample --implementations plain engine-float32 --batch-size 1 --rounds 1 --threads 1",
    "classify train": "--epochs 0.004 --num-validation-images 10 --hidden-size 8 --batch-size 10",
    "classify evaluate": "--num-images 10",
    "classify show": "--count 1",
}
ALL_MODULES = [module.name for module in pkgutil.walk_packages(drawnet.__path__, "drawnet.")]
MODULES = [name for name in ALL_MODULES if not name.endswith("__main__")]  # importing that runs it


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("drawnet ") and "get " not in line]


def test_the_readme_has_commands() -> None:
    verbs = {shlex.split(command)[1] for command in readme_commands()}
    assert verbs >= {"train", "evaluate", "sample", "reconstruct", "complete", "compare", "models"}


@pytest.mark.parametrize("command", readme_commands())
def test_readme_commands(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_own_images(tmp_path)
    arguments = shlex.split(command)[1:]
    verb = " ".join(arguments[: 2 if arguments[0] == "classify" else 1])
    assert main(arguments + SMALLER.get(verb, "").split() + smaller_model(arguments)) == 0


def smaller_model(arguments: list[str]) -> list[str]:
    """Flags that only some models have."""
    if arguments[0] != "train":
        return []
    fields = vars(PRESETS[arguments[1]]().model) if arguments[1] in PRESETS else {"num_glimpses": 0}
    return [flag for field in ("num_glimpses", "num_layers") if field in fields for flag in (flag_of(field), "2")]


def flag_of(field: str) -> str:
    return "--" + field.replace("_", "-")


def make_own_images(folder: Path) -> None:
    """What the README's reader has: `photos/` and `my.npz`."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (30, 12, 16, 3), np.uint8)
    np.savez(folder / "my.npz", images=images)
    (folder / "photos").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "photos" / f"{i}.png")


def test_files_and_folders_that_the_readme_links_to_exist() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r'src="([^"]+)"', README)
    missing = [t for t in targets if not t.startswith("http") and not (ROOT / t).exists()]
    assert targets
    assert missing == []


REPORTS = sorted((ROOT / "results").glob("*/report.json"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_numbers_in_the_documents_are_those_of_the_reports(path: Path) -> None:
    report = json.loads(path.read_text())
    row = f"{report['nats']['mean']:.2f} ± {report['nats']['standard_error']:.2f}"
    if "error" in report:  # of a classifier, in percent
        row = f"{100 * report['error']['mean']:.2f} ± {100 * report['error']['standard_error']:.2f}"
    assert row in (ROOT / "results" / "README.md").read_text()
    assert f"{report['updates']:,}" in (ROOT / "results" / "README.md").read_text()
    assert row in README


def test_there_are_reports() -> None:
    assert {"mnist", "mnist-quick"} <= {path.parent.name for path in REPORTS}


def test_readme_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
