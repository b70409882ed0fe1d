"""DRAW against slow loops over its equations, and against what they imply."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from drawnet.models.draw import Draw, DrawConfig
from drawnet.models.frame import Frame

from .slow_draw import Drawing, SlowDraw
from .small_draw import every_variant, images_for, seeded, small_draw


def step_noise(model: Draw, num_images: int, seed: int) -> Tensor:
    """The noise a generator gives the model: one draw of `[batch, latent]` a step. `[step, batch, latent]`."""
    generator = seeded(seed)
    shape = (num_images, model.config.latent_size)
    return torch.stack(
        [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(model.config.num_glimpses)]
    )


def latents_seen(model: Draw, run: Callable[[], object]) -> list[Tensor]:
    """z_1..z_T as they enter the decoder during `run`."""
    seen = []
    handle = model.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    run()
    handle.remove()
    return seen


# ---------------------------------------------------------------------------- the equations, slowly


@every_variant
def test_nll_equals_the_slow_loops(read_size, write_size, num_channels):
    model = small_draw(read_size, write_size, num_channels)
    slow = SlowDraw(model)
    x = images_for(model)
    noise = step_noise(model, len(x), seed=7)
    analytic = model.nll(x, generator=seeded(7)).parts
    sampled = model.nll(x, generator=seeded(7), kl="sampled").parts
    assert set(analytic) == set(sampled) == {"reconstruction", "kl"}
    assert analytic["kl"].shape == (3, model.config.num_glimpses)
    for m in range(len(x)):
        drawing = slow.infer(x[m].tolist(), noise[:, m].tolist())
        for parts in (analytic, sampled):
            assert parts["reconstruction"][m].item() == pytest.approx(drawing.reconstruction, rel=0, abs=1e-10)
        assert analytic["kl"][m].tolist() == pytest.approx(drawing.kl, rel=0, abs=1e-10)
        assert sampled["kl"][m].tolist() == pytest.approx(drawing.log_ratio, rel=0, abs=1e-10)


def check_frames(frames: list[Frame], drawings: list[Drawing], model: Draw) -> None:
    """Canvas, read window and write window of every frame and image equal the slow ones."""
    assert len(frames) == model.config.num_glimpses
    for t, frame in enumerate(frames):
        assert ((frame.canvas >= 0) & (frame.canvas <= 1)).all()
        canvases = torch.tensor([drawing.canvases[t] for drawing in drawings], dtype=torch.float64)
        torch.testing.assert_close(frame.canvas, torch.sigmoid(canvases), rtol=0, atol=1e-10)
        for window, name in ((frame.read, "reads"), (frame.write, "writes")):
            expected = [getattr(drawing, name) for drawing in drawings]
            if window is None:
                assert not any(expected)
                continue
            fields = (window.center_x, window.center_y, window.stride, window.sigma, window.gamma)
            values = torch.tensor([windows[t] for windows in expected], dtype=torch.float64)
            torch.testing.assert_close(torch.stack(fields, 1), values, rtol=0, atol=1e-10)


@every_variant
def test_reconstruction_frames_equal_the_slow_loops(read_size, write_size, num_channels):
    model = small_draw(read_size, write_size, num_channels)
    x = images_for(model, num_images=2)
    frames = list(model.reconstruct(x, generator=seeded(3)))
    noise = step_noise(model, len(x), seed=3)
    check_frames(frames, [SlowDraw(model).infer(x[m].tolist(), noise[:, m].tolist()) for m in range(len(x))], model)
    for frame in frames:
        assert (frame.read is None) == (read_size is None)
        assert (frame.write is None) == (write_size is None)


@every_variant
def test_sample_frames_equal_the_slow_loops(read_size, write_size, num_channels):
    model = small_draw(read_size, write_size, num_channels)
    frames = list(model.sample(2, generator=seeded(3)))
    noise = step_noise(model, 2, seed=3)
    check_frames(frames, [SlowDraw(model).generate(noise[:, m].tolist()) for m in range(2)], model)
    for frame in frames:
        assert frame.read is None
        assert (frame.write is None) == (write_size is None)


def test_last_reconstruction_holds_the_means_of_the_likelihood():
    model = small_draw()
    x = images_for(model)
    *_, last = model.reconstruct(x, generator=seeded(5))
    nats = torch.nn.functional.binary_cross_entropy(last.canvas, x, reduction="none").sum((1, 2, 3))
    torch.testing.assert_close(model.nll(x, generator=seeded(5)).parts["reconstruction"], nats)


# ---------------------------------------------------------------------------- randomness


def test_every_step_draws_fresh_noise():
    model = small_draw(num_glimpses=6, latent_size=50)
    with torch.no_grad():  # Q becomes N(0, I), so that the z that are seen are the noise itself
        for head in (model.mu, model.log_sigma):
            head.weight.zero_()
            head.bias.zero_()
    x = images_for(model, num_images=20)
    for run in (lambda: model.nll(x, generator=seeded()), lambda: list(model.sample(20, generator=seeded()))):
        noise = torch.stack(latents_seen(model, run)).flatten(1)
        assert noise.shape == (6, 1000)
        # 1,000 values a step: correlations between steps have a standard error of 0.03.
        assert (torch.corrcoef(noise) - torch.eye(6)).abs().max() < 0.15
        assert (noise.var(1) - 1).abs().max() < 0.25
    assert (model.nll(x, generator=seeded()).parts["kl"] == 0).all()


def test_a_seed_decides_every_number():
    model = small_draw()
    x = images_for(model)
    for run in (
        lambda seed: model.nll(x, generator=seeded(seed)).nats,
        lambda seed: torch.stack([frame.canvas for frame in model.sample(3, generator=seeded(seed))]),
        lambda seed: torch.stack([frame.canvas for frame in model.reconstruct(x, generator=seeded(seed))]),
    ):
        assert torch.equal(run(0), run(0))
        assert not torch.equal(run(0), run(1))


def test_without_a_generator_torchs_own_is_used():
    model = small_draw()
    x = images_for(model)
    torch.manual_seed(4)
    first, second = model.nll(x).nats, model.nll(x).nats
    torch.manual_seed(4)
    assert torch.equal(model.nll(x).nats, first)
    assert not torch.equal(first, second)


def test_images_of_a_batch_do_not_mix():
    model = small_draw()
    x = images_for(model)
    changed = x.clone()
    changed[1] = 1 - changed[1]
    before, after = (model.nll(v, generator=seeded()).nats for v in (x, changed))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert before[1] != after[1]


# ---------------------------------------------------------------------------- reader, writer, c_0


def test_reader_and_writer_share_no_parameter():
    model = small_draw(read_size=3, write_size=3)
    x = images_for(model)
    with torch.no_grad():
        model.encoder.weight_ih.zero_()  # nothing that is read reaches the decoder, so windows depend on z alone
        read_bias, write_bias = model.read_attention.linear.bias, model.write_attention.linear.bias
        before = list(model.reconstruct(x, generator=seeded()))
        read_bias += 0.1
        reader_moved = list(model.reconstruct(x, generator=seeded()))
        read_bias -= 0.1
        write_bias += 0.1
        writer_moved = list(model.reconstruct(x, generator=seeded()))
    for old, reader, writer in zip(before, reader_moved, writer_moved, strict=True):
        for field in ("center_x", "center_y", "stride", "sigma", "gamma"):
            for moved, unmoved, side in ((reader, writer, "read"), (writer, reader, "write")):
                value = getattr(getattr(old, side), field)
                assert (getattr(getattr(moved, side), field) > value).all(), (side, field)
                torch.testing.assert_close(getattr(getattr(unmoved, side), field), value, msg=f"{side} {field}")


def test_first_canvas_can_start_at_the_mean_image():
    model = small_draw(num_channels=3)
    mean_image = images_for(model, num_images=1)[0].float()
    mean_image[0, 0, :3] = torch.tensor([0.0, 1.0, 0.5])
    model.start_canvas_at(mean_image)
    torch.testing.assert_close(torch.sigmoid(model.canvas_0).float(), mean_image.clamp(0.01, 0.99))
    assert model.canvas_0.dtype == torch.float64
    assert model.canvas_0.requires_grad
    with torch.no_grad():  # a writer that adds nothing shows c_0
        model.write.weight.zero_()
        model.write.bias.zero_()
    for frame in model.sample(2, generator=seeded()):
        torch.testing.assert_close(frame.canvas.float(), mean_image.clamp(0.01, 0.99).expand(2, -1, -1, -1))


@pytest.mark.parametrize(
    ("height", "width", "read_size", "write_size"),
    [(28, 28, 2, 5), (28, 28, 5, 5), (54, 54, 12, 12), (100, 60, 12, 12), (60, 100, 12, 3)],
)
def test_untrained_network_first_looks_at_the_whole_image(height, width, read_size, write_size):
    torch.manual_seed(0)
    model = Draw(DrawConfig(height=height, width=width, num_glimpses=1, read_size=read_size, write_size=write_size))
    x = torch.rand(4, 1, height, width, generator=seeded())
    (frame,) = model.reconstruct(x, generator=seeded())
    side = max(height, width)
    # The first read follows from the biases alone; the write also from the first z, through small weights.
    for window, tolerance in ((frame.read, 1e-4 * side), (frame.write, 0.08 * side)):
        for center, num_pixels in ((window.center_x, width), (window.center_y, height)):
            assert (center - (num_pixels + 1) / 2).abs().max() < tolerance
            assert (center - window.half_width).max() < 1 + 2 * tolerance
            assert (center + window.half_width).min() > num_pixels - 2 * tolerance
        assert (window.half_width - (side - 1) / 2).abs().max() < tolerance
        assert (window.sigma / window.stride - 0.5).abs().max() < tolerance / side
    assert (frame.read.gamma > 1).all()
    assert (frame.write.gamma < 1).all()


def test_sampling_never_touches_the_encoder():
    model = small_draw()
    before = [frame.canvas for frame in model.sample(3, generator=seeded())]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.split(".")[0] in ("encoder", "encoder_0", "mu", "log_sigma", "read_attention"):
                parameter.fill_(math.nan)
    after = [frame.canvas for frame in model.sample(3, generator=seeded())]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert model.nll(images_for(model), generator=seeded()).nats.isnan().all()


# ---------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 0),
        ("width", -1),
        ("num_glimpses", 0),
        ("hidden_size", 0),
        ("latent_size", 0),
        ("num_channels", 2),
        ("num_channels", 0),
        ("read_size", 1),
        ("write_size", 1),
        ("read_size", 0),
        ("write_size", -2),
    ],
)
def test_impossible_sizes_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        DrawConfig(**{field: value})


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 3, 4, 5), (2, 1, 5, 4), (2, 1, 4, 6), (1, 2, 1, 4, 5), ()])
def test_images_of_a_wrong_shape_are_refused(shape):
    model = small_draw()
    x = torch.zeros(shape, dtype=torch.float64)
    for run in (lambda: model.nll(x), lambda: list(model.reconstruct(x))):
        with pytest.raises(ValueError, match="x has shape") as error:
            run()
        assert str(tuple(shape)) in str(error.value)
        assert "[batch, 1, 4, 5]" in str(error.value)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_images_that_are_not_floating_point_are_refused(dtype):
    model = small_draw()
    x = torch.ones(2, 1, 4, 5, dtype=dtype)
    for run in (lambda: model.nll(x), lambda: list(model.reconstruct(x))):
        with pytest.raises(ValueError, match=f"x has dtype {dtype}"):
            run()


@pytest.mark.parametrize("num_images", [0, -1])
def test_no_samples_is_refused(num_images):
    with pytest.raises(ValueError, match=f"num_images is {num_images}"):
        next(small_draw().sample(num_images))
