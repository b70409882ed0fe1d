from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from drawnet.models.frame import Frame
from drawnet.nn.attention import Window


def _window(x: float, y: float, half_width: float, sigma: float = 1.0, num_images: int = 1) -> Window:
    """The same place for every image; a 2 x 2 grid, so that the stride is the side."""
    values = (torch.full((num_images,), float(v)) for v in (x, y, 2 * half_width, sigma, 1.0))
    return Window(*values, grid_size=2)


def _frames(num_steps: int, images: torch.Tensor, *, with_windows: bool = True) -> list[Frame]:
    """A drawing that fades in while its windows wander out of the image."""
    frames = []
    for step in range(1, num_steps + 1):
        window = _window(2.0 * step, 1.5 * step, 4.0, 3 / step, len(images)) if with_windows else None
        frames.append(Frame(images * step / num_steps, window, window))
    return frames


@pytest.fixture
def make_window() -> Callable[..., Window]:
    return _window


@pytest.fixture
def make_frames() -> Callable[..., list[Frame]]:
    return _frames


@pytest.fixture
def grey() -> torch.Tensor:
    return torch.rand(4, 1, 12, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def colour() -> torch.Tensor:
    return torch.rand(3, 3, 7, 11, generator=torch.Generator().manual_seed(2))
