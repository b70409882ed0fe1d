"""`drawnet evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from drawnet.cli.arguments import Model, check_device, command_line, parse, use_threads
from drawnet.cli.progress import console, progress_bar


@dataclass(frozen=True)
class EvaluateOptions:
    """The bound -log p(x) <= L over a split, in nats per image, always in float32.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        dataset: another data set than the one the model was trained on.
        split: which part of it.
        importance_samples: also the importance-weighted bound with so many samples an image (each costs a pass).
        num_images: only the first so many images.
        seed: of the latents.
        threads: CPU threads.
        device: cpu, cuda, ...
        json: print one JSON object instead of a table.
    """

    model: Model
    dataset: str | None = None
    split: Literal["train", "validation", "test"] = "test"
    importance_samples: int = 0
    num_images: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"
    json: bool = False


def evaluate(arguments: list[str]) -> int:
    """Run `drawnet evaluate`."""
    options = parse(EvaluateOptions, arguments, "drawnet evaluate")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data import load_dataset
    from drawnet.report import report

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model)
    same_data = options.dataset in (None, checkpoint.config.dataset)
    images = [checkpoint.config.images] if same_data else []
    with progress_bar("evaluating") as progress:
        result = report(
            checkpoint,
            load_dataset(options.dataset or checkpoint.config.dataset, *images),
            options.split,
            model_name=options.model,
            command=command_line("evaluate", *arguments),
            importance_samples=options.importance_samples,
            num_images=options.num_images,
            seed=options.seed,
            device=check_device(options.device),
            progress=progress,
        )
    if options.json:
        print(json.dumps(result))
    else:
        print_report(result)
    return 0


def print_report(result: dict[str, Any]) -> None:
    """A report as a person reads it."""
    binarization = result["binarization"]
    kind = f"{binarization} binarisation" if binarization else "intensities read as probabilities"
    nats = result["nats"]
    print(f"{result['model']} on {result['num_images']} {result['split']} images of {result['dataset']} ({kind})")
    print(f"  {'-log p(x)' if result['exact'] else '-log p(x) <='} {_pm(nats)} nats")
    print("  = " + " + ".join(f"{name} {value:.2f}" for name, value in result["parts"].items()))
    if importance := result["importance"]:
        print(f"  -log p(x) <= {_pm(importance)} nats, importance-weighted, k = {importance['num_samples']}")
    if result["bits_per_dim"] is not None:
        print(f"  {result['bits_per_dim']:.4f} bits per dimension")
    if not binarization:
        print("  (a cross-entropy of intensities, as in the paper: not the compression cost of the image)")
    console.print(f"{result['num_parameters']:,} parameters, {result['updates']:,} updates", style="dim")


def _pm(estimate: dict[str, float | None]) -> str:
    error = estimate["standard_error"]
    return f"{estimate['mean']:.2f}" + (f" ± {error:.2f}" if error is not None else "")
