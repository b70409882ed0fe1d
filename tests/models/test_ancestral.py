"""Drawing in raster order, with toy models whose distribution over all images is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from drawnet.models.ancestral import UNKNOWN, NaiveSteps, draw_in_order, is_raster_suffix

from .small_draw import seeded


class Chain:
    """Bits: every value's logit is a random linear function of all values before it, in raster order, R, G, B."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.shape = (channels, height, width)
        size = channels * height * width
        self.weight = 1.5 * torch.randn(size, size, generator=seeded(1), dtype=torch.float64).tril(-1)
        self.bias = torch.randn(size, generator=seeded(2), dtype=torch.float64)

    def logits(self, x: Tensor) -> Tensor:
        """`[batch, channel, 1, height, width]`."""
        channels, height, width = self.shape
        flat = self.bias + x.permute(0, 2, 3, 1).flatten(1) @ self.weight.t()
        return flat.view(-1, height, width, channels).permute(0, 3, 1, 2)[:, :, None]

    def probabilities(self) -> tuple[Tensor, Tensor]:
        """All images, and p(x) of each."""
        size = len(self.bias)
        bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64)
        images = bits.view(-1, *self.shape)
        p = torch.sigmoid(self.logits(images)[:, :, 0] * (2 * images - 1)).flatten(1).prod(1)
        return images, p


