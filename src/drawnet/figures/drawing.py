"""Images as crisp pictures, and the rectangles of the attention on them.

A picture is a byte array `[height, width, 3]`, every image pixel a square of `scale` x `scale` picture pixels with
the image's own intensity. The equations count pixels from 1, so column a of the image covers [a - 0.5, a + 0.5] and
its square runs from (a - 1) * scale to a * scale in the picture; a point x of the image lies at (x - 0.5) * scale.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from torch import Tensor

from drawnet.nn.attention import Window

Colour = tuple[int, int, int]

READ_COLOUR: Colour = (32, 196, 92)
WRITE_COLOUR: Colour = (238, 42, 42)

# Line widths of the blurriest and of the sharpest filter, as parts of the image's longer side:
# 0.4 and 1.6 pixels of a 28 x 28 image.
THINNEST_LINE = 0.4 / 28
THICKEST_LINE = 1.6 / 28

CENTER_SIDE = 0.2  # of the square that marks a filter's centre, in strides


def scale_for(height: int, width: int, side: int) -> int:
    """The whole factor, at least 1, that brings an image's longer side nearest to `side` picture pixels."""
    return max(1, round(side / max(height, width)))


def to_pictures(images: Float[Tensor, "image channel height width"], scale: int) -> np.ndarray:
    """Images in [0, 1] as bytes `[image, height * scale, width * scale, 3]`, 255 times the intensity, rounded.

    Raises:
        ValueError: not four dimensions, channels other than 1 or 3, or a value that is not in [0, 1].
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images has shape {tuple(images.shape)}: it must be [image, 1 or 3, height, width]")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError("images holds values outside [0, 1] or not a number: only intensities can be drawn")
    values = np.rint(images.detach().cpu().double().numpy() * 255).astype(np.uint8)
    values = values.transpose(0, 2, 3, 1).repeat(scale, axis=1).repeat(scale, axis=2)
    return np.broadcast_to(values, (*values.shape[:3], 3)).copy()


def line_width(sigma: float, image_side: int) -> float:
    """Width of a window's border, in image pixels: the more precise its filters, the thicker.

    width = thinnest + (thickest - thinnest) / (1 + s), s = 28 sigma / image_side

    Strictly falling in sigma, between `THICKEST_LINE` (points, s = 0) and `THINNEST_LINE` (blur without end) of the
    image's longer side, half way at s = 1: sigma = 1 pixel of a 28 x 28 image. The paper says that the width shows
    the precision, not by which formula.

    Args:
        sigma: standard deviation of the filters, pixels.
        image_side: the longer side of the image, pixels.
    """
    sharpness = 1 / (1 + 28 * sigma / image_side)
    return image_side * (THINNEST_LINE + (THICKEST_LINE - THINNEST_LINE) * sharpness)


def draw_window(picture: np.ndarray, window: Window | None, index: int, colour: Colour, scale: int) -> np.ndarray:
    """A copy of the picture with the square through a window's outermost filter centres, as wide as `line_width`.

    The border is anti-aliased exactly, by the area that it covers of each picture pixel. What lies outside the
    picture is cut off. A window without a place (not a number) and `None` draw nothing.

    Args:
        picture: bytes `[height * scale, width * scale, 3]`.
        window: where the model looked, a batch of places.
        index: which of them.
        colour: of the border.
        scale: picture pixels to an image pixel.
    """
    picture = picture.copy()
    if window is None:
        return picture
    places = (window.center_x, window.center_y, window.half_width, window.sigma)
    x, y, half, sigma = (values[index].item() for values in places)
    if not all(map(math.isfinite, (x, y, half, sigma))):
        return picture

    height, width = picture.shape[:2]
    half_line = line_width(sigma, max(height, width) // scale) / 2
    coverage = _square_coverage(x, y, half + half_line, scale, height, width)
    if half > half_line:
        coverage = coverage - _square_coverage(x, y, half - half_line, scale, height, width)
    coverage = coverage[:, :, None]
    return np.rint(picture * (1 - coverage) + np.array(colour) * coverage).astype(np.uint8)


def draw_centers(picture: np.ndarray, window: Window, index: int, colour: Colour, scale: int) -> np.ndarray:
    """A copy of the picture with a small square at each of a window's N x N filter centres (19, 20).

    A square is `CENTER_SIDE` of the stride wide and at least a picture pixel, anti-aliased by the area that it covers.

    Args:
        picture: bytes `[height * scale, width * scale, 3]`.
        window: where to look, a batch of places.
        index: which of them.
        colour: of the squares.
        scale: picture pixels to an image pixel.
    """
    height, width = picture.shape[:2]
    places = (window.center_x, window.center_y, window.stride)
    x, y, stride = (values[index].item() for values in places)
    half = max(CENTER_SIDE * stride, 1 / scale) / 2
    offsets = [(i - window.grid_size / 2 - 0.5) * stride for i in range(1, window.grid_size + 1)]
    across, down = (
        np.minimum(sum(_interval_coverage(middle + offset, half, scale, length) for offset in offsets), 1)
        for middle, length in ((x, width), (y, height))
    )
    coverage = np.outer(down, across)[:, :, None]
    return np.rint(picture * (1 - coverage) + np.array(colour) * coverage).astype(np.uint8)


def _square_coverage(x: float, y: float, half: float, scale: int, height: int, width: int) -> np.ndarray:
    """How much of each picture pixel the square of half side `half` around (x, y) covers, `[height, width]`."""
    return np.outer(_interval_coverage(y, half, scale, height), _interval_coverage(x, half, scale, width))


def _interval_coverage(center: float, half: float, scale: int, num_pixels: int) -> np.ndarray:
    """How much of each picture pixel of one axis lies inside center +- half, image pixels counted from 1."""
    edges = np.arange(num_pixels + 1)
    start, end = ((center + side - 0.5) * scale for side in (-half, half))
    return np.diff(np.clip(edges, start, end))
