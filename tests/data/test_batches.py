"""Batches: every image once an epoch, and resumable anywhere."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drawnet.data import Split
from drawnet.data.batches import BatchStream
from drawnet.data.dataset import hold_out


def numbered(num_images: int, resample: bool = False, redraw: bool = False) -> Split:
    """Images of 1 x 2 pixels, the first pixel of which is their number; with `redraw` the other is drawn anew."""
    numbers = torch.arange(num_images, dtype=torch.float32) / max(num_images, 2)
    images = torch.stack([numbers, torch.full((num_images,), 0.5)], 1).reshape(-1, 1, 1, 2)

    def drawn(indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        others = torch.rand(len(indices), generator=generator)
        return torch.stack([numbers[indices], others], 1).reshape(-1, 1, 1, 2)

    return Split(images, max_value=1, resample=resample, redraw=drawn if redraw else None)


def first_pixels(stream: BatchStream, num_batches: int) -> list[float]:
    return [v for _ in range(num_batches) for v in stream.next()[:, 0, 0, 0].tolist()]


@settings(max_examples=50, deadline=None)
@given(num_batches=st.integers(1, 6), batch_size=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_each_epoch_visits_each_image_once(num_batches: int, batch_size: int, seed: int) -> None:
    split = numbered(num_batches * batch_size)
    stream = BatchStream(split, batch_size, seed)
    assert stream.num_batches_per_epoch == num_batches
    for epoch in range(3):
        assert stream.epoch == epoch
        assert sorted(first_pixels(stream, num_batches)) == split.images[:, 0, 0, 0].tolist()


@settings(max_examples=50, deadline=None)
@given(
    num_images=st.integers(1, 12),
    batch_size=st.integers(1, 15),
    before=st.integers(0, 20),
    resample=st.booleans(),
    redraw=st.booleans(),
)
def test_resumed_equals_uninterrupted(
    num_images: int, batch_size: int, before: int, resample: bool, redraw: bool
) -> None:
    split = numbered(num_images, resample, redraw)
    stream = BatchStream(split, batch_size, seed=3)
    for _ in range(before):
        stream.next()
    state = stream.state_dict()
    expected = [stream.next() for _ in range(15)]
    resumed = BatchStream(split, batch_size, seed=4)
    resumed.next()
    resumed.load_state_dict(state)
    assert all(torch.equal(resumed.next(), x) for x in expected)
    assert resumed.epoch == stream.epoch


def test_the_rest_of_an_epoch_waits_and_no_image_is_left_out_for_ever() -> None:
    stream = BatchStream(numbered(10), 4, seed=0)
    assert stream.num_batches_per_epoch == 2
    epochs = [first_pixels(stream, 2) for _ in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len({v for epoch in epochs for v in epoch}) == 10


def test_a_batch_larger_than_the_set_is_the_set() -> None:
    stream = BatchStream(numbered(3), 100, seed=0)
    assert sorted(first_pixels(stream, 1)) == numbered(3).images[:, 0, 0, 0].tolist()
    assert (stream.num_batches_per_epoch, stream.epoch) == (1, 1)


def test_redrawn_images_are_new_each_time_and_those_that_are_kept_are_not() -> None:
    split, generator = numbered(50, redraw=True), torch.Generator().manual_seed(0)
    indices = torch.arange(0, 50, 2)
    first, second = (split.batch(indices, generator) for _ in range(2))
    assert torch.equal(first[..., 0], split.images[indices][..., 0])
    assert not (first[..., 1] == second[..., 1]).any()
    assert torch.equal(split.intensities(indices), split.images[indices])
    assert set(numbered(50, resample=True, redraw=True).batch(indices, generator).unique().tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="generator is None: this split draws its images or pixels anew"):
        split.batch(indices)


def test_stored_bytes_that_are_redrawn_are_scaled_as_those_that_are_kept() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1)
    split = Split(images, max_value=255, redraw=lambda indices, _: images[indices])
    x = split.batch(torch.tensor([2, 1, 0]), torch.Generator())
    assert x.flatten().tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert images.flatten().tolist() == [0, 51, 255]


@settings(max_examples=30, deadline=None)
@given(num_images=st.integers(0, 40), share=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_images_held_out_are_the_others(num_images: int, share: float, seed: int) -> None:
    num_held_out = int(share * num_images)
    kept, held_out = hold_out(num_images, num_held_out, seed)
    assert len(held_out) == num_held_out
    assert sorted(kept.tolist() + held_out.tolist()) == list(range(num_images))
    assert kept.tolist() == sorted(kept.tolist())
    assert held_out.tolist() == sorted(held_out.tolist())
    again = hold_out(num_images, num_held_out, seed)
    assert [part.tolist() for part in again] == [kept.tolist(), held_out.tolist()]


def test_seeds_differ() -> None:
    first, second = (first_pixels(BatchStream(numbered(50), 50, seed), 1) for seed in (0, 1))
    assert first != second


def test_bad_state_is_refused_and_changes_nothing() -> None:
    stream = BatchStream(numbered(10), 2, seed=0)
    state, twin = stream.state_dict(), BatchStream(numbered(10), 2, seed=0)
    for bad in [
        BatchStream(numbered(11), 2, seed=0).state_dict(),
        BatchStream(numbered(10), 3, seed=0).state_dict(),
        {},
        {**state, "order": torch.zeros(3, dtype=torch.uint8)},
        {**state, "counts": torch.tensor([0, 5, 10, 2])},
    ]:
        with pytest.raises(ValueError, match="the state of the batches is"):
            stream.load_state_dict(bad)
    assert torch.equal(stream.next(), twin.next())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="batch_size is 0"):
        BatchStream(numbered(3), 0, seed=0)
    with pytest.raises(ValueError, match="no images"):
        BatchStream(numbered(0), 1, seed=0)
