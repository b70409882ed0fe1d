"""`drawnet sample` and `drawnet reconstruct`, and the pictures that a training ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drawnet.cli.arguments import Model, check_device, parse, use_threads
from drawnet.cli.progress import console

if TYPE_CHECKING:
    import torch

    from drawnet.data import Dataset
    from drawnet.models.registry import LatentModel
    from drawnet.models.registry import Model as AnyModel

NUM_SEQUENCES = 8  # rows of the drawing sequence: what fits a page
NUM_ANIMATED = 36


@dataclass(frozen=True)
class SampleOptions:
    """Draw new images: samples.png; sequence.png, drawing.gif and drawing.webp of models that draw in steps.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        count: how many images in the grid.
        seed: of everything drawn; the same seed gives the same pictures.
        out: folder for the pictures, made if missing.
        threads: CPU threads.
        device: cpu, cuda, ...
    """

    model: Model
    count: int = 64
    seed: int = 0
    out: Path = Path("pictures")
    threads: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class ReconstructOptions:
    """Read test images and draw them again: reconstruction.png.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        count: how many images, evenly spread over the test split.
        seed: of the latents.
        out: folder for the picture, made if missing.
        threads: CPU threads.
        device: cpu, cuda, ...
    """

    model: Model
    count: int = 4
    seed: int = 0
    out: Path = Path("pictures")
    threads: int | None = None
    device: str = "cpu"


def sample(arguments: list[str]) -> int:
    """Run `drawnet sample`."""
    options = parse(SampleOptions, arguments, "drawnet sample")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data import load_dataset

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model)
    model = checkpoint.load_model().to(check_device(options.device))
    try:
        dataset = load_dataset(checkpoint.config.dataset, checkpoint.config.images)
    except (ValueError, OSError) as error:
        console.print(f"without the nearest training images, which cannot be read: {error}", style="yellow")
        dataset = None
    _tell(write_samples(model, dataset, options.out, options.count, options.seed))
    return 0


def reconstruct(arguments: list[str]) -> int:
    """Run `drawnet reconstruct`."""
    options = parse(ReconstructOptions, arguments, "drawnet reconstruct")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data import load_dataset
    from drawnet.models.registry import LatentModel

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model)
    model = checkpoint.load_model().to(check_device(options.device))
    if not isinstance(model, LatentModel):
        raise ValueError(f"{options.model} is a {type(model).__name__}: only models with latents can reconstruct")
    dataset = load_dataset(checkpoint.config.dataset, checkpoint.config.images)
    _tell([write_reconstruction(model, dataset, options.out, options.count, options.seed)])
    return 0


def write_samples(model: AnyModel, dataset: Dataset | None, out: Path, count: int, seed: int) -> list[Path]:
    """The grid (beside the nearest training images if there are any); the sequence and the animation of models that
    draw in steps; the manifold of two latents."""
    from drawnet.figures.animation import save_animation
    from drawnet.figures.manifold import latent_manifold
    from drawnet.figures.samples import nearest_images, sample_grid
    from drawnet.figures.sequence import drawing_sequence
    from drawnet.files import save_picture
    from drawnet.models.vae import VAE

    *_, last = model.sample(count, generator=generator_for(model, seed))
    images = last.canvas.cpu()
    neighbours = None
    if dataset is not None:
        indices, _ = nearest_images(images, dataset.train)
        neighbours = dataset.train.intensities(indices)
    names = ("samples.png", "manifold.png", "sequence.png", "drawing.gif", "drawing.webp")
    grid, manifold, sequence, gif, webp = (out / name for name in names)
    save_picture(sample_grid(images, neighbours), grid)
    if isinstance(model, VAE):
        if model.latent_shape != (2,):
            return [grid]
        device = next(model.parameters()).device
        save_picture(latent_manifold(lambda z: model.decode(z.to(device))), manifold)
        return [grid, manifold]
    save_picture(drawing_sequence(model.sample(NUM_SEQUENCES, generator=generator_for(model, seed))), sequence)
    save_animation(model.sample(NUM_ANIMATED, generator=generator_for(model, seed)), gif, webp)
    return [grid, sequence, gif, webp]


def write_reconstruction(model: LatentModel, dataset: Dataset, out: Path, count: int, seed: int) -> Path:
    """Test images with the reading window, and the canvas with the writing window, step by step."""
    from drawnet.figures.sequence import reconstruction_sheet
    from drawnet.files import save_picture

    generator = generator_for(model, seed)
    x = some_test_images(dataset, count, seed).to(generator.device)
    path = out / "reconstruction.png"
    save_picture(reconstruction_sheet(x, model.reconstruct(x, generator=generator)), path)
    return path


def some_test_images(dataset: Dataset, count: int, seed: int) -> torch.Tensor:
    """Test images, evenly spread over the split, `[image, channel, height, width]`.

    Raises:
        ValueError: `count` is out of range.
    """
    import torch

    from drawnet.evaluate import spread_indices

    if not 1 <= count <= len(dataset.test):
        raise ValueError(f"--count is {count}: {dataset.name} has 1 to {len(dataset.test)} test images")
    return dataset.test.batch(spread_indices(count, len(dataset.test)), torch.Generator().manual_seed(seed))


def generator_for(model: AnyModel, seed: int) -> torch.Generator:
    """A seeded generator on the model's device."""
    import torch

    return torch.Generator(next(model.parameters()).device).manual_seed(seed)


def _tell(paths: Sequence[Path]) -> None:
    for path in paths:
        print(path)
