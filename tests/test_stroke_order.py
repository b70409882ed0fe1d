"""Which digit is finished first: drawings made by hand, and a slow independent count."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from drawnet.data import load_dataset
from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.frame import Frame
from drawnet.nn.attention import Window
from drawnet.stroke_order import (
    MIN_DISTANCE,
    MIN_SHARE,
    TOLERANCE,
    Strokes,
    count_sequential,
    misplaced_share,
    stroke_order,
    strokes,
    two_places,
)

A, B = (12.0, 15.0), (45.0, 40.0)  # two places of a 60 x 60 canvas


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def window(places: list[tuple[float, float]]) -> Window:
    x, y = torch.tensor(places).T
    one = torch.ones(len(places))
    return Window(x, y, one, one, one, grid_size=5)


def drawing(places: list[tuple[float, float]], ink: list[float] | None = None) -> list[Frame]:
    """One drawing that lights a pixel of its own a step, where the window stands."""
    canvas = torch.zeros(1, 1, 60, 60)
    frames = []
    for t, (place, amount) in enumerate(zip(places, ink or [1.0] * len(places), strict=True)):
        canvas = canvas.clone()
        canvas[0, 0, t // 60, t % 60] = amount
        frames.append(Frame(canvas, write=window([place])))
    return frames


def count(frames: list[Frame]) -> tuple[int, int]:
    result = stroke_order(strokes(frames, torch.zeros(1, 60, 60)), generator=seeded(), num_shuffles=20)
    return result.num_two_places, result.num_sequential


def shaken(place: tuple[float, float], t: int) -> tuple[float, float]:
    return place[0] + 3 * math.sin(5.0 * t), place[1] + 3 * math.cos(7.0 * t)


def test_one_after_the_other_is_sequential_and_by_turns_is_not():
    after = [shaken(A, t) for t in range(8)] + [shaken(B, t) for t in range(8)]
    assert count(drawing(after)) == (1, 1)
    assert count(drawing(after[::-1])) == (1, 1)
    assert count(drawing([shaken((A, B)[t % 2], t) for t in range(16)])) == (1, 0)
    assert count(drawing([A] * 5 + [B] * 5 + [A] * 5)) == (1, 0)


def test_a_little_ink_out_of_place_is_allowed():
    places = [A, B, A, A, A, B, B, B]
    for misplaced, sequential in ((0.5, 1), (1.0, 0)):  # of 7.5 and of 8
        ink = [1.0] * 8
        ink[1] = misplaced
        assert count(drawing(places, ink)) == (1, sequential)


def test_one_digit_is_one_place():
    down = [(30.0, 20 + 20 * t / 15) for t in range(16)]  # from top to bottom over 20 pixels, evenly
    found = two_places(strokes(drawing(down), torch.zeros(1, 60, 60)))
    assert found.distance.item() == pytest.approx(10 + 2 / 3)
    assert count(drawing(down)) == (0, 0)
    # A single stray step elsewhere is not a second digit.
    assert count(drawing([A] * 15 + [B])) == (0, 0)
    assert count(drawing([A])) == (0, 0)


def test_ink_is_what_is_added_and_kept():
    # Pixel 0 goes 0.5 -> 0 -> 1, pixel 1 0.25 -> 1 -> 0.5, pixel 2 is rubbed out.
    canvases = torch.tensor([[0.0, 1.0, 0.9], [1.0, 0.5, 0.0]]).reshape(2, 1, 1, 1, 3)
    frames = [Frame(canvas, write=window([A])) for canvas in canvases]
    s = strokes(iter(frames), torch.tensor([[[0.5, 0.25, 0.0]]]))
    assert s.ink.tolist() == [[0.75 * 0.5, 1.0]]
    assert (s.x[0, 0].item(), s.y[0, 0].item()) == A


def strips(digit: torch.Tensor, left: int, top: int) -> list[tuple[torch.Tensor, tuple[float, float]]]:
    """A digit at a place of the canvas in strips from top to bottom, each with the centre of its ink."""
    painted = []
    for first in range(0, 28, 3):
        part = torch.zeros(60, 60)
        part[top + first : top + first + 3, left : left + 28] = digit[first : first + 3]
        if part.sum() > 0:
            rows, columns = (part.sum(axis) @ torch.arange(1.0, 61) / part.sum() for axis in (1, 0))
            painted.append((part, (columns.item(), rows.item())))
    return painted


def painted(steps: list[tuple[torch.Tensor, tuple[float, float]]]) -> list[Frame]:
    """Strips laid one after the other, the first of them on a canvas that a wide window has just cleared."""
    canvas = torch.zeros(60, 60)
    frames = [Frame(canvas.expand(1, 1, 60, 60), write=window([(30.5, 30.5)]))]
    for part, place in steps:
        canvas = (canvas + part).clamp(max=1)
        frames.append(Frame(canvas.expand(1, 1, 60, 60), write=window([place])))
    return frames


def test_real_digits_painted_in_turn_and_by_turns():
    num_drawings = 40
    digits = load_dataset("mnist").train.intensities(torch.arange(2 * num_drawings))[:, 0]
    generator, start = seeded(), torch.full((1, 60, 60), 0.1)
    counts = dict.fromkeys(("in turn", "by turns", "half and half", "on top of each other"), (0, 0))
    for i in range(num_drawings):
        (left, other_left), (top, other_top) = torch.randint(0, 33, (2, 2), generator=generator).tolist()
        a, b = strips(digits[2 * i], left, top), strips(digits[2 * i + 1], other_left, other_top)
        half_a, half_b = len(a) // 2, len(b) // 2
        orders = {
            "in turn": a + b,
            "by turns": [step for pair in zip(a, b, strict=False) for step in pair],
            "half and half": a[:half_a] + b[:half_b] + a[half_a:] + b[half_b:],
            "on top of each other": a + strips(digits[2 * i + 1], left, top),
        }
        for name, steps in orders.items():
            result = stroke_order(strokes(painted(steps), start), generator=seeded(), num_shuffles=1)
            apart, sequential = counts[name]
            counts[name] = apart + result.num_two_places, sequential + result.num_sequential
    assert counts["on top of each other"] == (0, 0)
    apart = counts["in turn"][0]
    assert apart > num_drawings / 5
    assert counts["in turn"] == (apart, apart)
    assert counts["by turns"][1] == 0
    assert counts["half and half"][1] <= 0.1 * apart


def slow_sequential(x: np.ndarray, y: np.ndarray, ink: np.ndarray) -> tuple[bool, bool]:
    """(two places, sequential) of one drawing: power iteration, all ways to split, all ways to go on."""
    share = ink / ink.sum()
    points = np.stack([x - share @ x, y - share @ y])
    covariance = sum(w * np.outer(p, p) for w, p in zip(share, points.T, strict=True))
    axis = np.array([1.0, 0.3])
    for _ in range(2000):
        axis = covariance @ axis
        axis /= np.linalg.norm(axis)
    along = axis @ points
    best = (math.inf, None)
    for bits in itertools.product([False, True], repeat=len(x)):
        second = np.array(bits)
        if second.all() or not second.any():
            continue
        cost = sum(
            (share[g] * (along[g] - np.average(along[g], weights=share[g])) ** 2).sum() for g in (second, ~second)
        )
        if cost < best[0] - 1e-12:
            best = (cost, second)
    second = best[1]
    means = [np.average(along[g], weights=share[g]) for g in (second, ~second)]
    apart = abs(means[0] - means[1]) >= MIN_DISTANCE and min(share[second].sum(), share[~second].sum()) >= MIN_SHARE
    # Every row of places that changes at most once, and the ink that would have to be elsewhere.
    wrong = min(
        share[second != np.array([first] * s + [not first] * (len(x) - s))].sum()
        for first in (False, True)
        for s in range(len(x) + 1)
    )
    return bool(apart), bool(apart and wrong <= TOLERANCE)


def test_the_count_is_that_of_trying_everything():
    generator = np.random.default_rng(0)
    num_drawings, num_steps = 40, 7
    places = np.array([A, B])[generator.integers(0, 2, (num_drawings, num_steps))]
    places[::3] = np.sort(places[::3], axis=1)
    places += generator.normal(0, 5, places.shape)
    ink = generator.exponential(1.0, (num_drawings, num_steps))
    x, y = places[..., 0], places[..., 1]
    s = Strokes(*(torch.from_numpy(v.copy()) for v in (x, y, ink)))
    result = stroke_order(s, generator=seeded(), num_shuffles=1)
    expected = np.array([slow_sequential(*values) for values in zip(x, y, ink, strict=True)])
    assert (result.num_two_places, result.num_sequential) == tuple(expected.sum(0))
    assert 5 < result.num_sequential < result.num_two_places < num_drawings


def test_shuffled_steps_are_sequential_as_often_as_all_their_orders_are():
    # Of the 20 orders of three equal steps at each place, 2 are sequential.
    s = strokes(drawing([A, A, A, B, B, B]), torch.zeros(1, 60, 60))
    orders = [torch.tensor(order) for order in set(itertools.permutations([False] * 3 + [True] * 3))]
    assert sum(misplaced_share(s.ink[0], order).item() <= TOLERANCE for order in orders) == 2
    num_shuffles = 4000
    result = stroke_order(s, generator=seeded(), num_shuffles=num_shuffles)
    assert abs(result.shuffled - 0.1) < 4 * math.sqrt(0.1 * 0.9 / num_shuffles)
    assert (result.share, result.standard_error) == (1, 0)


def test_a_model_is_counted_the_same_again():
    torch.manual_seed(0)
    model = Draw(DrawConfig(60, 60, num_glimpses=4, hidden_size=8, latent_size=2, read_size=3, write_size=3))
    counts = [count_sequential(model, 130, generator=seeded(3)) for _ in range(2)]
    assert counts[0].num_drawings == 130
    assert str(counts[0]) == str(counts[1])


def test_the_count_in_words():
    s = strokes(drawing([A] * 4 + [B] * 4), torch.zeros(1, 60, 60))
    text = str(stroke_order(s, generator=seeded(), num_shuffles=1))
    assert text.startswith("one place finished before the other in 1 of the 1 drawings (of 1) with two places: 100.0")
    nothing = Strokes(s.x, s.y, torch.zeros_like(s.ink))
    assert str(stroke_order(nothing, generator=seeded())) == "none of 1 drawings has ink in two places"


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_has_no_places_is_refused():
    with pytest.raises(ValueError, match="frames is empty"):
        strokes([], torch.zeros(1, 60, 60))
    with pytest.raises(ValueError, match="no writing windows"):
        strokes([Frame(torch.zeros(1, 1, 60, 60))], torch.zeros(1, 60, 60))
    model = Draw(DrawConfig(6, 6, num_glimpses=2, hidden_size=4, latent_size=2, read_size=None, write_size=None))
    with pytest.raises(ValueError, match="no writing windows"):
        count_sequential(model, 2, generator=seeded())
    with pytest.raises(ValueError, match="num_drawings is 0"):
        count_sequential(model, 0, generator=seeded())
