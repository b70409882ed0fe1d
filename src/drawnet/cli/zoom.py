"""`drawnet zoom`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from drawnet.cli.arguments import parse

if TYPE_CHECKING:
    import torch

    from drawnet.nn.attention import Window

ZOOMS = (1.0, 0.5, 0.25)  # of the image's shorter side: what the default windows span


@dataclass(frozen=True)
class ZoomOptions:
    """Look at a picture through DRAW's attention: the window, what it reads, what is left of it when it is written
    back, two of its filters; a row for every window. Options take one value, or one for each row.

    Attributes:
        image: a picture file, grey or colour.
        out: the picture to write, PNG or another format.
        side: a picture whose longer side has more pixels is first scaled down to so many; lengths below are in
            pixels of the result.
        grid_size: N: the patch has N x N values, one for every filter.
        center: gX and gY, column and row of the window's centre, counted from 1; without it the image's.
        stride: delta, the distance of neighbouring filters; without it windows that span all, a half and a quarter of
            the shorter side.
        sigma: standard deviation of the filters; without it half the stride.
        gamma: intensity: the patch is multiplied by it.
    """

    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    out: Path = Path("zoom.png")
    side: int = 100
    grid_size: int = 12
    center: tuple[tuple[float, float], ...] = ()
    stride: tuple[float, ...] = ()
    sigma: tuple[float, ...] = ()
    gamma: tuple[float, ...] = ()


def zoom(arguments: list[str]) -> int:
    """Run `drawnet zoom`."""
    options = parse(ZoomOptions, arguments, "drawnet zoom")

    from drawnet.figures.zoom import zoom_sheet
    from drawnet.files import save_picture

    check_suffix(options.out)
    image = read_scaled(options.image, options.side)
    windows = windows_from(options, *image.shape[1:])
    save_picture(zoom_sheet(image, windows), options.out)
    print(f"{image.shape[1]} x {image.shape[2]} pixels (height x width)")
    for i in range(len(windows.stride)):
        x, y, stride, sigma, gamma = (v[i].item() for v in list(vars(windows).values())[:5])
        print(f"  center {x:g} {y:g}, stride {stride:.3g}, sigma {sigma:.3g}, gamma {gamma:g}")
    print(options.out)
    return 0


def check_suffix(path: Path) -> None:
    """Refuse a file whose name does not say in which format to write it.

    Raises:
        ValueError: the suffix is missing, or none of an image format that can be written.
    """
    from PIL import Image

    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"--out is {str(path)!r}: its name must end in .png or another image format's suffix")


def read_scaled(path: Path, side: int) -> torch.Tensor:
    """A picture file, `[channel, height, width]` in [0, 1], scaled down to a longer side of at most `side` pixels.

    Raises:
        ValueError: it cannot be read as an image, or `side` is below 2; the message names it.
        OSError: it may not be read.
    """
    import numpy as np
    import torch
    from PIL import Image

    from drawnet.data.folder import read_image

    if side < 2:
        raise ValueError(f"--side is {side}: it must be at least 2 pixels")
    if not path.is_file():
        raise ValueError(f"IMAGE is {str(path)!r}: there is no such file")
    picture = read_image(path)
    if (longer := max(picture.size)) > side:
        width, height = (max(1, round(length * side / longer)) for length in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    values = torch.from_numpy(np.array(picture)).reshape(picture.height, picture.width, -1)
    return values.permute(2, 0, 1).float() / 255


def windows_from(options: ZoomOptions, height: int, width: int) -> Window:
    """The windows that the options mean on an image of the given size, one a row.

    Raises:
        ValueError: a value out of range, or options with different numbers of values.
    """
    import torch

    from drawnet.nn.attention import Window, check_grid_size

    check_grid_size("--grid-size", options.grid_size)
    widest = max(1, min(height, width) - 1) / (options.grid_size - 1)
    stride = options.stride or tuple(part * widest for part in ZOOMS)
    sigma = options.sigma or tuple(value / 2 for value in stride)
    center = options.center or (((width + 1) / 2, (height + 1) / 2),)
    gamma = options.gamma or (1.0,)
    given = {"stride": stride, "sigma": sigma, "gamma": gamma}
    longer = max(height, width)
    for name, values in given.items():
        highest = math.inf if name == "gamma" else longer
        limit = "" if name == "gamma" else f" and at most {longer} pixels, the image's longer side"
        for value in values:
            if not (0 < value <= highest and math.isfinite(value)):
                raise ValueError(f"--{name} is {value:g}: it must be a number above 0{limit}")
    for value in (v for place in center for v in place):
        if not math.isfinite(value):
            raise ValueError(f"--center is {value:g}: it must be a number of pixels")
    num_rows = max(map(len, (center, *given.values())))

    def rows(name: str, values: Sequence) -> Sequence:
        if len(values) not in (1, num_rows):
            raise ValueError(f"--{name} has {len(values)} values: it must have 1, or {num_rows} as another option has")
        return list(values) * (num_rows // len(values))

    x, y = zip(*rows("center", center), strict=True)
    parameters = (x, y, *(rows(name, values) for name, values in given.items()))
    return Window(*(torch.tensor(v, dtype=torch.float32) for v in parameters), grid_size=options.grid_size)
