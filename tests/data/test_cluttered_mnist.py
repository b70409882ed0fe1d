"""Cluttered MNIST: what is on a canvas, where it is from, and that nothing about its places is favoured."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drawnet.data.batches import BatchStream
from drawnet.data.cluttered_mnist import (
    RECIPES,
    ClutteredSplit,
    Recipe,
    compose,
    draw_layout,
    load_cluttered_mnist,
)
from drawnet.data.labelled import LabelledDataset
from drawnet.data.mnist import NUM_TRAIN, mnist_images_and_labels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def split(recipe: Recipe, num_digits: int = 12, side: int = 6, seed: int = 0) -> ClutteredSplit:
    """Random digits of `side` x `side` pixels, every pixel above 0."""
    digits = torch.randint(1, 256, (num_digits, 1, side, side), dtype=torch.uint8, generator=seeded(seed))
    return ClutteredSplit(digits, torch.arange(num_digits).to(torch.uint8) % 10, recipe)


@pytest.fixture(scope="module", params=RECIPES)
def dataset(request: pytest.FixtureRequest) -> LabelledDataset:
    return load_cluttered_mnist(request.param)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(side=st.integers(6, 15), num_distractors=st.integers(0, 5), piece=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_compose_equals_a_loop_over_pixels(side: int, num_distractors: int, piece: int, seed: int) -> None:
    whole = split(Recipe(side, num_distractors, piece))
    indices = torch.randint(len(whole), (5,), generator=seeded(seed))
    layout = draw_layout(indices, whole.digits, whole.recipe, seeded(seed))
    images = compose(whole.digits, indices, layout, whole.recipe)
    for n, index in enumerate(indices.tolist()):
        canvas = [[0] * side for _ in range(side)]
        stamps = [(index, (0, 0), layout.digit[n].tolist(), 6)]
        for source, crop, place in zip(layout.source[n], layout.crop[n], layout.place[n], strict=True):
            stamps.append((int(source), crop.tolist(), place.tolist(), piece))
        for source, (crop_row, crop_column), (row, column), size in stamps:
            for i in range(size):
                for j in range(size):
                    canvas[row + i][column + j] += int(whole.digits[source, 0, crop_row + i, crop_column + j])
        expected = torch.tensor([[min(value, 255) / 255 for value in line] for line in canvas])
        assert torch.equal(images[n, 0], expected)


def test_no_piece_is_of_another_split_or_of_the_images_own_digit() -> None:
    """Digits marked with their number: what shines on a canvas says which digits it was cut from."""
    num_digits = 15
    digits = torch.arange(1, num_digits + 1, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    # With a canvas of this size most pieces lie alone.
    marked = ClutteredSplit(digits, torch.zeros(num_digits, dtype=torch.uint8), Recipe(40, 3, 2))
    indices = torch.arange(num_digits).repeat(200)
    batch = marked.batch(indices, seeded())
    layout = draw_layout(indices, digits, marked.recipe, seeded())
    values = (batch.images * 255).round().long().flatten(1)
    alone = 0
    for n, index in enumerate(indices.tolist()):
        assert index not in layout.source[n]
        marks = (layout.source[n] + 1).tolist()
        if torch.bincount(values[n], minlength=256)[1:].sum() == 16 + 3 * 4:  # nothing overlaps
            alone += 1
            counts = {
                value: marks.count(value) * 4 + (16 if value == index + 1 else 0) for value in {*marks, index + 1}
            }
            found = torch.bincount(values[n], minlength=256)
            assert {v: int(found[v]) for v in found.nonzero().flatten().tolist() if v} == counts
    assert alone > 1000
    # every other digit is cut from, equally often
    for own in range(num_digits):
        counts = torch.bincount(layout.source[indices == own].flatten(), minlength=num_digits).double()
        assert counts[own] == 0
        assert_uniform(torch.cat([counts[:own], counts[own + 1 :]]))


def assert_uniform(counts: torch.Tensor) -> None:
    """Pearson's chi-square is within five of its standard deviations, and every outcome occurs."""
    expected = counts.sum() / len(counts)
    assert expected > 5
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    freedom = len(counts) - 1
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)
    assert counts.min() > 0


