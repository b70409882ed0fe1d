"""`drawnet evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from drawnet.cli.arguments import Model, check_device, command_line, parse, use_threads
from drawnet.cli.progress import console, progress_bar


@dataclass(frozen=True)
class EvaluateOptions:
    """-log p(x) over a split, exact or a bound, in nats per image, always in float32.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        dataset: another data set than the one the model was trained on.
        split: which part of it.
        importance_samples: also the importance-weighted bound with so many samples an image (each costs a pass).
        ais_temperatures: also annealed importance sampling with so many temperatures (for a few images: --num-images).
        ais_chains: of annealed importance sampling, for each image.
        posterior_samples: also the VAE paper's estimator for a few latents (appendix D) with so many samples.
        num_images: only so many images, evenly spread over the split.
        seed: of the latents.
        threads: CPU threads.
        device: cpu, cuda, ...
        json: print one JSON object instead of a table.
    """

    model: Model
    dataset: str | None = None
    split: Literal["train", "validation", "test"] = "test"
    importance_samples: int = 0
    ais_temperatures: int = 0
    ais_chains: int = 16
    posterior_samples: int = 0
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
            ais_temperatures=options.ais_temperatures,
            ais_chains=options.ais_chains,
            posterior_samples=options.posterior_samples,
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


PIXELS = {"intensities": "intensities read as probabilities", "density": "a density of intensities"}


def print_report(result: dict[str, Any]) -> None:
    """A report as a person reads it."""
    binarization = result["binarization"]
    kind = f"{binarization} binarisation" if binarization else PIXELS.get(result["pixels"], result["pixels"])
    nats = result["nats"]
    print(f"{result['model']} on {result['num_images']} {result['split']} images of {result['dataset']} ({kind})")
    print(f"  {'-log p(x)' if result['exact'] else '-log p(x) <='} {nats_text(nats)} nats")
    if len(result["parts"]) > 1:
        print("  = " + " + ".join(f"{name} {value:.2f}" for name, value in result["parts"].items()))
    if importance := result["importance"]:
        print(f"  -log p(x) <= {nats_text(importance)} nats, importance-weighted, k = {importance['num_samples']}")
    if ais := result["annealed"]:
        how = f"{ais['num_temperatures']} temperatures, {ais['num_chains']} chains"
        print(f"  -log p(x) about {nats_text(ais)} nats, annealed importance sampling, {how}")
    if density := result["posterior_density"]:
        print(f"  -log p(x) about {nats_text(density)} nats, posterior density, {density['num_samples']} samples")
    if result["bits_per_dim"] is not None:
        print(f"  {result['bits_per_dim']:.4f} bits per dimension")
    if caveat := result["caveat"]:
        print(f"  ({caveat})")
    console.print(f"{result['num_parameters']:,} parameters, {result['updates']:,} updates", style="dim")


def nats_text(estimate: dict[str, Any]) -> str:
    """`mean ± standard error`, two decimals."""
    error = estimate["standard_error"]
    return f"{estimate['mean']:.2f}" + (f" ± {error:.2f}" if error is not None else "")