class Recorder(NaiveSteps):
    """Writes down what it is asked, and what it is shown."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain.logits)
        self.calls: list[tuple[int, ...]] = []
        self.shown: list[Tensor] = []

    def start_row(self, x, row):
        self.calls.append((row,))

    def logits(self, x, row, column, channel):
        self.calls.append((row, column, channel))
        self.shown.append(x.clone())
        return super().logits(x, row, column, channel)


def last_canvas(frames) -> Tensor:
    *_, last = frames
    return last.canvas


def bits(*shape: int, seed: int = 5) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64).round()


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 2, 2), (3, 1, 2)])
def test_samples_follow_the_chain_rule(channels, height, width):
    chain = Chain(channels, height, width)
    images, p = chain.probabilities()
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    num = 20_000
    x = torch.full((num, channels, height, width), math.nan, dtype=torch.float64)
    known = torch.zeros(num, 1, height, width, dtype=torch.bool)
    drawn = last_canvas(draw_in_order(NaiveSteps(chain.logits), x, known, 2, seeded()))
    share = (drawn.flatten(1)[:, None] == images.flatten(1)).all(2).double().mean(0)
    assert share.sum().item() == pytest.approx(1)
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / num).sqrt() + 1e-9).all()


def test_an_unknown_suffix_follows_the_conditional_distribution():
    chain = Chain(1, 2, 2)
    images, p = chain.probabilities()
    num = 20_000
    known = torch.tensor([[True, False], [False, False]]).expand(num, 1, 2, 2)
    for bit in (0.0, 1.0):
        x = torch.full((num, 1, 2, 2), bit, dtype=torch.float64)
        drawn = last_canvas(draw_in_order(NaiveSteps(chain.logits), x, known, 2, seeded()))
        posterior = p * (images[:, 0, 0, 0] == bit)
        posterior = posterior / posterior.sum()
        share = (drawn.flatten(1)[:, None] == images.flatten(1)).all(2).double().mean(0)
        assert ((share - posterior).abs() <= 4.5 * (posterior * (1 - posterior) / num).sqrt() + 1e-9).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_order_of_the_walk_and_what_it_shows(channels):
    steps = Recorder(Chain(channels, 3, 2))
    x = bits(4, channels, 3, 2)
    known = torch.rand(4, 1, 3, 2, generator=seeded(6)) < 0.4
    known[:, :, 1] = True
    frames = list(draw_in_order(steps, torch.where(known, x, 7.0), known, 2, seeded()))
    walk = []
    for row in range(3):
        walk.append((row,))
        walk.extend((row, column, channel) for column in range(2) for channel in range(channels))
    assert steps.calls == walk
    final = frames[-1].canvas
    for (row, column, channel), shown in zip([call for call in walk if len(call) == 3], steps.shown, strict=True):
        place = (row * 2 + column) * channels + channel
        values = shown.permute(0, 2, 3, 1).flatten(1)
        assert torch.equal(values[:, :place], final.permute(0, 2, 3, 1).flatten(1)[:, :place])
        later = ~known.expand_as(x).permute(0, 2, 3, 1).flatten(1)[:, place:]
        assert (values[:, place:][later] == UNKNOWN).all()
    assert len(frames) == 2  # row 1 was known
    assert (frames[0].canvas[:, :, 2:][~known.expand_as(x)[:, :, 2:]] == UNKNOWN).all()


def test_known_pixels_come_back_bit_for_bit():
    chain = Chain(3, 3, 2)
    x = bits(16, 3, 3, 2)
    for seed in range(5):
        known = torch.rand(16, 1, 3, 2, generator=seeded(seed)) < 0.5
        for frame in draw_in_order(NaiveSteps(chain.logits), x, known, 2, seeded()):
            assert torch.equal(frame.canvas[known.expand_as(x)], x[known.expand_as(x)])
        assert ((frame.canvas == 0) | (frame.canvas == 1)).all()


def test_completing_a_sample_with_its_own_noise_gives_the_sample():
    chain = Chain(3, 3, 2)
    nothing = torch.zeros(8, 1, 3, 2, dtype=torch.bool)
    sample = last_canvas(draw_in_order(NaiveSteps(chain.logits), bits(8, 3, 3, 2), nothing, 2, seeded(3)))
    # Not only for a suffix: every pixel is drawn from the same numbers given the same earlier pixels.
    for known in (torch.arange(6).view(3, 2).expand(8, 1, 3, 2) < 3, torch.rand(8, 1, 3, 2, generator=seeded()) < 0.5):
        x = torch.where(known, sample, 0.0)
        again = last_canvas(draw_in_order(NaiveSteps(chain.logits), x, known, 2, seeded(3)))
        assert torch.equal(again, sample)


def test_nothing_to_draw_gives_one_frame_and_asks_nothing():
    steps = Recorder(Chain(1, 3, 2))
    x = bits(2, 1, 3, 2)
    (frame,) = draw_in_order(steps, x, torch.ones(2, 1, 3, 2, dtype=torch.bool), 2, seeded())
    assert torch.equal(frame.canvas, x)
    assert steps.calls == []


def test_rows_after_the_last_unknown_one_are_not_walked():
    steps = Recorder(Chain(1, 3, 2))
    x = bits(2, 1, 3, 2)
    known = torch.ones(2, 1, 3, 2, dtype=torch.bool)
    known[1, 0, 1, 0] = False
    frames = list(draw_in_order(steps, x, known, 2, seeded()))
    assert len(frames) == 1
    assert max(call[0] for call in steps.calls) == 1


def test_frames_and_images_do_not_share_memory():
    x, known = bits(2, 1, 3, 2), torch.zeros(2, 1, 3, 2, dtype=torch.bool)
    before = x.clone()
    frames = [frame.canvas for frame in draw_in_order(NaiveSteps(Chain(1, 3, 2).logits), x, known, 2, seeded())]
    assert torch.equal(x, before)
    for row, canvas in enumerate(frames):
        assert (canvas[:, :, row + 1 :] == UNKNOWN).all()
        assert (canvas[:, :, : row + 1] != UNKNOWN).all()
        assert ((canvas >= 0) & (canvas <= 1)).all()  # -1 would be no picture


def test_known_values_must_be_levels_and_others_need_not():
    x = torch.full((1, 1, 3, 2), 0.3, dtype=torch.float64)
    known = torch.zeros(1, 1, 3, 2, dtype=torch.bool)
    list(draw_in_order(NaiveSteps(Chain(1, 3, 2).logits), x, known, 2, seeded()))
    known[0, 0, 2, 1] = True
    with pytest.raises(ValueError, match=r"x has a value 0\.3"):
        list(draw_in_order(NaiveSteps(Chain(1, 3, 2).logits), x, known, 2, seeded()))


def test_raster_suffix_is_what_the_loops_say():
    for pattern in itertools.product([False, True], repeat=6):
        flags = list(pattern)
        expected = not any(flags[j] and not flags[i] for i in range(6) for j in range(i + 1, 6))
        known = torch.tensor(flags).view(1, 1, 2, 3)
        assert is_raster_suffix(known) == expected
        both = torch.cat([known, torch.ones_like(known)])
        assert is_raster_suffix(both) == expected
