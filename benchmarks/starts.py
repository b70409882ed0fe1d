"""What the starting values are worth: the paper's MNIST network from four starts, the same images and noise for each.

    python benchmarks/starts.py [--updates 200] [--threads 1]

Prints the training bound, averaged over the last quarter of the updates, in nats per image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from drawnet.data import load_dataset
from drawnet.models.draw import FORGET_BIAS, Draw
from drawnet.presets import mnist
from drawnet.run import new_model
from drawnet.train import Training


def zero_attention(model: Draw) -> None:
    """All five attention parameters of both windows start at zero: sigma = gamma = 1."""
    for attention in (model.read_attention, model.write_attention):
        attention.linear.bias.zero_()


def zero_gamma(model: Draw) -> None:
    """Sigma at half the stride, gamma at 1."""
    for attention in (model.read_attention, model.write_attention):
        attention.linear.bias[4] = 0


def no_forget_bias(model: Draw) -> None:
    """torch's own start of the LSTM."""
    for lstm in (model.encoder, model.decoder):
        lstm.bias_hh[model.config.hidden_size : 2 * model.config.hidden_size] -= FORGET_BIAS


STARTS: dict[str, tuple[Callable[[Draw], None], ...]] = {
    "all five attention parameters zero": (zero_attention, no_forget_bias),
    "sigma at half the stride": (zero_gamma, no_forget_bias),
    "and gamma at e (read), e^-2 (write)": (no_forget_bias,),
    "and forget gates + 1 (drawnet's start)": (),
}


def main() -> None:
    """Train a little from every start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = load_dataset("mnist")
    config = mnist().training
    for name, changes in STARTS.items():
        model = new_model(mnist(), data)
        with torch.no_grad():
            for change in changes:
                change(model)
        training = Training(model, data.train, config)
        nats = [training.step().nats for _ in range(options.updates)]
        last = nats[-max(1, options.updates // 4) :]
        print(f"{name:<40} {sum(last) / len(last):7.1f} nats after {options.updates} updates", flush=True)


if __name__ == "__main__":
    main()
