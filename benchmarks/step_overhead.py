"""What a training step costs besides the loss and its gradient, on the `mnist` preset: 963,323 weights, 100 images.

    python benchmarks/step_overhead.py [--steps 200] [--step-ms 115] [--threads 1]

`Training.step` itself runs, with gradients that are given instead of computed; in their place 64 MiB are written, so
that the caches are as cold as a real step leaves them. Prints medians and their shares of a step of `--step-ms`;
then a checkpoint, written to the working directory's disk, as a share of the time between two.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from drawnet.checkpoint import Trained, save_checkpoint
from drawnet.data import load_dataset
from drawnet.presets import mnist
from drawnet.run import SECONDS_BETWEEN_CHECKPOINTS, UPDATES_BETWEEN_METRICS, _Metrics, new_model
from drawnet.train import StepRecord, Training

UPDATES_LEFT_OUT = 20  # the first ones warm up


class Given:
    """Stands for the loss: its backward hands out gradients made beforehand."""

    def __init__(self, training: Training) -> None:
        self.gradients = [torch.randn_like(p).div_(1000) for p in training.parameters.values()]  # below the clip norm
        self.parameters = list(training.parameters.values())
        self.others = torch.empty(64 * 2**20, dtype=torch.uint8)

    def backward(self) -> None:
        """Cool the caches, then set the gradients."""
        self.others.fill_(1)
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient


class Stopwatch:
    """Milliseconds spent in functions, a list for each name."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = defaultdict(list)

    def on(self, name: str, function: Callable) -> Callable:
        """The function, timed."""

        def timed(*args: object) -> object:
            start = time.perf_counter()
            result = function(*args)
            self.ms[name].append(1000 * (time.perf_counter() - start))
            return result

        return timed

    def median(self, name: str) -> float:
        """Of the calls after the first ones."""
        return statistics.median(self.ms[name][UPDATES_LEFT_OUT:])


def measure(training: Training, num_steps: int) -> tuple[dict[str, float], StepRecord]:
    """Median milliseconds of the parts of `Training.step`, and the last record."""
    watch, given = Stopwatch(), Given(training)
    parts = {"reconstruction": torch.rand(100), "kl": torch.rand(100, 64)}
    given.backward = watch.on("given", given.backward)

    def loss(x: Tensor) -> tuple[Any, dict[str, float]]:
        return given, {name: part.sum().item() / len(x) for name, part in parts.items()}

    training._loss = loss
    training.stream.next = watch.on("images and their pixels", training.stream.next)
    training._clip_gradient = watch.on("norm and clipping", training._clip_gradient)
    training.optimizer.step = watch.on("optimiser", training.optimizer.step)
    training._apply = watch.on("apply", training._apply)
    step = watch.on("step", training.step)
    records = [step() for _ in range(UPDATES_LEFT_OUT + num_steps)]
    ms = {name: watch.median(name) for name in ("images and their pixels", "norm and clipping", "optimiser")}
    ms["average of the weights"] = watch.median("apply") - ms["optimiser"]
    rest = watch.median("step") - watch.median("given") - sum(ms.values())
    return {**ms, "nats, record and the rest": rest}, records[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--step-ms", type=float, default=115, help="of a whole step, for the shares")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, data = mnist(), load_dataset("mnist")
    training = Training(new_model(config, data), data.train, config.training)
    ms, record = measure(training, options.steps)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        watch, metrics = Stopwatch(), _Metrics(Path(folder), 0, tensorboard=False)
        write, save = watch.on("metrics", metrics.write), watch.on("checkpoint", save_checkpoint)
        for update in range(UPDATES_LEFT_OUT + 10):
            write("train", dataclasses.asdict(record))
            trained = Trained(update, 0.0, options.threads)
            save(Path(folder), training.averaged_model, training.state_dict(), config, trained)
        ms[f"metrics, a line in {UPDATES_BETWEEN_METRICS} updates"] = watch.median("metrics") / UPDATES_BETWEEN_METRICS
        checkpoint = watch.median("checkpoint")
    for name, value in {**ms, "together": sum(ms.values())}.items():
        print(f"{name:<36} {value:7.3f} ms {100 * value / options.step_ms:6.2f} %")
    share = checkpoint / (10 * SECONDS_BETWEEN_CHECKPOINTS)
    print(f"{'a checkpoint':<36} {checkpoint:7.1f} ms {share:6.3f} % of {SECONDS_BETWEEN_CHECKPOINTS:.0f} s")


if __name__ == "__main__":
    main()
