"""The filters of DRAW against the equations: values by hand, slow loops, adjoints and derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drawnet.nn.attention import (
    AttentionParameters,
    Window,
    filter_bank,
    filter_banks,
    read_patch,
    window_from_parameters,
    write_patch,
)


def random_parameters(batch: int, seed: int, scale: float = 0.4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, 5, generator=generator, dtype=torch.float64)


def random_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def centers(center: torch.Tensor, window: Window) -> list[float]:
    """mu of every filter of the first image, measured on the filters: their mean pixel, on a wide enough axis.

    The axis is extended by 200 pixels on both sides, so that filters outside the image are measured too.
    """
    margin = 200
    num_pixels = 2 * margin + 200
    bank = filter_bank(center + margin, window.stride, window.sigma, window.grid_size, num_pixels)
    pixels = torch.arange(1, num_pixels + 1, dtype=bank.dtype) - margin
    return (bank[0] @ pixels).tolist()


def loop_filters(g: float, delta: float, sigma: float, n: int, num_pixels: int) -> torch.Tensor:
    bank = torch.zeros(n, num_pixels, dtype=torch.float64)
    for i in range(1, n + 1):
        mu = g + (i - n / 2 - 0.5) * delta
        weights = [math.exp(-((a - mu) ** 2) / (2 * sigma**2)) for a in range(1, num_pixels + 1)]
        for a in range(1, num_pixels + 1):
            bank[i - 1, a - 1] = weights[a - 1] / sum(weights)
    return bank


# ---------------------------------------------------------------------------------------------- where the grid stands


@pytest.mark.parametrize(("grid_size", "expected"), [(5, [1, 7.75, 14.5, 21.25, 28]), (2, [1, 28])])
def test_zero_parameters_place_the_filters_from_first_to_last_pixel(grid_size, expected):
    window = window_from_parameters(torch.zeros(1, 5, dtype=torch.float64), grid_size, 28, 28)
    assert centers(window.center_x, window) == pytest.approx(expected, abs=1e-6)
    assert centers(window.center_y, window) == pytest.approx(expected, abs=1e-6)
    assert (window.sigma.item(), window.gamma.item()) == (1, 1)


def test_window_of_a_non_square_image_by_hand():
    # A = 9 wide, B = 5 high, N = 3:
    #   gX = 10/2 (0.2 + 1) = 6, gY = 6/2 (-0.5 + 1) = 1.5, delta = 8/2 * 0.5 = 2, sigma^2 = 9, gamma = 4.
    parameters = torch.tensor([[0.2, -0.5, math.log(9), math.log(0.5), math.log(4)]], dtype=torch.float64)
    window = window_from_parameters(parameters, grid_size=3, height=5, width=9)
    values = (window.center_x, window.center_y, window.stride, window.sigma, window.gamma, window.half_width)
    assert [v.item() for v in values] == pytest.approx([6, 1.5, 2, 3, 4, 2])
    assert centers(window.center_x, window) == pytest.approx([4, 6, 8])
    assert centers(window.center_y, window) == pytest.approx([-0.5, 1.5, 3.5])


@pytest.mark.parametrize(("height", "width"), [(5, 9), (9, 5)])
def test_stride_comes_from_the_longer_side(height, width):
    window = window_from_parameters(torch.zeros(1, 5, dtype=torch.float64), 5, height, width)
    assert window.stride.item() == (9 - 1) / (5 - 1)
    assert (window.center_x.item(), window.center_y.item()) == ((width + 1) / 2, (height + 1) / 2)


@pytest.mark.parametrize("grid_size", [1, 0, -3])
def test_a_grid_of_one_filter_is_refused(grid_size):
    with pytest.raises(ValueError, match=f"grid_size is {grid_size}"):
        window_from_parameters(torch.zeros(1, 5), grid_size, 28, 28)


@pytest.mark.parametrize(
    ("height", "width", "grid_size"),
    [(28, 28, 2), (28, 28, 5), (54, 54, 12), (100, 60, 12), (60, 100, 12), (8, 8, 3), (8, 8, 12)],
)
def test_an_untrained_window_covers_the_image_without_gaps(height, width, grid_size):
    torch.manual_seed(0)
    attention = AttentionParameters(16, grid_size, height, width, initial_log_gamma=0.3)
    window = attention(torch.zeros(1, 16))
    side = max(height, width)
    for center, num_pixels in ((window.center_x, width), (window.center_y, height)):
        first, last = (center - window.half_width).item(), (center + window.half_width).item()
        # From the first pixel to the last on the long side; beyond both ends, evenly, on the short one.
        assert first == pytest.approx(1 - (side - num_pixels) / 2, abs=1e-3)
        assert last == pytest.approx(num_pixels + (side - num_pixels) / 2, abs=1e-3)
    # Half the stride; and half a pixel where the filters stand closer than the pixels.
    assert window.sigma.item() == pytest.approx(max(window.stride.item(), 1) / 2, rel=1e-4)
    assert window.gamma.item() == pytest.approx(math.exp(0.3), rel=1e-4)
    # No gap: every pixel counts in the patch at least a quarter of the most seen one.
    if height == width:
        f_y, _ = filter_banks(window, height, width)
        seen = f_y[0].sum(0)
        assert seen.min() > 0.25 * seen.max()


# ------------------------------------------------------------------------------------------------ what the filters are

finite = {"allow_nan": False, "allow_infinity": False}


@settings(deadline=None, max_examples=60)
@given(
    center=st.floats(-60, 120, **finite),
    stride=st.floats(0.01, 40, **finite),
    sigma=st.floats(0.3, 50, **finite),
    grid_size=st.integers(2, 6),
    num_pixels=st.integers(1, 40),
)
def test_filters_equal_the_double_loop(center, stride, sigma, grid_size, num_pixels):
    columns = [torch.tensor([v, 2.5], dtype=torch.float64) for v in (center, stride, sigma)]
    bank = filter_bank(*columns, grid_size, num_pixels)
    for mu in (center + (i - grid_size / 2 - 0.5) * stride for i in range(1, grid_size + 1)):
        if max(1 - mu, mu - num_pixels) > 30 * sigma:  # exp() underflows in the loop, which then divides 0 by 0
            return
    torch.testing.assert_close(
        bank[0], loop_filters(center, stride, sigma, grid_size, num_pixels), rtol=1e-9, atol=1e-14
    )


@settings(deadline=None, max_examples=100)
@given(
    st.tuples(*[st.floats(-bound, bound, **finite) for bound in (1e10, 1e10, 1e3, 1e3, 1e3)]),
    st.integers(2, 12),
    st.sampled_from([(28, 28), (5, 40), (1, 3)]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_extreme_parameters_keep_filters_normalised_and_everything_finite(five, grid_size, size, dtype):
    parameters = torch.tensor([five], dtype=dtype, requires_grad=True)
    height, width = size
    window = window_from_parameters(parameters, grid_size, height, width)
    for bank in filter_banks(window, height, width):
        assert (bank >= 0).all()
        torch.testing.assert_close(bank.sum(-1), torch.ones(1, grid_size, dtype=dtype))
    patch = read_patch(torch.ones(1, 1, height, width, dtype=dtype), window)
    # Every row sums to 1, so a white image reads as gamma everywhere.
    torch.testing.assert_close(patch, window.gamma.view(1, 1, 1, 1).expand_as(patch))
    written = write_patch(patch, window, height, width)
    assert written.isfinite().all()
    (gradient,) = torch.autograd.grad(patch.sum() + (written * torch.arange(width)).sum(), parameters)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("center", "nearest"), [(1e3, -1), (1e5, -1), (-1e3, 0), (-1e5, 0)])
def test_a_narrow_filter_far_outside_sees_the_nearest_pixel_and_has_no_gradient(center, nearest):
    # In float32 the distances of the ten pixels are nearly one number: rounding must not make them equally near.
    parameters = [torch.tensor([v], requires_grad=True) for v in (center, 1.0, 0.1)]
    bank = filter_bank(*parameters, 2, 10)
    expected = torch.zeros(1, 2, 10)
    expected[:, :, nearest] = 1
    torch.testing.assert_close(bank, expected)
    for gradient in torch.autograd.grad((bank * torch.arange(10.0)).sum(), parameters):
        assert gradient.abs().item() < 1e-6


def test_exponent_holds_the_variance_once():
    # sigma = 2 and mu on pixel 5: two pixels further F has fallen by exp(-2^2 / (2 * 2^2)) = exp(-1/2).
    bank = filter_bank(*(torch.tensor([v], dtype=torch.float64) for v in (5.5, 1.0, 2.0)), 2, 9)
    assert (bank[0, 0, 6] / bank[0, 0, 4]).item() == pytest.approx(math.exp(-0.5))
    assert (bank[0, 0, 2] / bank[0, 0, 4]).item() == pytest.approx(math.exp(-0.5))
    # The parameter is log sigma^2, not log sigma.
    window = window_from_parameters(torch.tensor([[0.0, 0.0, math.log(9.0), 0.0, 0.0]]), 2, 9, 9)
    assert window.sigma.item() == pytest.approx(3)


def test_rows_follow_y_and_columns_follow_x():
    # A single bright pixel at row 2, column 6 of a 4 x 8 image, and a sharp grid whose first filter stands on it.
    image = torch.zeros(1, 1, 4, 8, dtype=torch.float64)
    image[0, 0, 1, 5] = 1
    half, one, sharp = (torch.tensor([v], dtype=torch.float64) for v in (0.5, 1.0, 0.01))
    window = Window(6 + half, 2 + half, one, sharp, one, 2)
    expected = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    torch.testing.assert_close(read_patch(image, window), expected)
    torch.testing.assert_close(write_patch(expected, window, 4, 8), image)
    # Moving the grid one column to the left moves the pixel one column to the right in the patch.
    shifted = Window(5 + half, 2 + half, one, sharp, one, 2)
    torch.testing.assert_close(read_patch(image, shifted), expected.flip(-1))


# ------------------------------------------------------------------------------------------------- reading and writing


@pytest.mark.parametrize(("height", "width", "grid_size"), [(4, 6, 3), (7, 3, 2), (5, 5, 4)])
def test_read_and_write_equal_the_loops(height, width, grid_size):
    batch, num_channels = 2, 3
    window = window_from_parameters(random_parameters(batch, seed=height), grid_size, height, width)
    images = random_images(batch, num_channels, height, width)
    patches = random_images(batch, num_channels, grid_size, grid_size, seed=1)
    read, written = torch.zeros_like(patches), torch.zeros_like(images)
    for m in range(batch):
        gx, gy, delta, sigma, gamma = (
            getattr(window, name)[m].item() for name in ("center_x", "center_y", "stride", "sigma", "gamma")
        )
        f_x = loop_filters(gx, delta, sigma, grid_size, width)
        f_y = loop_filters(gy, delta, sigma, grid_size, height)
        for k in range(num_channels):
            for j in range(grid_size):
                for i in range(grid_size):
                    for b in range(height):
                        for a in range(width):
                            weight = f_y[j, b] * f_x[i, a]
                            read[m, k, j, i] += gamma * weight * images[m, k, b, a]
                            written[m, k, b, a] += weight * patches[m, k, j, i] / gamma
    torch.testing.assert_close(read_patch(images, window), read, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(write_patch(patches, window, height, width), written, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 9), st.integers(2, 5))
def test_reading_and_writing_are_adjoint(seed, height, width, grid_size):
    # <gamma F_Y x F_X^T, p> / gamma = <x, F_Y^T p F_X> = gamma <x, 1/gamma F_Y^T p F_X>
    window = window_from_parameters(random_parameters(2, seed), grid_size, height, width)
    x = random_images(2, 3, height, width, seed=seed + 1)
    p = random_images(2, 3, grid_size, grid_size, seed=seed + 2)
    reading = (read_patch(x, window) * p).sum((1, 2, 3)) / window.gamma
    writing = (x * write_patch(p, window, height, width)).sum((1, 2, 3)) * window.gamma
    torch.testing.assert_close(reading, writing, rtol=1e-10, atol=1e-12)


def test_gamma_multiplies_what_is_read_and_divides_what_is_written():
    parameters = torch.zeros(1, 5, dtype=torch.float64)
    louder = parameters.clone()
    louder[0, 4] = math.log(3)
    plain, loud = (window_from_parameters(v, 3, 6, 6) for v in (parameters, louder))
    x, p = random_images(1, 1, 6, 6), random_images(1, 1, 3, 3)
    torch.testing.assert_close(read_patch(x, loud), 3 * read_patch(x, plain))
    torch.testing.assert_close(write_patch(p, loud, 6, 6), write_patch(p, plain, 6, 6) / 3)


def test_channels_share_one_set_of_filters():
    window = window_from_parameters(random_parameters(2, seed=3), 3, 6, 5)
    x, p = random_images(2, 3, 6, 5), random_images(2, 3, 3, 3)
    order = [2, 0, 1]
    torch.testing.assert_close(read_patch(x[:, order], window), read_patch(x, window)[:, order])
    torch.testing.assert_close(write_patch(p[:, order], window, 6, 5), write_patch(p, window, 6, 5)[:, order])
    # Each channel alone gives the same as beside the others.
    torch.testing.assert_close(read_patch(x[:, 1:2], window), read_patch(x, window)[:, 1:2])


def test_gradients_of_read_and_write_equal_finite_differences():
    parameters = random_parameters(2, seed=5).requires_grad_()
    x = random_images(2, 2, 5, 4).requires_grad_()
    p = random_images(2, 2, 3, 3).requires_grad_()

    def read(parameters, x):
        return read_patch(x, window_from_parameters(parameters, 3, 5, 4))

    def write(parameters, p):
        return write_patch(p, window_from_parameters(parameters, 3, 5, 4), 5, 4)

    assert torch.autograd.gradcheck(read, (parameters, x))
    assert torch.autograd.gradcheck(write, (parameters, p))
    # All five parameters matter to both.
    for patch in (read(parameters, x), write(parameters, p)):
        (gradient,) = torch.autograd.grad(patch.square().sum(), parameters)
        assert (gradient != 0).all()
