"""Two digits on a canvas: composed as slow loops compose them, anywhere alike, and from the digits of their split."""

import pytest
import torch

from drawnet.data import Dataset, two_digits
from drawnet.data.batches import BatchStream
from drawnet.data.mnist import mnist_images_and_labels
from drawnet.data.two_digits import compose, load_mnist_two_digits
from drawnet.figures.samples import nearest_images
from drawnet.run import mean_image


def random_digits(num_digits: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (num_digits, 1, 28, 28), dtype=torch.uint8, generator=generator)


def test_canvases_are_what_loops_make_of_the_same_draws() -> None:
    digits = random_digits(7)
    canvases = compose(digits, 20, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    chosen = torch.randint(7, (20, 2), generator=generator)
    top, left = (torch.randint(33, (20, 2), generator=generator) for _ in range(2))
    overlapping = 0
    for n in range(20):
        sums = [[0] * 60 for _ in range(60)]
        for k in range(2):
            for row in range(28):
                for column in range(28):
                    sums[top[n, k] + row][left[n, k] + column] += int(digits[chosen[n, k], 0, row, column])
        overlapping += sum(value > 255 for line in sums for value in line)
        clipped = [[min(value, 255) for value in line] for line in sums]
        assert torch.equal(canvases[n, 0], torch.tensor(clipped, dtype=torch.uint8))
    assert overlapping > 0  # so that clipping was seen


def test_every_place_where_a_digit_fits_is_equally_likely() -> None:
    digits = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    digits[0, 0, 0, 0] = 100  # marks the digit's top left corner
    num_images = 30_000
    marks = compose(digits, num_images, torch.Generator().manual_seed(0)).sum(0, dtype=torch.float64)[0] / 100
    assert marks.sum() == 2 * num_images
    assert marks[:33, :33].sum() == 2 * num_images  # it never sticks out
    expected = 2 * num_images / 33**2
    chi_square = ((marks[:33, :33] - expected) ** 2 / expected).sum()
    degrees = 33**2 - 1
    assert abs(chi_square - degrees) < 5 * (2 * degrees) ** 0.5


def test_digits_are_drawn_alike_and_apart() -> None:
    digits = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    digits[:, 0, 0, 0] = torch.tensor([1, 10, 100], dtype=torch.uint8)
    sums = compose(digits, 9000, torch.Generator().manual_seed(0)).flatten(1).sum(1)
    pairs = {2: 1, 11: 2, 101: 2, 20: 1, 110: 2, 200: 1}  # sum of the marks -> ninths
    for total, ninths in pairs.items():
        p = ninths / 9
        assert abs((sums == total).sum() - 9000 * p) < 5 * (9000 * p * (1 - p)) ** 0.5


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A digit to train with has 1 bright pixel, one to validate with 4, one to test with 20."""

    def digits(counts: list[int]) -> torch.Tensor:
        images = torch.zeros(len(counts), 1, 28, 28, dtype=torch.uint8)
        for image, count in zip(images, counts, strict=True):
            image[0, 3, :count] = 255
        return images

    published = {"train": digits([1] * 6 + [4] * 2), "test": digits([20] * 3)}
    monkeypatch.setattr(two_digits, "mnist_images_and_labels", lambda which: (published[which], None))
    monkeypatch.setattr(two_digits, "NUM_TRAIN", 6)
    monkeypatch.setattr(two_digits, "NUM_IMAGES", {"train": 1500, "validation": 200, "test": 300})
    return load_mnist_two_digits()


def test_each_split_is_made_of_its_own_digits(marked: Dataset) -> None:
    assert [len(split) for split in (marked.train, marked.validation, marked.test)] == [1500, 200, 300]
    stream = BatchStream(marked.train, 100, seed=0)
    drawn = torch.cat([stream.next() for _ in range(20)])
    for images, count in [
        (marked.train.images / 255, 1),
        (drawn, 1),
        (marked.validation.images, 4),
        (marked.test.images, 20),
    ]:
        bright = images.float().flatten(1).sum(1)
        assert bright.min() >= count
        assert bright.max() == 2 * count


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_mnist_two_digits()


def test_the_data_set(dataset: Dataset) -> None:
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("mnist-two-digits", "sampled", (1, 60, 60))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [50_000, 10_000, 10_000]
    assert (dataset.train.max_value, dataset.train.resample) == (255, True)
    for split in (dataset.validation, dataset.test):
        assert (split.max_value, split.resample, split.redraw, split.images.max()) == (1, False, None, 1)
    # Golden values: this package's own draw when it was first made (torch 2.13, CPU). Bounds reported on
    # mnist-two-digits are comparable only as long as they hold.
    assert dataset.validation.images.sum().item() == 1954405
    assert dataset.test.images.sum().item() == 2018467


def test_canvases_are_as_bright_as_two_digits(dataset: Dataset) -> None:
    digit = mnist_images_and_labels("test")[0].double().sum() / (10_000 * 255)
    ones = dataset.test.images.sum(dtype=torch.float64) / 10_000
    assert 1.8 * digit < ones < 2 * digit  # less what overlaps


def test_training_images_are_bits_composed_anew(dataset: Dataset) -> None:
    stream = BatchStream(dataset.train, 100, seed=0)
    state = stream.state_dict()
    x = stream.next()
    assert (x.shape, set(x.unique().tolist())) == ((100, 1, 60, 60), {0.0, 1.0})
    assert not torch.equal(x, stream.next())
    other = BatchStream(dataset.train, 100, seed=5)
    other.load_state_dict(state)
    assert torch.equal(other.next(), x)


def test_mean_image_and_neighbours_use_the_fixed_set(dataset: Dataset) -> None:
    mean = mean_image(dataset.train)
    assert mean[0, 30, 30] > 3 * mean[0, 8, 8]  # digits are in the middle of the image more often
    x = dataset.train.intensities(torch.tensor([123, 49_999]))
    indices, squared = nearest_images(x, dataset.train)
    assert indices.tolist() == [123, 49_999]
    assert squared.abs().max() < 1e-6
