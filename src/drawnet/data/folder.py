"""A folder of image files as one array of bytes."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from drawnet.data.options import ImageOptions

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_IGNORED_NAMES = ("thumbs.db", "desktop.ini", "readme*", "license*", "*.txt", "*.json", "*.csv")
_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
_WIDE_PIXELS = re.compile(r"\b(I|F|L|LA|RGB|RGBA|RGBX|CMYK);(16|32)")  # Pillow's raw modes; BMP's BGR;16 is 5-6-5 bits


def read_folder(root: Path, options: ImageOptions) -> dict[str, UInt8[Tensor, "image channel height width"]]:
    """Every image under `root`, in the order of the paths, as bytes 0..255.

    Hidden files and folders, Thumbs.db, desktop.ini, README*, LICENSE*, *.txt, *.json and *.csv are passed over. An
    image's orientation tag (EXIF) is applied. Files stored as grey (with or without an opaque alpha channel, or with
    a palette of greys) count as grey, all others as colour. Colour becomes grey by ITU-R 601 luma.

    Args:
        root: the folder, searched recursively.
        options: size, fit and channels; `binarize` is not used here.

    Returns:
        `train`, `test` and perhaps `validation`, if `root` has such folders (at least `train` and `test`;
        `validation` may be called `valid` or `val`); otherwise `all`.

    Raises:
        ValueError: no such folder, no images, a file that is not an image, cannot be read, is animated, transparent
            or has more than 8 bits a channel, or sizes that differ without `image_size`. The message names the file.
        OSError: a file may not be read.
    """
    if not root.exists():
        raise ValueError(f"{root}: no such folder")
    if not root.is_dir():
        raise ValueError(f"{root} is a file: a folder of images, a .npy or a .npz file is needed")
    first: tuple[Path, Image.Image] | None = None
    images: dict[str, list[Image.Image]] = {}
    brightest = 0
    for part, files in _image_files(root).items():
        images[part] = []
        for path in files:
            image = read_image(path)
            first = first or (path, image)
            if options.image_size is None and image.size != first[1].size:
                raise ValueError(
                    f"images differ in size: {first[0]} is {_size(first[1])}, {path} is {_size(image)} "
                    "(height x width); bring them to one size with --image-size HEIGHT WIDTH"
                )
            brightest = max(brightest, *np.ravel(image.getextrema()).tolist())
            images[part].append(fit_image(image, options))
    if brightest <= 1:
        raise ValueError(
            f"{root}: no value in any image is above {brightest}, of 255, so all of them are black to the eye; "
            "save black as 0 and white as 255"
        )
    colour = any(image.mode == "RGB" for files in images.values() for image in files)
    mode = {None: "RGB" if colour else "L", 1: "L", 3: "RGB"}[options.channels]
    return {part: _stack(files, mode) for part, files in images.items()}


def read_image(path: Path) -> Image.Image:
    """One image file, upright, as mode `L` (if it is stored as grey) or `RGB`.

    Raises:
        ValueError: it cannot be decoded, is animated, transparent or has more than 8 bits a channel; the message
            names it.
        OSError: it may not be read.
    """
    try:
        with Image.open(path) as image:
            problem = _problem(image)
            if problem is None:
                image.load()
                image = ImageOps.exif_transpose(image)
                return _grey_or_rgb(image)
    except _TransparentError as error:
        problem = str(error)
    except Exception as error:  # decoders raise all sorts of things on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read as an image: {error}") from error
    raise ValueError(f"{path} {problem}")


def fit_image(image: Image.Image, options: ImageOptions) -> Image.Image:
    """Bring an image to `options.image_size`, resampled with a Lanczos filter; as it is where it has that size."""
    if options.image_size is None:
        return image
    height, width = options.image_size
    if image.size == (width, height):
        return image
    if options.fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    return image.resize((width, height), Image.Resampling.LANCZOS)


class _TransparentError(Exception):
    """The image has pixels that are not opaque."""


def _image_files(root: Path) -> dict[str, list[Path]]:
    """Image files by part: `all`, or those of the folders train, validation and test."""
    files = []
    for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).parts):
        relative = path.relative_to(root)
        if path.is_dir() or any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            files.append(path)
        elif not any(fnmatch(path.name.lower(), pattern) for pattern in _IGNORED_NAMES):
            raise ValueError(f"{path} is not an image file ({', '.join(IMAGE_SUFFIXES)}): move it out of {root}")
    if not files:
        raise ValueError(f"{root} has no images ({', '.join(IMAGE_SUFFIXES)})")
    if not ((root / "train").is_dir() and (root / "test").is_dir()):
        return {"all": files}
    validation = [name for name, part in _SPLIT_FOLDERS.items() if part == "validation" and (root / name).is_dir()]
    if len(validation) > 1:
        raise ValueError(f"{root} has folders {' and '.join(validation)}: which one is for validation? Keep one")
    parts: dict[str, list[Path]] = {_SPLIT_FOLDERS[name]: [] for name in ["train", *validation, "test"]}
    for path in files:
        top = path.relative_to(root).parts[0]
        if top not in _SPLIT_FOLDERS or path.parent == root:
            raise ValueError(f"{path} is outside the folders train, validation and test of {root}: move it into one")
        parts[_SPLIT_FOLDERS[top]].append(path)
    for part, found in parts.items():
        if not found:
            raise ValueError(f"{root} has a folder for {part} without images")
    return parts


def _problem(image: Image.Image) -> str | None:
    """What is wrong with an opened image, judged before it is decoded; None if nothing is."""
    if (num_frames := getattr(image, "n_frames", 1)) != 1:
        return f"has {num_frames} frames: only single images can be used"
    # Pillow reads 16-bit colour as 8 bits without a word, so that the stored form is looked at.
    raw_modes = " ".join(str(tile[3]) for tile in getattr(image, "tile", []))
    if image.mode.startswith(("I", "F")) or (image.format != "BMP" and _WIDE_PIXELS.search(raw_modes)):
        return "has more than 8 bits a channel: save it with 8"
    if image.mode not in ("1", "L", "P", "RGB", "LA", "PA", "RGBA"):
        return f"has colour mode {image.mode}: save it as grey or RGB"
    return None


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    may_be_transparent = "transparency" in image.info or image.mode in ("LA", "PA", "RGBA")
    if may_be_transparent and (np.asarray(image.convert("RGBA").getchannel("A")) < 255).any():
        raise _TransparentError("has transparent pixels: save it on an opaque background")
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    rgb = image.convert("RGB")
    if image.mode in ("P", "PA"):
        pixels = np.asarray(rgb)
        if (pixels == pixels[..., :1]).all():
            return rgb.convert("L")
    return rgb


def _stack(images: list[Image.Image], mode: str) -> UInt8[Tensor, "image channel height width"]:
    pixels = torch.from_numpy(np.stack([np.asarray(image.convert(mode)) for image in images]))
    return pixels.unsqueeze(1) if mode == "L" else pixels.permute(0, 3, 1, 2).contiguous()


def _size(image: Image.Image) -> str:
    return f"{image.height} x {image.width}"
