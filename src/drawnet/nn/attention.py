"""The differentiable attention of DRAW (Gregor et al. 2015, section 3.2, eqs. 19-29).

A grid of N x N Gaussian filters is placed on an image A wide and B high. Pixels are counted from 1 as in the paper:
the first column is a = 1, the last a = A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Beyond it a filter is one pixel or flat anyway, and the gradients of float32 overflow to inf - inf.
LOG_LIMIT = 10.0


@dataclass(frozen=True)
class Window:
    """Where a filter grid looks: one value an image, lengths in pixels counted from 1.

    Attributes:
        center_x: gX, column of the grid's centre, `[batch]`.
        center_y: gY, row of the grid's centre, `[batch]`.
        stride: delta, distance of neighbouring filters, `[batch]`.
        sigma: standard deviation of the filters, `[batch]`.
        gamma: intensity, `[batch]`; reading multiplies by it, writing divides.
        grid_size: N.
    """

    center_x: Float[Tensor, "batch"]
    center_y: Float[Tensor, "batch"]
    stride: Float[Tensor, "batch"]
    sigma: Float[Tensor, "batch"]
    gamma: Float[Tensor, "batch"]
    grid_size: int

    @property
    def half_width(self) -> Float[Tensor, "batch"]:
        """Half the side of the square that the filter centres span, `[batch]`, pixels."""
        return self.stride * (self.grid_size - 1) / 2


def window_from_parameters(parameters: Float[Tensor, "batch 5"], grid_size: int, height: int, width: int) -> Window:
    """(gX~, gY~, log sigma^2, log delta~, log gamma) -> where to look, eqs. (21-24).

    All five at zero: centred on the image, covering it from the first to the last pixel, sigma = gamma = 1.

    Args:
        parameters: the five numbers of eq. (21) for every image. The three logarithms are held inside +-10.
        grid_size: N, at least 2: eq. (24) divides by N - 1.
        height: B, pixels.
        width: A, pixels.

    Raises:
        ValueError: N below 2.
    """
    check_grid_size("grid_size", grid_size)
    gx, gy, log_variance, log_delta, log_gamma = parameters.unbind(1)
    log_variance, log_delta, log_gamma = (v.clamp(-LOG_LIMIT, LOG_LIMIT) for v in (log_variance, log_delta, log_gamma))
    return Window(
        center_x=(width + 1) / 2 * (gx + 1),  # (22)
        center_y=(height + 1) / 2 * (gy + 1),  # (23)
        stride=(max(height, width) - 1) / (grid_size - 1) * log_delta.exp(),  # (24)
        sigma=(0.5 * log_variance).exp(),
        gamma=log_gamma.exp(),
        grid_size=grid_size,
    )


def check_grid_size(field: str, grid_size: int) -> None:
    """Refuse N < 2, for which the stride of eq. (24) is a division by zero."""
    if grid_size < 2:
        raise ValueError(
            f"{field} is {grid_size}: the attention grid needs at least 2 x 2 filters (the stride is divided by N - 1)"
        )


def filter_bank(
    center: Float[Tensor, "batch"],
    stride: Float[Tensor, "batch"],
    sigma: Float[Tensor, "batch"],
    grid_size: int,
    num_pixels: int,
) -> Float[Tensor, "batch grid pixels"]:
    """One axis of the filters: F_X (19, 25) or F_Y (20, 26).

    F[i, a] = exp(-(a - mu_i)^2 / (2 sigma^2)) / Z_i with mu_i = g + (i - N/2 - 0.5) delta. The division by Z is a
    softmax, so every row sums to 1 even for a filter far outside the image.

    Args:
        center: gX or gY, pixels counted from 1.
        stride: delta, pixels.
        sigma: pixels.
        grid_size: N, number of filters.
        num_pixels: A or B.
    """
    i = torch.arange(1, grid_size + 1, dtype=center.dtype, device=center.device)
    a = torch.arange(1, num_pixels + 1, dtype=center.dtype, device=center.device)
    mu = center[:, None] + (i - grid_size / 2 - 0.5) * stride[:, None]  # (19, 20)
    u = (a - mu[:, :, None]) / sigma[:, None, None]
    return torch.softmax(-0.5 * u**2, dim=-1)  # (25, 26)


def filter_banks(
    window: Window, height: int, width: int
) -> tuple[Float[Tensor, "batch grid height"], Float[Tensor, "batch grid width"]]:
    """F_Y and F_X of a window over an image `height` x `width` pixels, eqs. (19, 20, 25, 26)."""
    f_y = filter_bank(window.center_y, window.stride, window.sigma, window.grid_size, height)
    f_x = filter_bank(window.center_x, window.stride, window.sigma, window.grid_size, width)
    return f_y, f_x


def read_patch(
    images: Float[Tensor, "batch channel height width"], window: Window
) -> Float[Tensor, "batch channel grid grid"]:
    """gamma F_Y x F_X^T for every channel, eq. (27): the N x N patch under the window."""
    f_y, f_x = filter_banks(window, *images.shape[-2:])
    patch = f_y[:, None] @ images @ f_x[:, None].mT
    return window.gamma[:, None, None, None] * patch


def write_patch(
    patch: Float[Tensor, "batch channel grid grid"], window: Window, height: int, width: int
) -> Float[Tensor, "batch channel height width"]:
    """1/gamma F_Y^T w F_X for every channel, eq. (29): the patch laid on an image of the given size, pixels."""
    f_y, f_x = filter_banks(window, height, width)
    image = f_y[:, None].mT @ patch @ f_x[:, None]
    return image / window.gamma[:, None, None, None]


class AttentionParameters(nn.Module):
    """W(hdec) of eq. (21): a linear map from the decoder's state to a `Window`.

    The biases do not start at zero. With sigma = 1 a 2 x 2 grid on a 28 x 28 image sees four corner pixels and the
    network learns nothing for hundreds of updates (docs/design.md has the measurements); so sigma starts at half the
    stride, whatever the image's size and N, and the patch covers the image without gaps.

    Args:
        hidden_size: length of the decoder's state.
        grid_size: N, at least 2.
        height: B, pixels.
        width: A, pixels.
        initial_log_gamma: starting log gamma.
    """

    def __init__(self, hidden_size: int, grid_size: int, height: int, width: int, *, initial_log_gamma: float) -> None:
        super().__init__()
        self.grid_size, self.height, self.width = grid_size, height, width
        self.linear = nn.Linear(hidden_size, 5)
        stride = (max(height, width) - 1) / (grid_size - 1)
        log_variance = 2 * math.log(max(stride, 1) / 2)
        with torch.no_grad():
            self.linear.bias.copy_(torch.tensor([0.0, 0.0, log_variance, 0.0, initial_log_gamma]))

    def forward(self, hidden: Float[Tensor, "batch hidden"]) -> Window:
        """Where to look, from the decoder's state `[batch, hidden]`."""
        return window_from_parameters(self.linear(hidden), self.grid_size, self.height, self.width)
