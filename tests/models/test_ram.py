"""RAM against loops written from its paper, and its policy gradient against the expected reward, counted out."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from drawnet.models.ram import RAM, RAMConfig

from .slow_draw import SlowDraw
from .small_classifiers import images_and_labels, seeded, small_ram


def relu(values: list[float]) -> list[float]:
    return [max(0.0, v) for v in values]


class SlowRAM(SlowDraw):
    """Sections 3 and 4 of Mnih et al. in Python floats; the loops for linear maps are those of DRAW's."""

    def patches(self, image: list, corner: tuple[int, int]) -> list[float]:
        """Means of 1, 2 x 2, ... pixels around the corner, channel by channel, black outside of the image."""
        cfg, values = self.config, []
        for plane in image:
            for scale in range(cfg.num_scales):
                stride = 2**scale
                first_x, first_y = (c - cfg.patch_size * stride // 2 for c in corner)
                for row, column in itertools.product(range(cfg.patch_size), repeat=2):
                    total = 0.0
                    for i, j in itertools.product(range(stride), repeat=2):
                        y, x = first_y + row * stride + i, first_x + column * stride + j
                        if 0 <= y < cfg.height and 0 <= x < cfg.width:
                            total += plane[y][x]
                    values.append(total / stride**2)
        return values

    def core(self, inputs: list[float], h: list[float]) -> list[float]:
        """Rect(Linear(h) + Linear(g)), a bias with each of the two maps."""
        sums = [0.0] * len(h)
        for kind, values in (("ih", inputs), ("hh", h)):
            rows, biases = self.weights[f"core.weight_{kind}"], self.weights[f"core.bias_{kind}"]
            for unit, (row, bias) in enumerate(zip(rows, biases, strict=True)):
                sums[unit] += bias + sum(w * v for w, v in zip(row, values, strict=True))
        return relu(sums)

    def run(self, image: list, noise: list[list[float]]) -> dict:
        """One image; noise is `[glimpse][2]`."""
        cfg = self.config
        h = self.weights["initial"]
        found: dict = {"mean": [], "drawn": [], "corner": [], "baseline": []}
        for epsilon in noise:
            mean = [math.tanh(v) for v in self.linear("location.2", relu(self.linear("location.0", h)))]
            drawn = [m + cfg.location_sigma * e for m, e in zip(mean, epsilon, strict=True)]
            inside = [min(1.0, max(-1.0, v)) for v in drawn]
            corner = tuple(round((v + 1) / 2 * s) for v, s in zip(inside, (cfg.width, cfg.height), strict=True))
            place = [2 * c / s - 1 for c, s in zip(corner, (cfg.width, cfg.height), strict=True)]
            found["mean"].append(mean)
            found["drawn"].append(drawn)
            found["corner"].append(corner)
            found["baseline"] += self.linear("baseline", h)
            seen, placed = relu(self.linear("see", self.patches(image, corner))), relu(self.linear("place", place))
            h = self.core(relu(self.linear("combine", seen + placed)), h)
        found["logits"] = self.linear("classify", h)
        return found


@pytest.mark.parametrize(
    "sizes", [{}, {"num_channels": 3}, {"patch_size": 4, "num_scales": 3}, {"patch_size": 1, "num_scales": 1}]
)
def test_the_glimpses_are_those_of_the_loops(sizes: dict[str, int]) -> None:
    model = small_ram(**sizes)
    x, _ = images_and_labels(model)
    noise = torch.randn(3, len(x), 2, generator=seeded(2), dtype=torch.float64)
    found = model.glimpses(x, noise)
    for n in range(len(x)):
        expected = SlowRAM(model).run(x[n].tolist(), noise[:, n].tolist())
        for name, values in expected.items():
            actual = getattr(found, name)[n].double()
            torch.testing.assert_close(actual, torch.tensor(values, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_looking_takes_the_mean_of_the_policy_and_shows_the_patches() -> None:
    model = small_ram(patch_size=4)
    x, labels = images_and_labels(model)
    look = model.look(x)
    glimpses = model.glimpses(x, torch.zeros(3, len(x), 2, dtype=torch.float64))
    torch.testing.assert_close(look.log_probs, glimpses.logits.log_softmax(1))
    for t, windows in enumerate(look.glimpses):
        for scale, window in enumerate(windows):
            left = glimpses.corner[:, t, 0] - 4 * 2**scale // 2  # pixels to the left of the patch
            assert torch.equal(window.center_x - window.half_width, left + 0.5 + 2**scale / 2)  # its first column's
            assert (window.stride == 2**scale).all()
    nats = model.loss(x, labels, generator=seeded()).nats
    assert torch.equal(nats, model.loss(x, labels, generator=seeded()).nats)
    assert not torch.equal(nats, model.loss(x, labels, generator=seeded(1)).nats)


def test_the_first_glimpse_covers_the_image() -> None:
    """Four scales of 12 x 12: the widest patch has 96 of the 100 pixels, two are missing on each side."""
    model = RAM(RAMConfig())
    first = model.look(torch.rand(2, 1, 100, 100)).glimpses[0]
    assert [(w.stride[0] * 12).item() for w in first] == [12, 24, 48, 96]
    widest = first[-1]
    assert (widest.center_x[0].item(), widest.center_y[0].item()) == (50.5, 50.5)
    edge = widest.half_width[0].item() + widest.stride[0].item() / 2
    assert (50.5 - edge, 50.5 + edge) == (2.5, 98.5)


def normal_cdf(v: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(v / math.sqrt(2)))


def rewards_and_probabilities(model: RAM, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """R and the probability of every path, `[image, path]`: places are corners of pixels, so all can be counted.

    Corner k of an axis of `size` pixels is where round((l + 1) / 2 size) = k: an interval of the normal variable l.
    """
    cfg = model.config
    columns, rows = torch.arange(cfg.width + 1), torch.arange(cfg.height + 1)
    corners = torch.cartesian_prod(columns, rows)
    paths = torch.tensor(list(itertools.product(range(len(corners)), repeat=cfg.num_glimpses)))
    chosen = corners[paths]  # [path, glimpse, 2]
    size = torch.tensor([cfg.width, cfg.height])
    place = 2 * chosen / size - 1.0
    rewards, probabilities = [], []
    for image, label in zip(x, labels, strict=True):
        images = image.expand(len(paths), -1, -1, -1)
        noise = torch.zeros(cfg.num_glimpses, len(paths), 2, dtype=torch.float64)
        for t in range(cfg.num_glimpses):  # the means depend on the glimpses before
            mean = model.glimpses(images, noise).mean[:, t]
            noise[t] = (place[:, t] - mean) / cfg.location_sigma
        found = model.glimpses(images, noise)
        assert torch.equal(found.corner, chosen)
        low = torch.where(chosen == 0, -torch.inf, 2 * (chosen - 0.5) / size - 1)
        high = torch.where(chosen == size, torch.inf, 2 * (chosen + 0.5) / size - 1)
        inside = [normal_cdf((edge - found.mean) / cfg.location_sigma) for edge in (low, high)]
        probability = (inside[1] - inside[0]).prod(2).prod(1)
        assert probability.sum().item() == pytest.approx(1)
        probabilities.append(probability)
        rewards.append(found.logits.softmax(1)[:, label])
    return torch.stack(rewards), torch.stack(probabilities)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_policy_gradient_is_the_derivative_of_the_expected_reward(seed: int) -> None:
    """Two glimpses, so that the second place depends on what was seen at the first; with the baseline in it."""
    model = small_ram(
        0.5, seed, height=3, width=2, num_glimpses=2, patch_size=2, num_scales=1, hidden_size=4, glimpse_size=6,
        policy_size=3,
    )  # fmt: skip
    x, labels = images_and_labels(model, 3, seed)
    with torch.no_grad():
        model.see.weight *= 4  # so that places matter
        model.classify.weight *= 3
        # Moving p(label) itself is the cross-entropy's part, so every path keeps the reward that it has now.
        rewards, probabilities = rewards_and_probabilities(model, x, labels)
    assert 0.05 < (rewards * probabilities).sum(1).mean() < 0.95

    def reward_at(p: Tensor, index: tuple[int, ...], step: float) -> float:
        with torch.no_grad():
            p[index] += step
            _, probabilities = rewards_and_probabilities(model, x, labels)
            p[index] -= step
        return (rewards * probabilities).sum(1).mean().item()

    taught = [p for name, p in model.named_parameters() if not name.startswith(("baseline", "classify"))]
    exact = []
    for p in taught:
        for index in itertools.product(*map(range, p.shape)):
            exact.append((reward_at(p, index, 1e-5) - reward_at(p, index, -1e-5)) / 2e-5)
    exact = torch.tensor(exact, dtype=torch.float64)

    generator, drawn = seeded(seed), []
    images, names = x.repeat(500, 1, 1, 1), labels.repeat(500)
    for _ in range(120):
        loss = model.loss(images, names, generator=generator)
        rest = loss.total - loss.nats.mean()  # the regression is in it, but reaches none of these
        slopes = torch.autograd.grad(-rest, taught)  # the loss goes down
        drawn.append(torch.cat([slope.flatten() for slope in slopes]))
    means = torch.stack(drawn)
    mean, error = means.mean(0), means.std(0) / math.sqrt(len(means))
    assert exact.norm() > 5 * error.norm()
    assert ((mean - exact).abs() < 4 * error + 1e-9).all()


def test_who_learns_from_which_part_of_the_loss() -> None:
    """Class: cross-entropy alone; policy: REINFORCE alone; baseline: regression alone; what is seen: the first two."""
    model = small_ram()
    x, labels = images_and_labels(model, 20)
    loss = model.loss(x, labels, generator=seeded())
    named = dict(model.named_parameters())
    parameters = list(named.values())
    total = dict(zip(named, torch.autograd.grad(loss.total, parameters, retain_graph=True), strict=True))
    entropy = dict(zip(named, torch.autograd.grad(loss.nats.mean(), parameters, allow_unused=True), strict=True))
    for name in named:
        if name.startswith(("location", "baseline")):
            assert entropy[name] is None
            assert total[name].abs().max() > 0
        elif name.startswith("classify"):
            torch.testing.assert_close(total[name], entropy[name])
        else:
            assert not torch.allclose(total[name], entropy[name])


def test_the_baseline_learns_the_mean_reward() -> None:
    model = small_ram()
    x, labels = images_and_labels(model, 20)
    model.loss(x, labels, generator=seeded()).total.backward()
    glimpses = model.glimpses(x, torch.randn(3, 20, 2, generator=seeded(), dtype=torch.float64))
    reward = glimpses.logits.softmax(1).gather(1, labels[:, None])
    slope = (2 * (glimpses.baseline - reward)).sum(1).mean()  # of the squared error's mean, in the bias
    assert model.baseline.bias.grad is not None
    assert model.baseline.bias.grad.item() == pytest.approx(slope.item())


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"patch_size": 0}, "patch_size is 0"),
        ({"patch_size": 12, "width": 8}, "patch_size is 12: the image has only 100 x 8"),
        ({"location_sigma": 0.0}, "location_sigma is 0.0"),
        ({"num_scales": 0}, "num_scales is 0"),
        ({"num_channels": 2}, "num_channels is 2"),
    ],
)
def test_sizes_out_of_range_are_named(sizes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RAMConfig(**sizes)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unchecked_shapes")
def test_images_of_another_shape_are_refused() -> None:
    model = RAM(RAMConfig(20, 20))
    with pytest.raises(ValueError, match="x has shape"):
        model.loss(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="x has shape"):
        model.look(torch.rand(2, 3, 20, 20))
