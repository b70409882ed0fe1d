"""One implementation of DRAW to time, in its own process: `python -m drawnet.bench_worker SPEC`.

SPEC is a JSON object: implementation, work, config (the fields of `DrawConfig`), batch_size, threads. The process
writes `ready` once it has warmed up, then answers every line on its standard input: `run` with the seconds of one
step, `peak` with the most memory it has held, in MiB. It ends with its input, and sleeps while it waits.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from drawnet.engine import Choice, native
from drawnet.models.draw import Draw, DrawConfig

NUM_WARM_UP_STEPS = 2
ENGINES: dict[str, Choice] = {"plain": "plain", "engine-float32": "float32", "engine-mixed": "mixed"}


def main() -> None:
    """Build, warm up, answer."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not an answer
    spec = json.loads(sys.argv[1])
    torch.set_num_threads(spec["threads"])
    config = DrawConfig(**spec["config"])
    if spec["implementation"] == "products":
        step = products_step(config, spec["work"], spec["batch_size"])
    else:
        step = draw_step(config, spec["work"], spec["batch_size"], ENGINES[spec["implementation"]])
    for _ in range(NUM_WARM_UP_STEPS):
        step()
    print("ready", file=answers)
    for line in sys.stdin:
        print(peak_mib() if line.strip() == "peak" else timed(step), file=answers)


def timed(step: Callable[[], object]) -> float:
    """Seconds of a step that follows another: the first one fills the caches that other processes have emptied."""
    step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak_mib() -> float:
    """The most memory that this process has held.

    Not `ru_maxrss` where it can be avoided: on Linux that starts at the size of the process which started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024  # KiB
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def draw_step(config: DrawConfig, work: str, batch_size: int, engine: Choice) -> Callable[[], object]:
    """A function that does the work once with a `Draw`.

    Args:
        config: its sizes.
        work: train, sample or evaluate.
        batch_size: images at once.
        engine: what `Draw.engine` is set to.

    Raises:
        RuntimeError: that engine is not there.
    """
    if engine != "plain" and native() is None:
        raise RuntimeError("the native engine cannot be loaded")  # plain would be timed under its name
    torch.manual_seed(0)  # torch's layers draw their starting weights from the global generator
    generator = torch.Generator().manual_seed(0)
    model = Draw(config)
    model.engine = engine
    x = torch.rand(batch_size, config.num_channels, config.height, config.width, generator=generator).round()

    def train() -> None:
        model.zero_grad(set_to_none=True)
        model.nll(x, generator=generator).nats.mean().backward()

    def sample() -> None:
        for _ in model.sample(batch_size, generator=generator):
            pass

    @torch.no_grad()
    def evaluate() -> Tensor:
        return model.nll(x, generator=generator).nats

    return {"train": train, "sample": sample, "evaluate": evaluate}[work]


def linear_maps(config: DrawConfig, work: str) -> list[tuple[int, int]]:
    """(inputs, outputs) of the linear maps of one time step; sampling has the decoder's half only.

    Both maps of an LSTM are one product of [input, state], mu and log sigma another, the writer and its window the
    last one. The reader's window has the same input, h_dec, so it goes with the writer's: step t computes that of
    step t + 1.
    """
    hidden, latent, num_channels = config.hidden_size, config.latent_size, config.num_channels
    num_values = num_channels * config.height * config.width
    reads, writes = work != "sample", config.write_size is not None
    glimpse = 2 * (num_values if config.read_size is None else num_channels * config.read_size**2)
    written = num_channels * config.write_size**2 + 5 if config.write_size is not None else num_values
    window = 5 if reads and config.read_size is not None else 0
    assert writes or written == num_values
    encoder = [(glimpse + 2 * hidden, 4 * hidden), (hidden, 2 * latent)]
    decoder = [(latent + hidden, 4 * hidden), (hidden, written + window)]
    return encoder + decoder if reads else decoder


def products_step(config: DrawConfig, work: str, batch_size: int) -> Callable[[], object]:
    """A function that does the matrix products of the work's linear maps in bfloat16, and nothing else.

    Outputs and gradients with respect to the input at every time step; the gradient of a weight in one product over
    all steps. The products with the attention's filters are not among them. It is a yardstick and not a bound: these
    are torch's products, and without attention that of the image, equal at every step, is computed at every step.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).bfloat16()

    num_steps = config.num_glimpses
    maps = [  # inputs and output gradients of all steps, the weight and its transpose
        (normal(num_steps, batch_size, m), normal(num_steps, batch_size, n), weight := normal(n, m), weight.T)
        for m, n in linear_maps(config, work)
    ]

    @torch.no_grad()
    def step() -> None:
        for t in range(num_steps):
            for x, _, weight, _ in maps:
                F.linear(x[t], weight)
        if work != "train":
            return
        for t in range(num_steps):
            for _, gradient, _, transposed in maps:
                F.linear(gradient[t], transposed)
        for x, gradient, _, _ in maps:
            F.linear(gradient.flatten(0, 1).T, x.flatten(0, 1).T)

    return step


if __name__ == "__main__":
    main()
