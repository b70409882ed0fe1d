"""Array files that were made from published images elsewhere: fit to try a network on, not to compare numbers with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def read_derived(path: Path, keys: Iterable[str], image_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arrays of images from an .npz file, each `[image, *image_shape]`, bytes.

    Args:
        path: the file.
        keys: which arrays.
        image_shape: of one image, as it is stored.

    Raises:
        ValueError: the file is damaged, or an array is missing or not as described; the message names it.
        OSError: the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in keys}
    except Exception as error:  # zipfile, zlib, struct and numpy each raise their own on damaged files
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read: {error}") from error
    for key, array in arrays.items():
        if array.dtype != np.uint8 or array.shape[1:] != image_shape or not len(array):
            raise ValueError(
                f"{path}, array {key} is {array.dtype} of shape {list(array.shape)}: it must be uint8 of shape "
                f"[n, {', '.join(map(str, image_shape))}]"
            )
    return arrays
