"""`drawnet complete`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drawnet.cli.arguments import Model, check_device, parse, use_threads
from drawnet.cli.pictures import some_test_images
from drawnet.cli.progress import progress_bar

if TYPE_CHECKING:
    import torch

    from drawnet.models.registry import Model as AnyModel

HALVES = ("bottom", "top", "left", "right")
FILES = ("completion.png", "completion.gif", "completion.webp")


@dataclass(frozen=True)
class CompleteOptions:
    """Hide part of images and let a model fill it in: completion.png, completion.gif, completion.webp.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        hide: bottom, top, left or right half, or a picture of the model's size whose white pixels are hidden and
            whose black ones are known.
        image: a picture to complete, of the model's size and channels; without one, test images,
            evenly spread over the split.
        dataset: whose test images; without one, those of the data set the model was trained on.
        count: how many test images.
        completions: how many of every image.
        seed: of everything drawn.
        out: folder for the pictures, made if missing.
        threads: CPU threads.
        device: cpu, cuda, ...
    """

    model: Model
    hide: str = "bottom"
    image: Path | None = None
    dataset: str | None = None
    count: int = 4
    completions: int = 6
    seed: int = 0
    out: Path = Path("pictures")
    threads: int | None = None
    device: str = "cpu"


def complete(arguments: list[str]) -> int:
    """Run `drawnet complete`."""
    options = parse(CompleteOptions, arguments, "drawnet complete")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data import load_dataset

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model)
    model = checkpoint.load_model().to(check_device(options.device))
    known = ~hidden_pixels(options.hide, model)
    if options.image is not None:
        x = read_picture(options.image, model)
        _check_levels(options.image, x[..., known], model)
    else:
        same_data = options.dataset in (None, checkpoint.config.dataset)
        images = [checkpoint.config.images] if same_data else []
        dataset = load_dataset(options.dataset or checkpoint.config.dataset, *images)
        x = some_test_images(dataset, options.count, options.seed)
    paths = write_completions(model, x, known, options.out, options.completions, options.seed)
    print(how_exact(model, known))
    print(*paths, sep="\n")
    return 0


def write_completions(
    model: AnyModel, x: torch.Tensor, known: torch.Tensor, out: Path, num_completions: int, seed: int
) -> list[Path]:
    """The sheet and the animation of several completions of every image.

    Args:
        model: any.
        x: `[image, channel, height, width]`, the originals.
        known: `[height, width]`, the same for all.
        out: folder.
        num_completions: of every image.
        seed: of the draws.
    """
    import torch

    from drawnet.figures.animation import save_animation
    from drawnet.figures.completion import completion_sheet
    from drawnet.files import save_picture
    from drawnet.models.impute import NUM_ROUNDS
    from drawnet.models.registry import LatentModel

    if num_completions < 1:
        raise ValueError(f"--completions is {num_completions}: it must be at least 1")
    device = next(model.parameters()).device
    total = NUM_ROUNDS if isinstance(model, LatentModel) else int((~known).any(1).sum())
    known = known.expand(len(x), 1, *x.shape[2:])
    repeated, repeated_known = (t.repeat_interleave(num_completions, 0).to(device) for t in (x, known))
    generator = torch.Generator(device).manual_seed(seed)
    with progress_bar("completing") as progress:
        frames = []
        for frame in model.complete(repeated, repeated_known, generator=generator):
            frames.append(frame)
            progress(len(frames), max(len(frames), total))  # two networks one after the other draw more rows
    completions = frames[-1].canvas.cpu().unflatten(0, (len(x), num_completions))
    sheet, gif, webp = (out / name for name in FILES)
    save_picture(completion_sheet(x, known, completions), sheet)
    save_animation(frames, gif, webp, num_columns=num_completions)
    return [sheet, gif, webp]


def hidden_pixels(hide: str, model: AnyModel) -> torch.Tensor:
    """Which pixels to hide, `[height, width]`, bool: a half (the middle row or column is known), or a picture's white.

    Raises:
        ValueError: not a half and not a picture of pure black and white of the model's size.
    """
    import numpy as np
    import torch

    from drawnet.data.folder import read_image

    height, width = model.config.height, model.config.width
    hidden = torch.zeros(height, width, dtype=torch.bool)
    if hide in HALVES:
        rows = {"bottom": slice((height + 1) // 2, None), "top": slice(height // 2)}.get(hide, slice(None))
        columns = {"right": slice((width + 1) // 2, None), "left": slice(width // 2)}.get(hide, slice(None))
        hidden[rows, columns] = True
        return hidden
    path = Path(hide)
    if not path.is_file():
        raise ValueError(f"--hide is {hide!r}: it must be {', '.join(HALVES)} or a picture file, and there is none")
    values = np.asarray(read_image(path).convert("RGB"))
    if values.shape[:2] != (height, width):
        raise ValueError(
            f"{path} is {values.shape[0]} x {values.shape[1]} (height x width): a mask for this model is "
            f"{height} x {width}"
        )
    white, black = (values == 255).all(2), (values == 0).all(2)
    if not (white | black).all():
        raise ValueError(f"{path} is no mask: every pixel must be black (known) or white (hidden)")
    return torch.from_numpy(white)


def read_picture(path: Path, model: AnyModel) -> torch.Tensor:
    """A picture file as the model's input, `[1, channel, height, width]` in [0, 1].

    Raises:
        ValueError: not of the model's size or channels, or not an image; the message names the file.
        OSError: it cannot be read.
    """
    import numpy as np
    import torch

    from drawnet.data.folder import read_image

    if not path.is_file():
        raise ValueError(f"--image is {str(path)!r}: there is no such file")
    picture = read_image(path)
    config = model.config
    if (picture.height, picture.width) != (config.height, config.width):
        raise ValueError(
            f"{path} is {picture.height} x {picture.width} (height x width): this model takes "
            f"{config.height} x {config.width}"
        )
    num_channels = len(picture.getbands())
    if num_channels != config.num_channels:
        kinds = {1: "grey", 3: "colour"}
        raise ValueError(f"{path} is {kinds[num_channels]}: this model takes {kinds[config.num_channels]} images")
    values = torch.from_numpy(np.array(picture)).reshape(config.height, config.width, num_channels)
    return values.permute(2, 0, 1)[None].float() / 255


def _check_levels(path: Path, known_values: torch.Tensor, model: AnyModel) -> None:
    """Refuse a picture whose known pixels hold a value that the model's pixels cannot have."""
    from drawnet.nn.pixels import pixel_levels

    num_levels = getattr(model.config, "num_levels", None)
    if num_levels is None:  # models with latents read intensities too
        return
    try:
        pixel_levels(known_values, num_levels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def how_exact(model: AnyModel, known: torch.Tensor) -> str:
    """What the completions are samples of, in one line."""
    from drawnet.models.ancestral import is_raster_suffix
    from drawnet.models.impute import NUM_ROUNDS
    from drawnet.models.multiscale import MultiScale
    from drawnet.models.registry import LatentModel

    if known.all():
        return "every pixel is known: the completions are the image"
    if isinstance(model, LatentModel):
        return f"approximate: {NUM_ROUNDS} rounds of inference and imputation"
    if isinstance(model, MultiScale) and known.any():
        return "approximate: the small image does not know of the known pixels between its own"
    if is_raster_suffix(known[None, None]):
        return "exact samples: every hidden pixel comes after every known one in raster order"
    return "approximate: hidden pixels do not know of the known ones after them in raster order"
