"""PixelCNN's samplers: the cached one is the slow one, and both follow the likelihood."""

from __future__ import annotations

import pytest
import torch

from drawnet.models.ancestral import NaiveSteps, draw_in_order
from drawnet.models.pixelcnn_steps import PixelCNNSteps

from .small_draw import seeded
from .small_pixelcnn import condition_for, every_variant, images_for, last_canvas, small_model, variant


class BothSteps:
    """Asks both, and insists that they agree."""

    def __init__(self, naive: NaiveSteps, cached: PixelCNNSteps) -> None:
        self.naive, self.cached = naive, cached
        self.num_values = 0

    def start_row(self, x, row):
        self.cached.start_row(x, row)

    def logits(self, x, row, column, channel):
        expected = self.naive.logits(x, row, column, channel)
        logits = self.cached.logits(x, row, column, channel)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-10)
        self.num_values += 1
        return logits


@every_variant
def test_cached_logits_equal_those_of_the_whole_network(channels, levels, conditions, skip):
    model = variant(channels, levels, conditions, skip, height=6, width=9)
    x, condition = images_for(model), condition_for(model)
    known = torch.rand(3, 1, 6, 9, generator=seeded(4)) < 0.3
    with torch.no_grad():
        steps = BothSteps(
            NaiveSteps(lambda images: model.logits(images, condition)),
            PixelCNNSteps(model.first, model.blocks, model.skips, model.head, condition),
        )
        list(draw_in_order(steps, x, known, levels, seeded()))
        assert steps.num_values == channels * 6 * 9
        list(draw_in_order(steps, x.flip(0), known, levels, seeded()))  # nothing is left over from the first images


@every_variant
def test_cached_and_naive_samplers_draw_the_same_images(channels, levels, conditions, skip):
    model = variant(channels, levels, conditions, skip, height=6, width=9)
    x, condition = images_for(model, 4), condition_for(model, 4)
    nothing, some = torch.zeros(4, 1, 6, 9, dtype=torch.bool), torch.rand(4, 1, 6, 9, generator=seeded(4)) < 0.3
    for known in (nothing, some):
        cached, naive = (
            list(model.complete(x, known, generator=seeded(2), condition=condition, cached=cached))
            for cached in (True, False)
        )
        assert len(cached) == len(naive) == 6
        for a, b in zip(cached, naive, strict=True):
            assert torch.equal(a.canvas, b.canvas)
    if condition is None:
        cached, naive = (last_canvas(model.sample(4, generator=seeded(2), cached=cached)) for cached in (True, False))
        assert torch.equal(cached, naive)
        assert torch.equal(cached, last_canvas(model.complete(x, nothing, generator=seeded(2))))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_images_smaller_than_the_kernels_are_drawn(height, width):
    model = small_model(height=height, width=width, num_channels=3)
    cached, naive = (last_canvas(model.sample(8, generator=seeded(), cached=cached)) for cached in (True, False))
    assert torch.equal(cached, naive)


def test_samples_follow_the_likelihood():
    model = small_model(height=2, width=2)
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4).view(16, 1, 2, 2)
    p = (-model.nll(x).nats).exp()
    num = 20_000
    drawn = last_canvas(model.sample(num, generator=seeded()))
    share = (drawn.flatten(1)[:, None] == x.flatten(1)).all(2).double().mean(0)
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / num).sqrt()).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_completion_keeps_what_is_known(channels):
    model = small_model(num_channels=channels, num_levels=5)
    x = images_for(model, 6)
    for seed in range(4):
        known = torch.rand(6, 1, 4, 5, generator=seeded(seed)) < 0.5
        wanted = known.expand_as(x)
        for frame in model.complete(torch.where(known, x, 9.0), known, generator=seeded(seed)):
            assert torch.equal(frame.canvas[wanted], x[wanted])
        assert (frame.canvas * 4 == (frame.canvas * 4).round()).all()
    (frame,) = model.complete(x, torch.ones(6, 1, 4, 5, dtype=torch.bool))
    assert torch.equal(frame.canvas, x)


@pytest.mark.parametrize("cached", [True, False])
def test_completing_the_top_of_a_sample_gives_the_sample(cached):
    model = small_model(num_channels=3, num_levels=3)
    sample = last_canvas(model.sample(6, generator=seeded(9), cached=cached))
    known = (torch.arange(20).view(4, 5) < 12).expand(6, 1, 4, 5)
    top = torch.where(known, sample, 0.5)
    assert torch.equal(last_canvas(model.complete(top, known, generator=seeded(9), cached=cached)), sample)
    assert not torch.equal(last_canvas(model.complete(top, known, generator=seeded(8), cached=cached)), sample)


def test_samplers_work_in_float32_and_leave_no_graph():
    model = small_model().float()
    for cached in (True, False):
        canvas = last_canvas(model.sample(2, generator=seeded(), cached=cached))
        assert canvas.dtype == torch.float32
        assert not canvas.requires_grad
