"""How long an update of each classifier of cluttered 100 x 100 images takes, and how long the making of its images.

    python benchmarks/classifiers.py [--steps 20] [--threads 1]

Medians of the processor time of all threads of this process: other jobs on the machine do not count, though they do
slow it down.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from drawnet.classifier_presets import CLASSIFIER_PRESETS
from drawnet.data.cluttered_mnist import load_cluttered_mnist
from drawnet.run import new_classifier
from drawnet.train import Training

UPDATES_LEFT_OUT = 3


def median_ms(work: Callable[[], object], count: int) -> float:
    """Processor milliseconds of `work`, the first calls left out."""
    times = []
    for _ in range(UPDATES_LEFT_OUT + count):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[UPDATES_LEFT_OUT:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, config in CLASSIFIER_PRESETS.items():
        if config.dataset == "cluttered-mnist-100":
            data = load_cluttered_mnist(config.dataset)
            training = Training(new_classifier(config, data), data.train, config.training)
            update, images = (median_ms(work, options.steps) for work in (training.step, training.stream.next))
            print(f"{name:<26} {update:6.1f} ms an update, {images:4.1f} of them the images", flush=True)


if __name__ == "__main__":
    main()
