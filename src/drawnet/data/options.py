"""How to read a person's own images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ImageOptions:
    """How to read a folder of images or an array file.

    Attributes:
        image_size: height and width in pixels to bring every image to; None leaves them as they are.
        fit: `crop` scales an image until it covers `image_size` and cuts off what sticks out, equally on both sides;
            `stretch` scales height and width each on its own.
        channels: 1 for grey, 3 for RGB; None: grey if all images are grey, RGB otherwise.
        binarize: draw bits with the intensities as means: training images anew each time, validation and test once.

    Raises:
        ValueError: a value that is not among these, or `stretch` without an `image_size`.
    """

    image_size: tuple[int, int] | None = None
    fit: Literal["crop", "stretch"] = "crop"
    channels: Literal[1, 3] | None = None
    binarize: bool = False

    def __post_init__(self) -> None:
        size = self.image_size
        if size is not None and not (
            isinstance(size, tuple) and len(size) == 2 and all(type(n) is int and n > 0 for n in size)
        ):
            raise ValueError(f"image_size is {size!r}: it must be a height and a width in pixels, at least 1 each")
        if self.fit not in ("crop", "stretch"):
            raise ValueError(f"fit is {self.fit!r}: it must be 'crop' or 'stretch'")
        if self.fit == "stretch" and size is None:
            raise ValueError("fit is 'stretch' without an image_size to stretch to: give --image-size HEIGHT WIDTH")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"channels is {self.channels!r}: it must be 1 (grey) or 3 (RGB)")
        if type(self.binarize) is not bool:
            raise ValueError(f"binarize is {self.binarize!r}: it must be true or false")
