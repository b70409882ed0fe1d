"""One training step of the Diagonal BiLSTM: drawnet's, and the same network written with PyTorch's usual parts.

    python benchmarks/diagonal.py [--batch 16] [--steps 9] [--threads 1]

The other one skews the map, loops over the columns of the skewed map with `nn.Conv1d` for the state-to-state map,
collects the states in a list and leaves the derivative to autograd, one direction after the other. It has the same
parameters, and before anything is timed both must give the same nats and gradients. Prints the medians of steps
taken in turns, in milliseconds, and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from drawnet.models.pixelrnn import PixelRNN, PixelRNNConfig
from drawnet.models.pixelrnn_layer import LSTMLayer
from drawnet.nn.pixels import pixel_nats


def skew(x: Tensor) -> Tensor:
    """`[batch, feature, n, m]` to `[batch, feature, n, n + m - 1]`: row i shifted right by i."""
    height, width = x.shape[2:]
    padded = F.pad(x, (0, height))  # read with rows of one place less, every row begins one place later
    return padded.flatten(2)[:, :, : height * (width + height - 1)].unflatten(2, (height, -1))


def unskew(x: Tensor, width: int) -> Tensor:
    """The way back."""
    height = x.shape[2]
    padded = F.pad(x.flatten(2), (0, height))
    return padded.unflatten(2, (height, -1))[:, :, :, :width]


def direction(layer: LSTMLayer, number: int, gates: Tensor) -> Tensor:
    """Hidden states `[batch, h, height, width]` of one direction, a column of the skewed map after the other."""
    batch, _, height, width = gates.shape
    gates = skew(gates)
    weight = layer.state_to_state[number].unflatten(1, (2, -1)).transpose(1, 2)  # a kernel of size 2: above, beside
    h_0, c_0 = (state[number][None, :, None].expand(batch, -1, height) for state in layer.initial)
    row = torch.arange(height, device=gates.device)
    h, c, states = h_0, c_0, []
    for column in range(gates.shape[3]):
        # Rows whose left neighbour is outside the image have the initial state there.
        h, c = torch.where(row >= column, h_0, h), torch.where(row >= column, c_0, c)
        above = F.conv1d(torch.cat([h_0[:, :, :1], h], 2), weight)
        o, f, i, g = (gates[:, :, :, column] + above).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return unskew(torch.stack(states, 3), width)


def usual_layer(layer: LSTMLayer, x: Tensor) -> Tensor:
    """`LSTMLayer`, `[batch, feature, height, width]`."""
    left, right = layer.input_to_state(x).chunk(2, 1)
    hidden = direction(layer, 0, left)
    mirrored = direction(layer, 1, right.flip(3)).flip(3)
    return x + layer.up(hidden + F.pad(mirrored, (0, 0, 1, 0))[:, :, :-1])


def usual_nats(model: PixelRNN, x: Tensor) -> Tensor:
    """Mean -log p(x) over the batch."""
    maps = model.first(2 * x - 1)
    total = 0
    for layer, skip in zip(model.layers, model.skips, strict=True):
        maps = usual_layer(layer, maps)
        total = total + skip(maps)
    logits = model.head(total + maps).unflatten(1, (model.config.num_channels, -1))
    return pixel_nats(logits, x, model.config.num_levels).sum((1, 2, 3)).mean()


def step(model: PixelRNN, nats) -> float:
    """Milliseconds of a forward and a backward pass; the gradients stay in the model."""
    model.zero_grad()
    start = time.perf_counter()
    nats().backward()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Check, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = PixelRNN(PixelRNNConfig(layer="diagonal"))
    with torch.no_grad():
        for layer in model.layers:
            layer.initial.normal_()
    x = torch.rand(options.batch, 1, 28, 28).round()
    ways = {"usual PyTorch": lambda: usual_nats(model, x), "drawnet": lambda: model.nll(x).nats.mean()}

    nats, gradients = [], []
    for way in ways.values():  # also warms up
        step(model, way)
        nats.append(way().detach())
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(nats[0], nats[1])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * b.abs().max().item())

    times = {name: [] for name in ways}
    for _ in range(options.steps):
        for name, way in ways.items():
            times[name].append(step(model, way))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<14} {median:8.0f} ms per training step of {options.batch} images")
    print(f"ratio          {medians['usual PyTorch'] / medians['drawnet']:8.1f}")


if __name__ == "__main__":
    main()
