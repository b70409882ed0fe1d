"""Copy a finished run into the repository: its results into results/NAME, its weights into src/drawnet/weights/NAME.

    python tools/ship.py RUN NAME [--half] [--without-weights]

RUN is a run folder whose training has ended. What NAME had before is replaced file by file; optimiser state stays
behind. `--half` rounds the weights to float16, for a network that would be too large in float32; they are float32
again when loaded, and what they score then is to be measured (`drawnet evaluate NAME`). `--without-weights` copies the
results only.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from drawnet.checkpoint import newest_checkpoint

ROOT = Path(__file__).parent.parent
MAX_MEGABYTES = 10


def ship(run: Path, name: str, *, half: bool = False, weights: bool = True, root: Path = ROOT) -> None:
    """Copy `run` to where `name` belongs.

    Args:
        run: the run folder.
        name: what to call it.
        half: round the weights to float16.
        weights: copy the weights, too.
        root: of the repository.

    Raises:
        ValueError: the run has not ended, or its weights are too large.
        OSError: no space, no permission.
    """
    checkpoint, report = newest_checkpoint(run), run / "report.json"
    if checkpoint is None or not report.is_file():
        raise ValueError(f"{run} has no report.json of a finished run and a checkpoint")
    if json.loads(report.read_text())["updates"] != checkpoint.trained.updates:
        raise ValueError(f"{report} is not of the run's newest checkpoint")
    if weights:
        tensors = load_file(checkpoint.path / "model.safetensors")
        if half:
            tensors = {key: value.half() for key, value in tensors.items()}
        megabytes = sum(value.nbytes for value in tensors.values()) / 1e6
        if megabytes > MAX_MEGABYTES:
            raise ValueError(f"the weights of {run} are {megabytes:.1f} MB; shipped are {MAX_MEGABYTES} at most")
        folder = root / "src/drawnet/weights" / name
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "model.safetensors")
        shutil.copy(checkpoint.path / "config.json", folder)
        shutil.copy(report, folder)
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        (folder / "metrics.jsonl").write_text("".join(x for x in lines if json.loads(x)["kind"] == "validation"))
    results = root / "results" / name
    results.mkdir(parents=True, exist_ok=True)
    for file in (report, run / "metrics.jsonl"):
        shutil.copy(file, results)
    shutil.copytree(run / "pictures", results / "pictures", dirs_exist_ok=True)


def main() -> None:
    """Ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--without-weights", action="store_true")
    options = parser.parse_args()
    ship(options.run, options.name, half=options.half, weights=not options.without_weights)


if __name__ == "__main__":
    main()
