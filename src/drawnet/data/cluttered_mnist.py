"""Cluttered MNIST: a digit somewhere on a larger canvas, among pieces of other digits.

The recipe is that of Mnih, Heess, Graves and Kavukcuoglu (2014, arXiv 1406.6247, section 4.1), on which section 4.1 of
DRAW is measured: `num_distractors` pieces of 8 x 8 pixels, each from a random place of a random other digit, are put
at random places of the canvas; the digit is put at a random place; all are added up and clipped to 1. Every draw is
uniform, and everything lies wholly on the canvas. Nothing is stored: images are made when they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from drawnet.data.labelled import Labelled, LabelledDataset
from drawnet.data.mnist import NUM_TRAIN, mnist_images_and_labels

NUM_CLASSES = 10
VALIDATION_SEED, TEST_SEED = 2014, 2015  # of the one layout that each of the two consists of


@dataclass(frozen=True)
class Recipe:
    """What an image is made of.

    Attributes:
        side: of the canvas, pixels.
        num_distractors: pieces of other digits.
        distractor_side: of each piece, pixels.

    Raises:
        ValueError: a number out of range; the message names the field.
    """

    side: int
    num_distractors: int
    distractor_side: int = 8

    def __post_init__(self) -> None:
        for field, least in (("side", 1), ("num_distractors", 0), ("distractor_side", 1)):
            if (value := getattr(self, field)) < least:
                raise ValueError(f"{field} is {value}: it must be at least {least}")


RECIPES = {
    "cluttered-mnist-100": Recipe(side=100, num_distractors=8),
    "cluttered-mnist-60": Recipe(side=60, num_distractors=4),
    "translated-mnist-60": Recipe(side=60, num_distractors=0),
}


@dataclass(frozen=True)
class Layout:
    """Where everything goes; places are the row and column of an upper left corner, counted from 0.

    Attributes:
        digit: of the digit, on the canvas.
        source: which image each piece is cut from.
        crop: of the piece, in that image.
        place: of the piece, on the canvas.
    """

    digit: Int64[Tensor, "image 2"]
    source: Int64[Tensor, "image piece"]
    crop: Int64[Tensor, "image piece 2"]
    place: Int64[Tensor, "image piece 2"]

    def __getitem__(self, indices: Int64[Tensor, "chosen"]) -> Layout:
        return Layout(*(getattr(self, field.name)[indices] for field in fields(self)))


@dataclass(frozen=True)
class ClutteredSplit:
    """Digits on canvases; one image a digit, or a new one every time.

    Attributes:
        digits: bytes 0 to 255. Distractors are cut from these too, and from no others.
        labels: what the digits are.
        recipe: of the images.
        layout: of all images, where they are fixed; None draws a new one whenever an image is asked for.

    Raises:
        ValueError: a digit that the canvas has no room for, a piece larger than a digit, or pieces of other digits
            where there is only one.
    """

    digits: UInt8[Tensor, "image 1 digit_height digit_width"]
    labels: UInt8[Tensor, "image"]
    recipe: Recipe
    layout: Layout | None = None

    def __post_init__(self) -> None:
        recipe, (height, width) = self.recipe, self.digits.shape[2:]
        if recipe.side < max(height, width):
            raise ValueError(f"side is {recipe.side}: the digits have {height} x {width} pixels and must fit")
        if recipe.num_distractors:
            if recipe.distractor_side > min(height, width):
                raise ValueError(
                    f"distractor_side is {recipe.distractor_side}: pieces are cut from digits of {height} x {width}"
                )
            if len(self.digits) < 2:
                raise ValueError(f"num_distractors is {recipe.num_distractors}: there is no other digit to cut from")

    def __len__(self) -> int:
        return len(self.digits)

    def batch(self, indices: Int64[Tensor, "batch"], generator: torch.Generator | None = None) -> Labelled:
        """The images with the digits at `indices`.

        Args:
            indices: which digits.
            generator: draws the layout where it is not fixed, and is not used where it is.

        Raises:
            ValueError: the layout is not fixed and there is no generator.
        """
        if self.layout is not None:
            layout = self.layout[indices]
        elif generator is not None:
            layout = draw_layout(indices, self.digits, self.recipe, generator)
        else:
            raise ValueError("generator is None: these images are made anew each time and need one")
        return Labelled(compose(self.digits, indices, layout, self.recipe), self.labels[indices].long())

    def fixed(self, seed: int) -> ClutteredSplit:
        """The same digits with one layout for all, from `seed`."""
        generator = torch.Generator().manual_seed(seed)
        layout = draw_layout(torch.arange(len(self)), self.digits, self.recipe, generator)
        return ClutteredSplit(self.digits, self.labels, self.recipe, layout)


def draw_layout(
    indices: Int64[Tensor, "batch"],
    digits: UInt8[Tensor, "image 1 digit_height digit_width"],
    recipe: Recipe,
    generator: torch.Generator,
) -> Layout:
    """Where everything goes on the images with the digits at `indices`, each uniform over all that there is.

    Args:
        indices: of the digits; a piece is cut from any other than the image's own.
        digits: all that pieces can be cut from.
        recipe: of the images.
        generator: of the draws: digits, sources, crops, places.
    """
    height, width = digits.shape[2:]
    pieces = (len(indices), recipe.num_distractors)

    def corners(shape: tuple[int, ...], rows: int, columns: int) -> Tensor:
        """Uniform over so many rows and columns, `[*shape, 2]`."""
        return torch.stack([torch.randint(n, shape, generator=generator) for n in (rows, columns)], -1)

    digit = corners(pieces[:1], recipe.side - height + 1, recipe.side - width + 1)
    # One of the others: those from one's own on move up by one.
    source = torch.randint(max(1, len(digits) - 1), pieces, generator=generator)
    source += source >= indices[:, None]
    piece = min(recipe.distractor_side, height, width)
    crop = corners(pieces, height - piece + 1, width - piece + 1)
    place = corners(pieces, recipe.side - piece + 1, recipe.side - piece + 1)
    return Layout(digit, source, crop, place)


def compose(
    digits: UInt8[Tensor, "image 1 digit_height digit_width"],
    indices: Int64[Tensor, "batch"],
    layout: Layout,
    recipe: Recipe,
) -> Float[Tensor, "batch 1 side side"]:
    """Digits and pieces added up on canvases and clipped to 1.

    Args:
        digits: bytes 0 to 255.
        indices: the digit of each image.
        layout: of each image.
        recipe: of the images.
    """
    (height, width), side, piece = digits.shape[2:], recipe.side, recipe.distractor_side
    flat = digits.reshape(-1)
    canvas = torch.zeros(len(indices) * side * side)
    first = torch.arange(len(indices)) * side * side  # of each canvas

    # Sums of bytes are exact in float32, in whatever order they are added up.
    target = (first + layout.digit @ torch.tensor([side, 1]))[:, None] + _offsets(height, width, side)
    canvas.index_add_(0, target.flatten(), digits[indices].flatten().float())
    if recipe.num_distractors:
        start = layout.source * height * width + layout.crop @ torch.tensor([width, 1])
        values = flat[(start[..., None] + _offsets(piece, piece, width)).flatten()]
        target = (first[:, None] + layout.place @ torch.tensor([side, 1]))[..., None] + _offsets(piece, piece, side)
        canvas.index_add_(0, target.flatten(), values.float())
    return canvas.clamp_(max=255).div_(255).view(-1, 1, side, side)


def _offsets(height: int, width: int, row_length: int) -> Int64[Tensor, "pixels"]:
    """Of the pixels of a rectangle from its first, in an image with rows of `row_length`."""
    return (torch.arange(height)[:, None] * row_length + torch.arange(width)).flatten()


def load_cluttered_mnist(name: str) -> LabelledDataset:
    """One of `RECIPES`: 50,000 / 10,000 / 10,000 digits, the splits of `load_mnist`.

    Training images are made anew each time, of training digits alone. Validation and test images are one layout each,
    from `VALIDATION_SEED` and `TEST_SEED`, of the digits of their own split alone.

    Raises:
        ValueError: no recipe of that name, or the bundled MNIST is damaged.
        OSError: it cannot be read.
    """
    if name not in RECIPES:
        raise ValueError(f"dataset is {name!r}: for classification there are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    (images, labels), (test_images, test_labels) = map(mnist_images_and_labels, ("train", "test"))
    return LabelledDataset(
        name,
        train=ClutteredSplit(images[:NUM_TRAIN], labels[:NUM_TRAIN], recipe),
        validation=ClutteredSplit(images[NUM_TRAIN:], labels[NUM_TRAIN:], recipe).fixed(VALIDATION_SEED),
        test=ClutteredSplit(test_images, test_labels, recipe).fixed(TEST_SEED),
        image_shape=(1, recipe.side, recipe.side),
        num_classes=NUM_CLASSES,
    )
