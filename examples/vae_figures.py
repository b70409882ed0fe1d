"""Figures 2, 4 and 5 of Auto-Encoding Variational Bayes (Kingma, Welling 2013), from training to picture.

    python examples/vae_figures.py
    python examples/vae_figures.py --dataset freyfaces.npz --out vae-freyfaces

For every number of latents N_z it trains one VAE by AEVB and one by wake-sleep (section 5 of the paper: Adagrad,
batches of 100, the prior N(0, I) on the weights) and evaluates the bound on 1,000 training and 1,000 test images as it
goes. Bits get a Bernoulli decoder and 500 hidden units, other images a Gaussian one and 200. It writes

    figure2.png     the bound against training samples, a panel for every N_z of --latents
    figure2.json    the numbers in it, with their standard errors
    figure4.png     what the VAE with two latents knows, over the unit square
    figure5.png     samples of the VAEs with 2, 5, 10 and 20 latents (AEVB), those that --latents does not have too

On one thread an update of 100 images takes about 15 ms (AEVB) and 20 ms (wake-sleep) for MNIST, 10 ms for Frey Face:
about half an hour and a quarter of an hour with the default number of samples.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure

from drawnet.cli.arguments import parse, use_threads
from drawnet.cli.progress import console, duration
from drawnet.data import Dataset, Split, load_dataset
from drawnet.evaluate import evaluate
from drawnet.figures.bounds import Panel, bound_curves
from drawnet.figures.manifold import latent_manifold
from drawnet.figures.samples import sample_grid
from drawnet.files import replacing, save_picture, write_json
from drawnet.models.vae import VAE
from drawnet.presets import RunConfig, for_images, freyfaces_vae, mnist_vae
from drawnet.run import new_model
from drawnet.train import Training, fit

METHODS = {"AEVB": "likelihood", "wake-sleep": "wake-sleep"}  # to the objective of TrainingConfig
SAMPLED_LATENTS = (2, 5, 10, 20)  # of figure 5
NUM_POINTS = 12
NUM_EVALUATED = 1000


@dataclass(frozen=True)
class Options:
    """What to train on, and for how long."""

    dataset: str = "binarized-mnist"
    """data set: a name, folder:PATH, or a .npy or .npz file"""
    samples: int = 1_000_000
    """training samples for every network"""
    latents: tuple[int, ...] = ()
    """panels of figure 2; as in the paper if not given: 3 5 10 20 200 for bits, 2 5 10 20 for other images"""
    out: Path = Path("vae-figures")
    """folder to write to"""
    seed: int = 0
    """of the starting weights, the order of the images and the latents"""
    threads: int | None = None
    """CPU threads"""


def main(arguments: Sequence[str]) -> None:
    """Train, evaluate and draw.

    Raises:
        ValueError: an option or the data set is not as it must be.
        OSError: a file cannot be read or written.
    """
    options = parse(Options, arguments, "vae_figures.py")
    use_threads(options.threads)
    data = load_dataset(options.dataset)
    preset = for_images(mnist_vae() if data.binarization else freyfaces_vae(), data)
    batch_size = min(preset.training.batch_size, len(data.train))
    if options.samples < batch_size:
        raise ValueError(f"--samples is {options.samples}: it must be at least one batch, {batch_size}")
    latents = options.latents or ((3, 5, 10, 20, 200) if data.binarization else SAMPLED_LATENTS)
    updates = options.samples // batch_size
    num_epochs = updates / (len(data.train) // batch_size)
    training = dataclasses.replace(preset.training, seed=options.seed, epochs=num_epochs)
    splits = {"train": some(data.train), "test": some(data.test)}
    options.out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be written is known before the training

    panels, learned = [], {}
    for size in sorted({*latents, *SAMPLED_LATENTS}):
        model_config = dataclasses.replace(preset.model, latent_size=size)
        curves: dict[str, list[dict]] = {}
        for method, objective in METHODS.items() if size in latents else [("AEVB", "likelihood")]:
            plan = dataclasses.replace(training, objective=objective)
            config = dataclasses.replace(preset, model=model_config, training=plan)
            model, points = learn(config, data, splits, updates, f"N_z = {size}, {method}")
            curves |= {f"{method} ({split})": points[split] for split in points}
            if method == "AEVB":
                learned[size] = model
        if size in latents:
            panels.append({"latents": size, "curves": curves})

    content = {
        "command": shlex.join(["python", "examples/vae_figures.py", *arguments]),
        "dataset": data.name,
        "binarization": data.binarization,
        "estimator": "the bound L of eq. (10), one sample of z an image; nats per data point, higher is better",
        "num_images": {name: len(split) for name, split in splits.items()},
        "model": dataclasses.asdict(preset.model) | {"latent_size": "see panels"},
        "training": dataclasses.asdict(training) | {"objective": "see curves"},
        "threads": torch.get_num_threads(),
        "panels": panels,
    }
    write_json(options.out / "figure2.json", content)
    figure = [
        Panel(
            f"$N_z$ = {panel['latents']}",
            {label: [(p["samples"], p["bound"]) for p in points] for label, points in panel["curves"].items()},
        )
        for panel in panels
    ]
    bound_curves(figure, options.out / "figure2.png")
    save_picture(latent_manifold(learned[2].decode), options.out / "figure4.png")
    samples_side_by_side({size: learned[size] for size in SAMPLED_LATENTS}, options.seed, options.out / "figure5.png")
    console.print(f"wrote figure2.png, figure2.json, figure4.png and figure5.png to {options.out}")


def some(split: Split) -> Split:
    """Up to 1,000 images drawn from all over a split, for it can be sorted: test images 1 to 980 of binarized-mnist
    are all zeros."""
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:NUM_EVALUATED]
    return dataclasses.replace(split, images=split.images[chosen])


def learn(
    config: RunConfig, data: Dataset, splits: dict[str, Split], num_updates: int, name: str
) -> tuple[VAE, dict[str, list[dict]]]:
    """A trained VAE, and its bound on the splits as it learned, evenly on a logarithmic scale."""
    model = new_model(config, data)
    assert isinstance(model, VAE)
    training = Training(model, data.train, config.training)
    spread = torch.logspace(-2, 0, NUM_POINTS, dtype=torch.float64) * num_updates
    when = {max(1, round(update)) for update in spread.tolist()}
    points: dict[str, list[dict]] = {split: [] for split in splits}
    start = time.monotonic()
    for record in fit(training):
        if record.update not in when:
            continue
        for split, curve in points.items():
            nats = evaluate(model, splits[split], seed=config.training.seed).nats
            samples = record.update * training.stream.batch_size
            curve.append({"samples": samples, "bound": -nats.mean, "standard_error": nats.standard_error})
    bounds = ", ".join(f"{curve[-1]['bound']:.1f} {split}" for split, curve in points.items())
    console.print(f"{name}: bound {bounds}; {num_updates:,} updates in {duration(time.monotonic() - start)}")
    return model, points


def samples_side_by_side(models: dict[int, VAE], seed: int, path: Path) -> None:
    """Figure 5: a hundred samples of every model, the means of p(x|z)."""
    grids = {}
    for size, model in models.items():
        (frame,) = model.sample(100, generator=torch.Generator().manual_seed(seed))
        grids[size] = sample_grid(frame.canvas)
    width, height = next(iter(grids.values())).size
    figure = Figure(figsize=(3.6 * len(grids) * width / height, 3.9), dpi=150, layout="constrained")
    for axis, (size, grid) in zip(figure.subplots(1, len(grids)), grids.items(), strict=True):
        axis.imshow(grid, interpolation="antialiased")
        axis.set_title(f"{size}-D latent space", fontsize=10)
        axis.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
