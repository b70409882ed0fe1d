"""Data sets by name: what there is, where it is, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawnet.data.options import ImageOptions

if TYPE_CHECKING:  # torch is loaded when a data set is
    from drawnet.data.dataset import Dataset
    from drawnet.data.fetch import Progress


@dataclass(frozen=True)
class _Source:
    """A named data set: `module` has `load_NAME()`, `get_NAME(progress)` and `NAME_status()`, with _ for each -."""

    module: str
    description: str
    origin: str
    licence: str
    num_images: tuple[int, int, int]  # in train, validation and test, as published

    def call(self, function: str, *arguments: object) -> Any:
        return getattr(import_module(f"drawnet.data.{self.module}"), function)(*arguments)


_SVHN = "Yuval Netzer, Tao Wang, Adam Coates, Alessandro Bissacco, Bo Wu, Andrew Ng (2011)"
_MNIST = "Yann LeCun, Corinna Cortes, Christopher J.C. Burges"
_SOURCES = {
    "mnist": _Source(
        module="mnist",
        description="handwritten digits, 28 x 28; bits drawn from the grey levels, anew each time for training",
        origin=_MNIST,
        licence="CC BY-SA 3.0",
        num_images=(50_000, 10_000, 10_000),
    ),
    "binarized-mnist": _Source(
        module="binarized_mnist",
        description="handwritten digits, 28 x 28; fixed bits, on which most published bounds are measured",
        origin="Ruslan Salakhutdinov and Iain Murray (2008); files by Hugo Larochelle",
        licence="derived from MNIST (CC BY-SA 3.0)",
        num_images=(50_000, 10_000, 10_000),
    ),
    "cifar10": _Source(
        module="cifar10",
        description="colour photographs of ten kinds of things, 32 x 32; the last 5,000 for training validate",
        origin="Alex Krizhevsky, Vinod Nair, Geoffrey Hinton (2009)",
        licence="not stated",
        num_images=(45_000, 5_000, 10_000),
    ),
    "mnist-two-digits": _Source(
        module="two_digits",
        description="two handwritten digits at random places of 60 x 60; bits; digits and places anew for training",
        origin=f"{_MNIST}; composed after Karol Gregor et al. (2015)",
        licence="derived from MNIST (CC BY-SA 3.0)",
        num_images=(50_000, 10_000, 10_000),
    ),
    "svhn": _Source(
        module="svhn",
        description="colour photographs of house numbers, 54 x 54 out of 64 x 64; needs drawnet[svhn]",
        origin=_SVHN,
        licence="non-commercial use only",
        num_images=(231_054, 4_701, 13_068),
    ),
    "svhn-digits": _Source(
        module="svhn_digits",
        description="colour photographs of digits of house numbers, 32 x 32; needs drawnet[svhn]",
        origin=_SVHN,
        licence="non-commercial use only",
        num_images=(597_063, 7_325, 26_032),
    ),
    "omniglot": _Source(
        module="omniglot",
        description="handwritten characters of fifty alphabets, 28 x 28; bits as in mnist; other alphabets for test",
        origin="Brenden Lake, Ruslan Salakhutdinov, Joshua Tenenbaum (2015)",
        licence="MIT",
        num_images=(17_352, 1_928, 13_180),
    ),
    "fashion-mnist": _Source(
        module="fashion_mnist",
        description="pictures of clothes, 28 x 28; bits as in mnist",
        origin="Han Xiao, Kashif Rasul, Roland Vollgraf (2017)",
        licence="MIT",
        num_images=(50_000, 10_000, 10_000),
    ),
}
NAMES = tuple(_SOURCES)


@dataclass(frozen=True)
class DatasetInfo:
    """What `drawnet data list` says about a named data set.

    Attributes:
        name: what to ask for.
        description: one line.
        origin: who made it.
        licence: under which terms it may be used.
        status: `bundled`, `in FOLDER` or `not fetched`; a copy that is not all of the published one says so.
        num_images: in train, validation and test, as published.
    """

    name: str
    description: str
    origin: str
    licence: str
    status: str
    num_images: tuple[int, int, int]


def load_dataset(name: str, options: ImageOptions | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: one of `NAMES`, `folder:PATH`, a folder, or a file that ends in .npy or .npz. A named set comes before a
            folder of that name, which is still `folder:NAME`.
        options: how to read images of one's own; named sets take none.

    Raises:
        ValueError: there is no such data set, it takes no options, or its files are damaged or not as they must be.
        OSError: its files are not there or cannot be read.

    Example:
        >>> from drawnet.data import load_dataset
        >>> len(load_dataset("mnist").test)
        10000
    """
    options = options or ImageOptions()
    if source := _SOURCES.get(name):
        _refuse_options(name, options)
        return source.call(f"load_{_identifier(name)}")
    if name == "folder:":
        raise ValueError("folder: is not followed by a path: write folder:PATH")
    path = Path(name.removeprefix("folder:")).expanduser()
    is_folder = name.startswith("folder:") or path.is_dir()
    if not (is_folder or path.suffix.lower() in (".npy", ".npz")):
        raise ValueError(_unknown(name))

    from drawnet.data.own import load_own

    return load_own(path, options, name)


def available() -> list[DatasetInfo]:
    """The named data sets.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    return [
        DatasetInfo(
            name=name,
            description=source.description,
            origin=source.origin,
            licence=source.licence,
            status=source.call(f"{_identifier(name)}_status"),
            num_images=source.num_images,
        )
        for name, source in _SOURCES.items()
    ]


def get(name: str, progress: Progress | None = None) -> Path:
    """Make sure that a named data set is on this machine; fetches only what is missing or not as published.

    Args:
        name: one of `NAMES`; some are bundled or made from what is.
        progress: called with the bytes done and in total, while fetching.

    Returns:
        The folder that has it.

    Raises:
        ValueError: there is no such data set, or a fetched file is not the published one.
        OSError: the network failed, or a file cannot be written.
    """
    if source := _SOURCES.get(name):
        return source.call(f"get_{_identifier(name)}", progress)
    raise ValueError(f"no data set {name!r} to get: there are {', '.join(NAMES)}{_did_you_mean(name)}")


def _identifier(name: str) -> str:
    return name.replace("-", "_")


def _refuse_options(name: str, options: ImageOptions) -> None:
    default = ImageOptions()
    for field in ("image_size", "fit", "channels", "binarize"):
        if (value := getattr(options, field)) != getattr(default, field):
            raise ValueError(f"{field} is {value!r}: {name} takes no image options, they are for images of your own")


def _unknown(name: str) -> str:
    allowed = f"{', '.join(NAMES)}, folder:PATH, a folder, or a .npy or .npz file"
    return f"no data set, folder or array file {name!r}: allowed are {allowed}{_did_you_mean(name)}"


def _did_you_mean(name: str) -> str:
    close = get_close_matches(name, NAMES, n=1)
    return f"; did you mean {close[0]}?" if close else ""
