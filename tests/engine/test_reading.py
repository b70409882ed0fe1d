"""The engine's selective read against eqs. (21-27) in PyTorch, float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from drawnet import engine
from drawnet.engine.reading import read_patch
from drawnet.nn import attention

pytestmark = pytest.mark.skipif(engine.native() is None, reason="installed without the compiled engine")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    grid_size=st.integers(2, 13),
    scale=st.sampled_from([0.3, 1.0, 20.0]),
)
def test_equals_plain(batch, channels, height, width, grid_size, scale):
    generator = torch.Generator().manual_seed(batch)
    images = torch.randn(batch, channels, height, width, generator=generator)
    parameters = scale * torch.randn(batch, 5, generator=generator)
    weights = torch.randn(batch, channels, grid_size, grid_size, generator=generator)

    def run(dtype, read):
        inputs = [images.to(dtype).requires_grad_(), parameters.to(dtype).requires_grad_()]
        patches = read(*inputs)
        (patches * weights.to(dtype)).sum().backward()
        return [patches.detach(), *(v.grad for v in inputs)]

    def plain(images, parameters):
        return attention.read_patch(images, attention.window_from_parameters(parameters, grid_size, height, width))

    truth = run(torch.float64, plain)
    fast = run(torch.float32, lambda i, p: read_patch(i, p, grid_size))
    slow = run(torch.float32, plain)
    for own, float32, true in zip(fast, slow, truth, strict=True):
        assert own.isfinite().all()
        allowed = max(1e-5 * true.norm(), 4 * (float32 - true).norm())
        assert (own - true).norm() <= allowed + 1e-6


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
