"""Images being drawn, or read and drawn again, all at the same time, as animated GIF and WebP."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from drawnet.figures.drawing import READ_COLOUR, WRITE_COLOUR, draw_window, scale_for, to_pictures
from drawnet.figures.sheet import arrange, grid_columns, in_rows
from drawnet.files import replacing
from drawnet.models.frame import Frame

CELL_SIDE = 84
DRAWING_MS = 3000
HOLD_MS = 1500

# Colours of a GIF that are greys, for images of so many channels; the others serve rectangles and coloured pixels.
GREYS = {1: 160, 3: 16}


def save_animation(
    frames: Iterable[Frame], path_gif: Path | str, path_webp: Path | str, num_columns: int | None = None
) -> None:
    """Every step with the red writing rectangles, about three seconds; then the pictures alone, held; and again.

    The WebP is lossless. A GIF has 256 colours: chosen once for the whole animation, so that nothing flickers.

    Args:
        frames: of one drawing, in order; a running sampler will do.
        path_gif: the GIF.
        path_webp: the WebP.
        num_columns: of the grid; None chooses.

    Raises:
        ValueError: no frames.
    """
    frames = list(frames)
    pages = animation_pages(frames, num_columns)
    _save(pages, GREYS[frames[0].canvas.shape[1]], path_gif, path_webp)


def save_reading_animation(
    x: Float[Tensor, "image channel height width"],
    frames: Iterable[Frame],
    path_gif: Path | str,
    path_webp: Path | str,
) -> None:
    """A network reading images and drawing them again, as `save_animation` plays it.

    Above, `x` and the green rectangles it is read through; below them, the canvases and the red ones.

    Args:
        x: what the network looks at, in [0, 1].
        frames: of the reconstruction of `x`, in order.
        path_gif: the GIF.
        path_webp: the WebP.

    Raises:
        ValueError: no frames, or frames of other images than `x`.
    """
    _save(reading_pages(x, frames), GREYS[x.shape[1]], path_gif, path_webp)


def animation_pages(frames: Iterable[Frame], num_columns: int | None = None) -> list[Image.Image]:
    """One page a step, and the last canvas once more without rectangles.

    Raises:
        ValueError: no frames.
    """
    pages = []
    frame = None
    for frame in frames:
        pages.append(_page(frame, num_columns, with_windows=True))
    if frame is None:
        raise ValueError("frames is empty: a drawing has at least one step")
    pages.append(_page(frame, num_columns, with_windows=False))
    return pages


def reading_pages(x: Float[Tensor, "image channel height width"], frames: Iterable[Frame]) -> list[Image.Image]:
    """One page a step, and the last once more without rectangles; a column an image.

    Raises:
        ValueError: no frames, or frames of other images than `x`.
    """
    frames = list(frames)
    if not frames:
        raise ValueError("frames is empty: a drawing has at least one step")
    if x.shape != frames[0].canvas.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}: the frames have {tuple(frames[0].canvas.shape)}")
    height, width = x.shape[2:]
    scale = scale_for(height, width, CELL_SIDE)
    inputs = list(to_pictures(x, scale))
    sheet = arrange(2, len(x), *inputs[0].shape[:2])
    pages = []
    for frame in frames:
        canvases = to_pictures(frame.canvas, scale)
        above = [draw_window(cell, frame.read, i, READ_COLOUR, scale) for i, cell in enumerate(inputs)]
        below = [draw_window(cell, frame.write, i, WRITE_COLOUR, scale) for i, cell in enumerate(canvases)]
        pages.append(sheet.page([above, below]))
    pages.append(sheet.page([inputs, list(to_pictures(frames[-1].canvas, scale))]))
    return pages


def step_durations(num_steps: int) -> list[int]:
    """Milliseconds of every step and of the final page; whole hundredths of a second, as GIF counts."""
    # Browsers slow down what is shorter than 20 ms.
    step = min(400, max(20, round(DRAWING_MS / num_steps / 10) * 10))
    return [step] * num_steps + [HOLD_MS]


def _save(pages: list[Image.Image], num_greys: int, path_gif: Path | str, path_webp: Path | str) -> None:
    """Write pages, all but the last of which are steps."""
    durations = step_durations(len(pages) - 1)
    with replacing(path_webp) as temporary:
        pages[0].save(
            temporary, save_all=True, append_images=pages[1:], duration=durations, loop=0, lossless=True, method=4
        )
    indexed = _indexed(pages, num_greys)
    with replacing(path_gif) as temporary:
        indexed[0].save(temporary, save_all=True, append_images=indexed[1:], duration=durations, loop=0)


def _page(frame: Frame, num_columns: int | None, with_windows: bool) -> Image.Image:
    num_columns = num_columns or grid_columns(len(frame.canvas))
    height, width = frame.canvas.shape[2:]
    scale = scale_for(height, width, CELL_SIDE)
    cells = to_pictures(frame.canvas, scale)
    if with_windows:
        cells = [draw_window(cell, frame.write, i, WRITE_COLOUR, scale) for i, cell in enumerate(cells)]
    rows = in_rows(cells, num_columns)
    return arrange(len(rows), num_columns, *cells[0].shape[:2]).page(rows)


def _indexed(pages: list[Image.Image], num_greys: int) -> list[Image.Image]:
    """The pages with one palette of 255 colours: even greys, and the rest chosen from the other colours they hold.

    One entry stays free, with which GIF marks what did not change since the last page.
    """
    chosen = [*pages[:: -(-len(pages) // 8)], pages[-1]]  # at most nine pages
    pixels = np.concatenate([np.asarray(page).reshape(-1, 3) for page in chosen])
    others = pixels[~_is_grey(pixels)]
    ramp = np.rint(np.linspace(0, 255, num_greys)).astype(np.uint8)
    palette = np.repeat(ramp, 3).tolist()
    colours = None
    if len(others):
        strip = Image.fromarray(others[None])
        colours = strip.quantize(255 - num_greys, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        palette += colours.getpalette()
    indexed = []
    for page in pages:
        values = np.asarray(page)
        index = np.rint(values[:, :, 0] * ((num_greys - 1) / 255)).astype(np.uint8)
        if colours is not None:
            other = np.asarray(page.quantize(palette=colours, dither=Image.Dither.NONE))
            index = np.where(_is_grey(values), index, other + num_greys).astype(np.uint8)
        picture = Image.fromarray(index)
        picture.putpalette(palette)
        indexed.append(picture)
    return indexed


def _is_grey(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 1] == pixels[..., 2])
