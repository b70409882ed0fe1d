"""`drawnet compare`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from drawnet.cli.arguments import check_device, command_line, parse, use_threads
from drawnet.cli.progress import progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from drawnet.checkpoint import Checkpoint

NUM_SAMPLES = 16  # drawn of every model, timed, and shown
FILES = ("compare.json", "compare.png")


@dataclass(frozen=True)
class CompareOptions:
    """Models side by side on the same images: a table, compare.png and compare.json.

    Attributes:
        models: run folders, checkpoint folders or names of shipped weights.
        dataset: the images; without one, what all of the models were trained on.
        split: which part of it.
        importance_samples: also the importance-weighted bound of models with latents.
        num_images: only so many images, evenly spread over the split.
        seed: of everything drawn.
        out: folder for the files, made if missing.
        threads: CPU threads.
        device: cpu, cuda, ...
        json: print compare.json instead of the table.
    """

    models: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL MODEL ...")]
    dataset: str | None = None
    split: Literal["train", "validation", "test"] = "test"
    importance_samples: int = 0
    num_images: int | None = None
    seed: int = 0
    out: Path = Path("compare")
    threads: int | None = None
    device: str = "cpu"
    json: bool = False


def compare(arguments: list[str]) -> int:
    """Run `drawnet compare`."""
    options = parse(CompareOptions, arguments, "drawnet compare")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data import load_dataset
    from drawnet.figures.comparison import Entry, comparison_sheet
    from drawnet.files import save_picture, write_json
    from drawnet.models.registry import LatentModel
    from drawnet.report import report

    use_threads(options.threads)
    device = check_device(options.device)
    if not options.models:
        raise ValueError("compare needs at least one MODEL; `drawnet models` lists those that come with drawnet")
    checkpoints = {name: find_checkpoint(name) for name in options.models}
    trained_on = {checkpoint.config.dataset for checkpoint in checkpoints.values()}
    if options.dataset is None and len(trained_on) > 1:
        raise ValueError(
            f"the models were trained on {', '.join(sorted(trained_on))}: say with --dataset what to compare them on"
        )
    name = options.dataset or trained_on.pop()
    images = [c.config.images for c in checkpoints.values() if c.config.dataset == name]
    if any(options != images[0] for options in images):
        raise ValueError(
            f"the models read {name} in different ways (--image-size, --channels, ...): compare them apart"
        )
    dataset = load_dataset(name, *images[:1])
    rows, entries = [], []
    short = short_names(list(checkpoints))
    for model_name, checkpoint in checkpoints.items():
        has_latents = isinstance(checkpoint.load_model(), LatentModel)
        with progress_bar(model_name) as progress:
            row = report(
                checkpoint,
                dataset,
                options.split,
                model_name=model_name,
                command=command_line("compare", *arguments),
                importance_samples=options.importance_samples if has_latents else 0,
                num_images=options.num_images,
                seed=options.seed,
                device=device,
                progress=progress,
            )
        samples, seconds = _timed_samples(checkpoint, device, options.seed)
        rows.append(row | {"num_samples": NUM_SAMPLES, "sample_seconds": seconds})
        final = row["train_seconds"] / 60, row["nats"]["mean"]
        entries.append(Entry(short[model_name], samples, row["exact"], _history(checkpoint), final))
    content = {"dataset": dataset.name, "split": options.split, "models": rows}
    table, picture = (options.out / file for file in FILES)
    write_json(table, content)
    save_picture(comparison_sheet(entries), picture)
    if options.json:
        print(json.dumps(content))
    else:
        _print_table(content)
        print(table, picture, sep="\n")
    return 0


def short_names(names: Sequence[str]) -> dict[str, str]:
    """What to call models where there is little room: the last part of a path, all of it where two share that."""
    last = {name: Path(name).resolve().name for name in names}
    return {name: part if list(last.values()).count(part) == 1 else name for name, part in last.items()}


def _timed_samples(checkpoint: Checkpoint, device: str, seed: int) -> tuple[Tensor, float]:
    """Images and the seconds they took."""
    import torch

    model = checkpoint.load_model().to(device)
    generator = torch.Generator(device).manual_seed(seed)
    start = time.monotonic()
    *_, last = model.sample(NUM_SAMPLES, generator=generator)
    return last.canvas.cpu(), time.monotonic() - start


def _history(checkpoint: Checkpoint) -> list[tuple[float, float]]:
    """Minutes of training and validation nats, from the metrics beside the checkpoint or of its run; maybe none."""
    from drawnet.figures.curves import read_metrics

    for folder in (checkpoint.path, checkpoint.path.parent.parent):
        if (path := folder / "metrics.jsonl").is_file():
            records = [record for record in read_metrics(path) if record.get("kind") == "validation"]
            return [(record["seconds"] / 60, record["nats"]["mean"]) for record in records]
    return []


def _print_table(content: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from drawnet.cli.evaluate import nats_text
    from drawnet.cli.progress import duration

    rows = content["models"]
    short = short_names([row["model"] for row in rows])
    first = rows[0]
    binarization = f", {first['binarization']} binarisation" if first["binarization"] else ""
    print(f"{first['num_images']} {content['split']} images of {content['dataset']}{binarization}")
    columns = {"model": [short[row["model"]] for row in rows], "nats": [nats_text(row["nats"]) for row in rows]}
    columns["kind"] = [kind(row) for row in rows]
    if any(row["importance"] for row in rows):
        columns["IW bound"] = [nats_text(row["importance"]) if row["importance"] else "" for row in rows]
    if any(row["bits_per_dim"] is not None for row in rows):
        columns["bits/dim"] = ["" if row["bits_per_dim"] is None else f"{row['bits_per_dim']:.4f}" for row in rows]
    columns["parameters"] = [f"{row['num_parameters']:,}" for row in rows]
    columns["trained"] = [duration(row["train_seconds"]) for row in rows]
    columns[f"{NUM_SAMPLES} samples"] = [f"{row['sample_seconds']:.3f} s" for row in rows]
    table = Table(*columns, box=None, pad_edge=False)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    # On a terminal it has to fit; in a file or pipe there is no width to fit.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if caveats := {row["caveat"] for row in rows if row["caveat"]}:
        print(f"intensities: {', '.join(caveats)}")


def kind(row: dict[str, Any]) -> str:
    """What a report's nats are: exact, an upper bound, or no code length at all."""
    what = "exact" if row["exact"] else "upper bound"
    return what if row["pixels"] == "bits" else f"{what}, {row['pixels']}"
