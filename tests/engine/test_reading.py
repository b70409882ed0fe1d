"""The engine's selective read against eqs. (21-27) in PyTorch, float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drawnet import engine
from drawnet.engine.reading import read_patch
from drawnet.nn import attention

pytestmark = pytest.mark.skipif(engine.native() is None, reason="installed without the compiled engine")


def check(images, parameters, weights):
    """Patches and gradients of their sum with these weights: as near to the truth as PyTorch in float32."""
    grid_size = weights.shape[-1]

    def run(dtype, read):
        inputs = [images.to(dtype).requires_grad_(), parameters.to(dtype).requires_grad_()]
        patches = read(*inputs)
        (patches * weights.to(dtype)).sum().backward()
        return [patches.detach(), *(v.grad for v in inputs)]

    def plain(images, parameters):
        window = attention.window_from_parameters(parameters, grid_size, *images.shape[-2:])
        return attention.read_patch(images, window)

    truth = run(torch.float64, plain)
    fast = run(torch.float32, lambda i, p: read_patch(i, p, grid_size))
    slow = run(torch.float32, plain)
    for own, float32, true in zip(fast, slow, truth, strict=True):
        assert own.isfinite().all()
        allowed = max(1e-5 * true.norm(), 4 * (float32 - true).norm())
        assert (own - true).norm() <= allowed + 1e-6


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    grid_size=st.integers(2, 13),
    scale=st.sampled_from([0.3, 1.0, 20.0]),
)
def test_equals_plain(batch, channels, height, width, grid_size, scale):
    generator = torch.Generator().manual_seed(batch)
    images = torch.randn(batch, channels, height, width, generator=generator)
    parameters = scale * torch.randn(batch, 5, generator=generator)
    weights = torch.randn(batch, channels, grid_size, grid_size, generator=generator)
    check(images, parameters, weights)


@pytest.mark.parametrize("log_sigma", [-5.0, -1.0, 0.5])
@pytest.mark.parametrize("center", [-3.0, -1.0, 0.3, 1.1])
def test_narrow_windows_of_a_large_image(log_sigma, center):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 100, 90, generator=generator)
    parameters = torch.tensor([center, -center, 2 * log_sigma, -1.5, 0.5]).repeat(3, 1)
    parameters[:, :2] += 0.1 * torch.randn(3, 2, generator=generator)
    check(images, parameters, torch.randn(3, 1, 12, 12, generator=generator))


def test_an_image_without_numbers_spoils_no_other():
    images, parameters = torch.rand(4, 1, 20, 30), torch.zeros(4, 5)
    right = read_patch(images, parameters, 3)
    for row, value in enumerate([float("nan"), float("inf"), -float("inf")]):
        parameters[row, 0] = value
    parameters.requires_grad_()
    patches = read_patch(images, parameters, 3)
    patches.sum().backward()
    assert patches[:3].isnan().all()
    assert torch.equal(patches[3], right[3])
    assert parameters.grad is not None
    assert parameters.grad[3].isfinite().all()


def test_images_without_gradient():
    images, parameters = torch.rand(2, 1, 4, 4), torch.zeros(2, 5, requires_grad=True)
    read_patch(images, parameters, 2).sum().backward()
    assert parameters.grad is not None


def test_plain_by_choice_and_for_other_dtypes(monkeypatch):
    monkeypatch.setattr("drawnet.engine.reading.native", None)  # whoever asks it fails
    images, parameters = torch.rand(2, 1, 4, 4), torch.zeros(2, 5)
    assert read_patch(images, parameters, 3, choice="plain").shape == (2, 1, 3, 3)
    assert read_patch(images.double(), parameters.double(), 3).dtype == torch.float64


def test_a_grid_of_one_is_refused():
    with pytest.raises(ValueError, match="grid_size is 1"):
        read_patch(torch.rand(2, 1, 4, 4), torch.zeros(2, 5), 1)
