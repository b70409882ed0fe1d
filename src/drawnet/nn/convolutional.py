"""Small convolutional stacks between images and vectors, for any height and width; not from a paper."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

NUM_MAPS = 32


class ConvolutionalEncoder(nn.Sequential):
    """Images, flattened, to hidden units: two convolutions of stride 2, a residual block, a dense layer.

    Args:
        image_shape: channels, height, width in pixels.
        hidden_size: units of the dense layer.
        num_maps: feature maps after the second convolution.
    """

    def __init__(self, image_shape: tuple[int, int, int], hidden_size: int, num_maps: int = NUM_MAPS) -> None:
        num_channels, height, width = image_shape
        super().__init__(
            ToMaps(image_shape),
            nn.Conv2d(num_channels, num_maps // 2, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv2d(num_maps // 2, num_maps, 3, stride=2, padding=1),
            ResidualBlock(num_maps),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(num_maps * _quarter(height) * _quarter(width), hidden_size),
            nn.GELU(),
        )


class ConvolutionalDecoder(nn.Sequential):
    """Latents to feature maps of about half the image's size (see `ImageHead`): dense layers, residual blocks.

    Args:
        latent_size: length of z.
        hidden_size: units of the first dense layer.
        image_shape: channels, height, width in pixels.
        num_maps: feature maps.
    """

    def __init__(
        self, latent_size: int, hidden_size: int, image_shape: tuple[int, int, int], num_maps: int = NUM_MAPS
    ) -> None:
        maps_shape = (num_maps, _quarter(image_shape[1]), _quarter(image_shape[2]))
        super().__init__(
            nn.Linear(latent_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, num_maps * maps_shape[1] * maps_shape[2]),
            ToMaps(maps_shape),
            ResidualBlock(num_maps),
            nn.Upsample(scale_factor=2),
            ResidualBlock(num_maps),
            nn.GELU(),
        )


class ImageHead(nn.Module):
    """Feature maps to images, flattened: a 5 x 5 convolution, and a bias of every pixel.

    The convolution gives the 2 x 2 pixels that lie under each place of the maps. What sticks out is cut off: the maps
    have twice a quarter of the image's rows and columns, rounded up.

    Args:
        image_shape: channels, height, width in pixels.
        num_maps: feature maps that come in.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_maps: int = NUM_MAPS) -> None:
        super().__init__()
        num_channels, self.height, self.width = image_shape
        self.convolution = nn.Conv2d(num_maps, 4 * num_channels, 5, padding=2, bias=False)
        self.to_pixels = nn.PixelShuffle(2)
        self.bias = nn.Parameter(torch.zeros(num_channels * self.height * self.width))

    def forward(self, maps: Float[Tensor, "batch maps rows columns"]) -> Float[Tensor, "batch values"]:
        """The images, cropped to their size."""
        image = self.to_pixels(self.convolution(maps))
        return image[:, :, : self.height, : self.width].flatten(1) + self.bias


class ResidualBlock(nn.Module):
    """x + W_2 * gelu(W_1 * gelu(x)), both convolutions 3 x 3.

    Args:
        num_maps: feature maps in and out.
    """

    def __init__(self, num_maps: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(num_maps, num_maps, 3, padding=1) for _ in range(2))

    def forward(self, maps: Float[Tensor, "batch maps rows columns"]) -> Float[Tensor, "batch maps rows columns"]:
        """The sum."""
        return maps + self.second(gelu(self.first(gelu(maps))))


class ToMaps(nn.Module):
    """Vectors to feature maps, with the channels last in memory: that makes convolutions on a CPU faster.

    Args:
        shape: maps, rows, columns.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Float[Tensor, "batch values"]) -> Float[Tensor, "batch maps rows columns"]:
        """The same numbers, `[batch, *shape]`."""
        return x.view(-1, *self.shape).contiguous(memory_format=torch.channels_last)


def _quarter(size: int) -> int:
    """What two strides of 2 leave of `size`: a quarter, rounded up."""
    return (size + 3) // 4
