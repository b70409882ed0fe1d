"""Image data sets: the bundled MNIST, fetched ones, and one's own."""

from importlib import import_module
from typing import TYPE_CHECKING

from drawnet.data.options import ImageOptions
from drawnet.data.registry import load_dataset

if TYPE_CHECKING:
    from drawnet.data.dataset import Dataset, Split

__all__ = ["Dataset", "ImageOptions", "Split", "load_dataset"]


def __getattr__(name: str) -> object:  # torch is loaded only when a class that needs it is asked for
    if name in ("Dataset", "Split"):
        return getattr(import_module("drawnet.data.dataset"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
