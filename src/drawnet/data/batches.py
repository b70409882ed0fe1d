"""Endless minibatches that can be interrupted anywhere and go on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

Batch_co = TypeVar("Batch_co", covariant=True)
Batch = TypeVar("Batch")


@runtime_checkable
class Source(Protocol[Batch_co]):
    """What minibatches are made from: a `Split`, or a split with labels."""

    def __len__(self) -> int:
        """How many images."""
        ...

    def batch(self, indices: Tensor, generator: torch.Generator | None = None) -> Batch_co:
        """The images at `indices`, with what belongs to them; what is drawn anew is drawn from `generator`."""
        ...


class BatchStream(Generic[Batch]):
    """Endless shuffled minibatches of a split, for training.

    An epoch is a fresh permutation cut into floor(n / batch_size) batches; the n mod batch_size images at its end
    wait for another epoch. With fewer than `batch_size` images, every batch is all of them.

    Args:
        split: the images.
        batch_size: images in a batch.
        seed: of the order of the images; what the split draws anew, such as the pixels of a `resample` split, is
            drawn from seed + 1.

    Attributes:
        epoch: number of whole epochs handed out.
        num_batches_per_epoch: batches in each.

    Raises:
        ValueError: `batch_size` below 1, or no images.

    Example:
        >>> import torch
        >>> from drawnet.data import Split
        >>> from drawnet.data.batches import BatchStream
        >>> stream = BatchStream(Split(torch.zeros(10, 1, 2, 2), max_value=1), batch_size=5, seed=0)
        >>> [tuple(stream.next().shape) for _ in range(3)], stream.epoch
        ([(5, 1, 2, 2), (5, 1, 2, 2), (5, 1, 2, 2)], 1)
    """

    def __init__(self, split: Source[Batch], batch_size: int, seed: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: it must be at least 1")
        if len(split) == 0:
            raise ValueError("the split has no images")
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self.num_batches_per_epoch = len(split) // self.batch_size
        self.epoch = 0
        self._position = 0  # batches of this epoch handed out
        self._pixels = torch.Generator().manual_seed(seed + 1)
        self._shuffle(torch.Generator().manual_seed(seed))

    def _shuffle(self, order: torch.Generator) -> None:
        self._order = order
        self._order_at_start = order.get_state()  # from which the permutation can be drawn again
        self._permutation = torch.randperm(len(self.split), generator=order)

    def next(self) -> Batch:
        """The next batch, as the split's `batch` makes it."""
        start = self._position * self.batch_size
        x = self.split.batch(self._permutation[start : start + self.batch_size], self._pixels)
        self._position += 1
        if self._position == self.num_batches_per_epoch:
            self.epoch += 1
            self._position = 0
            self._shuffle(self._order)
        return x

    def state_dict(self) -> dict[str, Tensor]:
        """Where the stream is, in a few kilobytes: the generators' states, position, epoch and sizes."""
        counts = [self.epoch, self._position, len(self.split), self.batch_size]
        return {
            "order": self._order_at_start.clone(),
            "pixels": self._pixels.get_state(),
            "counts": torch.tensor(counts, dtype=torch.int64),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on exactly where `state_dict` was taken. A state that is refused changes nothing.

        Args:
            state: what `state_dict` returned, from a stream over the same images with the same batch size.

        Raises:
            ValueError: a part is missing or damaged, or the number of images or the batch size differs.
        """
        order, pixels = torch.Generator(), torch.Generator()
        try:
            epoch, position, num_images, batch_size = state["counts"].tolist()
            order.set_state(state["order"])
            pixels.set_state(state["pixels"])
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the state of the batches is damaged: {error}") from error
        for name, saved, own in [
            ("images", num_images, len(self.split)),
            ("images a batch", batch_size, self.batch_size),
        ]:
            if saved != own:
                raise ValueError(f"the state of the batches is of {saved} {name}, this data set has {own}")
        if epoch < 0 or not 0 <= position < self.num_batches_per_epoch:
            raise ValueError(f"the state of the batches is damaged: epoch {epoch}, batch {position}")
        self.epoch, self._position, self._pixels = epoch, position, pixels
        self._shuffle(order)
