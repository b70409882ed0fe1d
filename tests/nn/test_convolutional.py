"""Convolutional stacks against loops over pixels, at sizes that two strides of 2 do not divide."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from drawnet.nn.convolutional import ConvolutionalDecoder, ConvolutionalEncoder, ImageHead, ResidualBlock

NUM_MAPS, HIDDEN_SIZE, LATENT_SIZE = 4, 3, 2
odd_sizes = pytest.mark.parametrize("image_shape", [(1, 4, 4), (3, 5, 7), (1, 6, 4), (1, 8, 5), (3, 1, 2)])


def random_module(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return module


def random_values(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def all_parts(image_shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        random_module(ConvolutionalEncoder(image_shape, HIDDEN_SIZE, NUM_MAPS)),
        random_module(ConvolutionalDecoder(LATENT_SIZE, HIDDEN_SIZE, image_shape, NUM_MAPS)),
        random_module(ImageHead(image_shape, NUM_MAPS)),
    )


# ---------------------------------------------------------------------------- by loops


def slow_gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def slow_dense(layer: nn.Linear, x: Tensor) -> Tensor:
    return layer.weight @ x + layer.bias


def slow_convolution(layer: nn.Conv2d, x: Tensor, stride: int = 1) -> Tensor:
    """Output place (r, c) looks at a square of inputs around (stride r, stride c); outside is 0."""
    num_out, _, size, _ = layer.weight.shape
    _, height, width = x.shape
    y = torch.zeros(num_out, math.ceil(height / stride), math.ceil(width / stride), dtype=x.dtype)
    for r in range(y.shape[1]):
        for c in range(y.shape[2]):
            if layer.bias is not None:
                y[:, r, c] = layer.bias
            for i in range(size):
                for j in range(size):
                    row, column = stride * r + i - size // 2, stride * c + j - size // 2
                    if 0 <= row < height and 0 <= column < width:
                        y[:, r, c] += layer.weight[:, :, i, j] @ x[:, row, column]
    return y


def slow_residual(block: ResidualBlock, x: Tensor) -> Tensor:
    return x + slow_convolution(block.second, slow_gelu(slow_convolution(block.first, slow_gelu(x))))


def slow_doubled(x: Tensor) -> Tensor:
    y = torch.zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], dtype=x.dtype)
    for r in range(y.shape[1]):
        for c in range(y.shape[2]):
            y[:, r, c] = x[:, r // 2, c // 2]
    return y


def layers(module: nn.Module, kind: type) -> list:
    return [m for m in module.children() if isinstance(m, kind)]


@torch.no_grad()
@odd_sizes
def test_encoder_equals_the_loops(image_shape):
    encoder, _, _ = all_parts(image_shape)
    x = random_values(2, *image_shape)
    (first, second), (block,), (dense,) = (layers(encoder, k) for k in (nn.Conv2d, ResidualBlock, nn.Linear))
    for image, actual in zip(x, encoder(x.flatten(1)), strict=True):
        maps = slow_convolution(second, slow_gelu(slow_convolution(first, image, stride=2)), stride=2)
        hidden = slow_gelu(slow_dense(dense, slow_gelu(slow_residual(block, maps)).flatten()))
        torch.testing.assert_close(actual, hidden)


@torch.no_grad()
@odd_sizes
def test_decoder_and_head_equal_the_loops(image_shape):
    _, decoder, head = all_parts(image_shape)
    num_channels, height, width = image_shape
    z = random_values(2, LATENT_SIZE)
    (first, second), blocks = layers(decoder, nn.Linear), layers(decoder, ResidualBlock)
    maps = decoder(z)
    images = head(maps).view(2, *image_shape)
    for m in range(2):
        hidden = slow_dense(second, slow_gelu(slow_dense(first, z[m])))
        coarse = hidden.view(NUM_MAPS, math.ceil(height / 4), math.ceil(width / 4))
        expected = slow_gelu(slow_residual(blocks[1], slow_doubled(slow_residual(blocks[0], coarse))))
        torch.testing.assert_close(maps[m], expected)
        pixels = slow_convolution(head.convolution, expected)
        for k in range(num_channels):
            for r in range(height):
                for c in range(width):
                    value = pixels[4 * k + 2 * (r % 2) + c % 2, r // 2, c // 2]
                    value = value + head.bias[(k * height + r) * width + c]
                    torch.testing.assert_close(images[m, k, r, c], value)


# ---------------------------------------------------------------------------- sizes and connections


@odd_sizes
def test_every_pixel_is_read_and_written(image_shape):
    encoder, decoder, head = all_parts(image_shape)
    x = random_values(math.prod(image_shape))
    read = torch.autograd.functional.jacobian(lambda x: encoder(x[None])[0], x)
    written = torch.autograd.functional.jacobian(lambda z: head(decoder(z[None]))[0], random_values(LATENT_SIZE))
    assert read.shape == (HIDDEN_SIZE, math.prod(image_shape))
    assert written.shape == (math.prod(image_shape), LATENT_SIZE)
    assert (read != 0).all()
    assert (written != 0).all()


def test_gradients_equal_finite_differences():
    encoder, decoder, head = all_parts((1, 4, 5))
    assert torch.autograd.gradcheck(encoder, (random_values(2, 20).requires_grad_(),))
    assert torch.autograd.gradcheck(lambda z: head(decoder(z)), (random_values(2, LATENT_SIZE).requires_grad_(),))
    (head(decoder(random_values(2, LATENT_SIZE))).sum() + encoder(random_values(2, 20)).sum()).backward()
    assert all((p.grad != 0).any() for part in (encoder, decoder, head) for p in part.parameters())


def test_images_of_ordinary_sizes():
    for image_shape in [(1, 28, 28), (1, 28, 20), (3, 32, 32), (1, 8, 8)]:
        encoder = ConvolutionalEncoder(image_shape, HIDDEN_SIZE)
        decoder = ConvolutionalDecoder(LATENT_SIZE, HIDDEN_SIZE, image_shape)
        assert encoder(torch.rand(2, math.prod(image_shape))).shape == (2, HIDDEN_SIZE)
        assert ImageHead(image_shape)(decoder(torch.rand(2, LATENT_SIZE))).shape == (2, math.prod(image_shape))