@pytest.mark.parametrize("name", RECIPES)
def test_places_are_uniform_from_border_to_border(name: str) -> None:
    recipe = RECIPES[name]
    digits = torch.zeros(20, 1, 28, 28, dtype=torch.uint8)
    layout = draw_layout(torch.zeros(40_000, dtype=torch.long), digits, recipe, seeded(1))
    ranges = [(layout.digit, recipe.side - 28 + 1)]
    if recipe.num_distractors:
        ranges += [(layout.crop, 28 - 8 + 1), (layout.place, recipe.side - 8 + 1)]
    for places, num_places in ranges:
        rows, columns = places.flatten(0, -2).unbind(1)
        for axis in (rows, columns):
            assert (axis.min(), axis.max()) == (0, num_places - 1)
            assert_uniform(torch.bincount(axis, minlength=num_places).double())
        both = torch.bincount(rows // 3 * 100 + columns // 3)  # in blocks of 3 x 3 places: the axes are independent
        full = [r * 100 + c for r in range(num_places // 3) for c in range(num_places // 3)]
        assert_uniform(both[torch.tensor(full)].double())


def test_a_digit_reaches_all_four_borders_of_the_canvas() -> None:
    whole = split(Recipe(8, 0), num_digits=1)
    images = torch.cat([whole.batch(torch.zeros(50, dtype=torch.long), seeded(s)).images for s in range(4)])
    corners = {tuple((image[0] > 0).nonzero()[0].tolist()) for image in images}
    assert corners == {(row, column) for row in range(3) for column in range(3)}
    assert ((images > 0).sum((1, 2, 3)) == 36).all()


def test_sums_are_clipped_to_1() -> None:
    bright = ClutteredSplit(
        torch.full((3, 1, 6, 6), 200, dtype=torch.uint8), torch.zeros(3, dtype=torch.uint8), Recipe(6, 5, 6)
    )
    assert torch.equal(bright.batch(torch.arange(3), seeded()).images, torch.ones(3, 1, 6, 6))


def test_the_published_recipes(dataset: LabelledDataset) -> None:
    side, num_distractors = {
        "cluttered-mnist-100": (100, 8),
        "cluttered-mnist-60": (60, 4),
        "translated-mnist-60": (60, 0),
    }[dataset.name]
    assert RECIPES[dataset.name] == Recipe(side, num_distractors, 8)
    assert dataset.image_shape == (1, side, side)
    batch = dataset.train.batch(torch.arange(100), seeded())
    assert batch.images.shape == (100, 1, side, side)
    assert (batch.images.min(), batch.images.max()) == (0, 1)


def test_each_split_has_its_own_digits_and_labels(dataset: LabelledDataset) -> None:
    images, labels = mnist_images_and_labels("train")
    test_images, test_labels = mnist_images_and_labels("test")
    for part, digits, names in [
        (dataset.train, images[:NUM_TRAIN], labels[:NUM_TRAIN]),
        (dataset.validation, images[NUM_TRAIN:], labels[NUM_TRAIN:]),
        (dataset.test, test_images, test_labels),
    ]:
        assert isinstance(part, ClutteredSplit)
        assert torch.equal(part.digits, digits)
        indices = torch.tensor([0, len(part) - 1, 17, 17])
        assert torch.equal(part.batch(indices, seeded()).labels, names[indices].long())
        assert len(part) == len(digits)


def test_the_digit_itself_is_on_its_canvas(dataset: LabelledDataset) -> None:
    test = dataset.test
    assert isinstance(test, ClutteredSplit)
    assert test.layout is not None
    indices = torch.arange(0, 10_000, 500)
    images = test.batch(indices).images
    for image, index, (row, column) in zip(images, indices, test.layout.digit[indices].tolist(), strict=True):
        digit = test.digits[index] / 255
        assert (image[:, row : row + 28, column : column + 28] >= digit - 1e-6).all()


def test_validation_and_test_never_change(dataset: LabelledDataset) -> None:
    again = load_cluttered_mnist(dataset.name)
    indices = torch.arange(0, 10_000, 100)
    for part in ("validation", "test"):
        first = getattr(dataset, part).batch(indices)
        second = getattr(again, part).batch(indices.flip(0))  # whatever the order and the size of the batches
        assert torch.equal(first.images, second.images.flip(0))
    # Golden values: this package's own sets when they were first made (torch 2.13, CPU). Errors are comparable only as
    # long as they hold.
    sums = {
        "cluttered-mnist-100": [43456, 39270, 1434144],
        "cluttered-mnist-60": [40129, 25370, 640679],
        "translated-mnist-60": [17039, 21690, 640679],
    }
    parts = dataset.validation, dataset.test
    found = [int((part.batch(indices[-1:]).images * 255).round().sum()) for part in parts]
    found.append(sum(int(part.layout.digit.sum()) for part in parts))
    assert found == sums[dataset.name]


def test_training_images_are_made_anew(dataset: LabelledDataset) -> None:
    generator, indices = seeded(), torch.arange(20)
    first, second = (dataset.train.batch(indices, generator) for _ in range(2))
    assert not torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(dataset.train.batch(indices, seeded()).images, first.images)
    with pytest.raises(ValueError, match="generator is None"):
        dataset.train.batch(indices)


@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 15), before=st.integers(0, 20))
def test_a_resumed_stream_equals_an_uninterrupted_one(batch_size: int, before: int) -> None:
    whole = split(Recipe(9, 2, 3))
    stream = BatchStream(whole, batch_size, seed=3)
    for _ in range(before):
        stream.next()
    state = stream.state_dict()
    resumed = BatchStream(whole, batch_size, seed=4)
    resumed.next()
    resumed.load_state_dict(state)
    for _ in range(10):
        a, b = stream.next(), resumed.next()
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_a_damaged_state_is_refused_and_changes_nothing() -> None:
    whole = split(Recipe(9, 2, 3))
    stream, twin = (BatchStream(whole, 2, seed=0) for _ in range(2))
    state = stream.state_dict()
    other = BatchStream(split(Recipe(9, 2, 3), num_digits=11), 2, seed=0).state_dict()
    for bad in ({}, {**state, "pixels": state["pixels"][:-1]}, {**state, "counts": state["counts"][:2]}, other):
        with pytest.raises(ValueError, match="the state of the batches is"):
            stream.load_state_dict(bad)
    assert torch.equal(stream.next().images, twin.next().images)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_cannot_be_composed_is_named() -> None:
    with pytest.raises(ValueError, match="side is 5: the digits have 6 x 6"):
        split(Recipe(5, 0))
    with pytest.raises(ValueError, match="distractor_side is 7: pieces are cut from digits of 6 x 6"):
        split(Recipe(9, 1, 7))
    with pytest.raises(ValueError, match="no other digit"):
        split(Recipe(9, 1, 3), num_digits=1)
    with pytest.raises(ValueError, match="num_distractors is -1"):
        Recipe(9, -1)
    with pytest.raises(ValueError, match="'mnist': for classification there are cluttered-mnist-100"):
        load_cluttered_mnist("mnist")
