"""How long drawing takes with and without the caches: PixelCNN, Row LSTM and Diagonal BiLSTM, the same images.

    python benchmarks/sampling.py [--models pixelcnn row diagonal] [--images 16] [--height 28] [--threads 1]

The sizes are the paper's for MNIST (7 layers, h = 16), the weights untrained. Prints seconds a batch and their ratio.
The cached sampler is run three times, and the fastest counts; the naive one once.
"""

from __future__ import annotations

import argparse
import time

import torch

from drawnet.models.pixelcnn import PixelCNN, PixelCNNConfig
from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig


def build(name: str, height: int) -> PixelCNN | PixelRNN:
    """A binary model with untrained weights."""
    torch.manual_seed(0)
    if name == "pixelcnn":
        return PixelCNN(PixelCNNConfig(height=height, width=height))
    return PixelRNN(PixelRNNConfig(layer="row" if name == "row" else "diagonal", height=height, width=height))


def draw(model: PixelCNN | PixelRNN, num_images: int, cached: bool) -> tuple[float, torch.Tensor]:
    """Seconds, and the images."""
    start = time.perf_counter()
    *_, last = model.sample(num_images, generator=torch.Generator().manual_seed(0), cached=cached)
    return time.perf_counter() - start, last.canvas


def main() -> None:
    """Draw with every model, both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["pixelcnn", "row", "diagonal"]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--height", type=int, default=28, help="and width, in pixels")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.models:
        model = build(name, options.height)
        cached, images = min((draw(model, options.images, True) for _ in range(3)), key=lambda run: run[0])
        naive, same_images = draw(model, options.images, False)
        agree = "the same images" if torch.equal(images, same_images) else "images differ"
        print(
            f"{name:<9} naive {naive:7.2f} s, cached {cached:6.2f} s, ratio {naive / cached:5.1f}, {agree}", flush=True
        )


if __name__ == "__main__":
    main()
