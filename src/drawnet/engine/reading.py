"""The selective read of section 3.2 by the compiled engine, for models that are not `Draw`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from drawnet.engine import Choice, instruction_sets, native, precision
from drawnet.engine.draw import fits
from drawnet.nn import attention


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images: Tensor, parameters: Tensor, grid_size: int):
        images, parameters = images.detach().contiguous(), parameters.detach().contiguous()
        ctx.save_for_backward(images, parameters)
        ctx.settings = grid_size, torch.get_num_threads(), instruction_sets()[-1][0]
        patches = images.new_empty(*images.shape[:2], grid_size, grid_size)
        native().read(images, parameters, *ctx.settings, patches)  # type: ignore[union-attr]
        return patches

    @staticmethod
    @once_differentiable
    def backward(ctx, d_patches: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        images, parameters = ctx.saved_tensors
        d_images = torch.empty_like(images) if ctx.needs_input_grad[0] else None
        d_parameters = torch.empty_like(parameters)
        native().read_backward(  # type: ignore[union-attr]
            images, parameters, *ctx.settings, d_patches.contiguous(), d_images, d_parameters
        )
        return d_images, d_parameters, None


def read_patch(
    images: Float[Tensor, "batch channel height width"],
    parameters: Float[Tensor, "batch 5"],
    grid_size: int,
    *,
    choice: Choice = "auto",
) -> Float[Tensor, "batch channel grid grid"]:
    """gamma F_Y x F_X^T, eqs. (21-27), differentiable (once by the engine) in `images` and `parameters`.

    Equal to `drawnet.nn.attention.read_patch` at `window_from_parameters`, which is what runs where the engine cannot.

    Args:
        images: any real values.
        parameters: gX~, gY~, log sigma^2, log delta~, log gamma of every image.
        grid_size: N, at least 2.
        choice: as of `drawnet.engine.precision`; a read has no products that mixed precision would change.

    Raises:
        ValueError: N below 2.
    """
    attention.check_grid_size("grid_size", grid_size)
    if precision(choice, training=False) and fits([images, parameters]) and len(images):
        return _Read.apply(images, parameters, grid_size)  # type: ignore[return-value]
    window = attention.window_from_parameters(parameters, grid_size, *images.shape[-2:])
    return attention.read_patch(images, window)
