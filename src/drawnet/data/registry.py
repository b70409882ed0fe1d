"""Data sets by name: what there is, where it is, and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from drawnet.data.options import ImageOptions

if TYPE_CHECKING:  # torch is loaded when a data set is
    from drawnet.data.dataset import Dataset
    from drawnet.data.fetch import Progress

NAMES = ("mnist", "binarized-mnist", "cifar10")


@dataclass(frozen=True)
class DatasetInfo:
    """What `drawnet data list` says about a named data set.

    Attributes:
        name: what to ask for.
        description: one line.
        origin: who made it.
        licence: under which terms it may be used.
        status: `bundled`, `in FOLDER` or `not fetched`; a copy that lacks published test images says so.
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
        name: `mnist`, `binarized-mnist`, `cifar10`, `folder:PATH`, a folder, or a file that ends in .npy or .npz.
            A named set comes before a folder of that name, which is still `folder:NAME`.
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
    if name in NAMES:
        _refuse_options(name, options)
    if name == "mnist":
        from drawnet.data.mnist import load_mnist

        return load_mnist()
    if name == "binarized-mnist":
        from drawnet.data.binarized_mnist import load_binarized_mnist

        return load_binarized_mnist()
    if name == "cifar10":
        from drawnet.data.cifar10 import load_cifar10

        return load_cifar10()
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
    from drawnet.data.binarized_mnist import find_binarized_mnist
    from drawnet.data.cifar10 import cifar10_status

    folder = find_binarized_mnist()
    num_images = (50_000, 10_000, 10_000)
    return [
        DatasetInfo(
            name="mnist",
            description="handwritten digits, 28 x 28; bits drawn from the grey levels, anew each time for training",
            origin="Yann LeCun, Corinna Cortes, Christopher J.C. Burges",
            licence="CC BY-SA 3.0",
            status="bundled",
            num_images=num_images,
        ),
        DatasetInfo(
            name="binarized-mnist",
            description="handwritten digits, 28 x 28; fixed bits, on which most published bounds are measured",
            origin="Ruslan Salakhutdinov and Iain Murray (2008); files by Hugo Larochelle",
            licence="derived from MNIST (CC BY-SA 3.0)",
            status=f"in {folder}" if folder else "not fetched",
            num_images=num_images,
        ),
        DatasetInfo(
            name="cifar10",
            description="colour photographs of ten kinds of things, 32 x 32; the last 5,000 for training validate",
            origin="Alex Krizhevsky, Vinod Nair, Geoffrey Hinton (2009)",
            licence="not stated",
            status=cifar10_status(),
            num_images=(45_000, 5_000, 10_000),
        ),
    ]


def get(name: str, progress: Progress | None = None) -> Path:
    """Make sure that a named data set is on this machine; fetches only what is missing or not as published.

    Args:
        name: `mnist` (which is bundled), `binarized-mnist` or `cifar10`.
        progress: called with the bytes done and in total, while fetching.

    Returns:
        The folder that has it.

    Raises:
        ValueError: there is no such data set, or a fetched file is not the published one.
        OSError: the network failed, or a file cannot be written.
    """
    if name == "mnist":
        from drawnet.data.mnist import PACKED_FILE

        return PACKED_FILE.parent
    if name == "binarized-mnist":
        from drawnet.data.binarized_mnist import get_binarized_mnist

        return get_binarized_mnist(progress)
    if name == "cifar10":
        from drawnet.data.cifar10 import get_cifar10

        return get_cifar10(progress)
    raise ValueError(f"no data set {name!r} to get: there are {', '.join(NAMES)}{_did_you_mean(name)}")


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
