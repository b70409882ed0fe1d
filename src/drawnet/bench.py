"""Speed of DRAW, measured side by side: one process an implementation, all asked in turn, round after round.

A machine's speed drifts. Numbers that were taken one after the other cannot be divided by each other; these can, for
every round has all implementations in it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import drawnet
from drawnet.models.draw import DrawConfig
from drawnet.presets import PRESETS

Work = Literal["train", "sample", "evaluate"]
Implementation = Literal["plain", "engine-float32", "engine-mixed", "jax", "products"]
Scan = Literal["steps", "batch", "side", "threads"]
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)

PACKAGES = Path(drawnet.__file__).parents[1]  # where `import drawnet` looks
JAX_SCRIPT = PACKAGES.parent / "benchmarks" / "jax_draw.py"
SETTLE_SECONDS = 0.02  # OpenMP's threads wait actively for some milliseconds after their work


def _network(preset: str) -> DrawConfig:
    model = PRESETS[preset]().model
    assert isinstance(model, DrawConfig)
    return model


# Table 3 of the paper, and its MNIST network without attention. The 100 x 100 row is a classifier, which has neither
# latents nor a writer: 100 latents and a writing grid of the reader's size are ours.
ROWS: dict[str, DrawConfig] = {
    **{preset: _network(preset) for preset in ("mnist", "mnist-no-attention", "svhn", "cifar10")},
    "cluttered-generative": DrawConfig(100, 100, 1, num_glimpses=8, read_size=12, write_size=12),
}
SCANS: dict[Scan, tuple[int, ...]] = {
    "steps": (8, 16, 32, 64, 128),
    "batch": (1, 4, 16, 64, 128, 256, 512),
    "side": (14, 28, 56, 112),
    "threads": (1, 2, 4, 8, 16, 32, 64),
}


@dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        preset: name of a row.
        work: "train" is `nll` and its gradient, without the optimiser; "evaluate" is `nll` without gradients; "sample"
            is all steps of `sample`.
        config: sizes of the network.
        batch_size: images at once, at least 1.
        threads: CPU threads, at least 1.

    Raises:
        ValueError: a number below 1; the message names the field.
    """

    preset: str
    work: Work
    config: DrawConfig
    batch_size: int = 100
    threads: int = 1

    def __post_init__(self) -> None:
        for field in ("batch_size", "threads"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 1")

    def scanned(self, scan: Scan, value: int) -> Case:
        """The same with another number of steps, batch size, side of the image in pixels, or number of threads.

        Raises:
            ValueError: `value` is below 1.
        """
        if scan == "batch":
            return dataclasses.replace(self, batch_size=value)
        if scan == "threads":
            return dataclasses.replace(self, threads=value)
        sizes = {"num_glimpses": value} if scan == "steps" else {"height": value, "width": value}
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **sizes))


@dataclass(frozen=True)
class Measurement:
    """What became of one implementation in one case.

    Attributes:
        implementation: its name.
        seconds: one step, once a round; empty where it failed.
        peak_mib: the most memory its process has held, the libraries it loaded included; None where it failed.
        error: None, or the last line that the failed process wrote.
    """

    implementation: str
    seconds: tuple[float, ...] = ()
    peak_mib: float | None = None
    error: str | None = None


class WorkerError(Exception):
    """A worker has ended or answers nonsense; the message is the last line that it wrote."""


class Worker:
    """A process that has built something to time, and waits. A context manager: leaving it ends the process.

    It writes `ready`, then answers every line it is asked: `run` with the seconds of one step, `peak` with MiB.

    Args:
        command: program and arguments.
        environment: variables added to this process's own.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        # A file, because a pipe that nobody reads fills and blocks.
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            cwd=PACKAGES,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):  # what could not be written to a dead process
                assert pipe is not None
                pipe.close()

    def ready(self) -> None:
        """Wait until it has warmed up.

        Raises:
            WorkerError: it has not.
        """
        if (line := self._line()) != "ready":
            raise WorkerError(f"expected 'ready', got {line!r}")

    def ask(self, question: str) -> float:
        """Its answer to a line.

        Raises:
            WorkerError: it gives no number.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `_line` says more
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
        line = self._line()
        try:
            return float(line)
        except ValueError:
            raise WorkerError(f"expected a number, got {line!r}") from None

    def _line(self) -> str:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return line.strip()
        code = self.process.wait()
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        if code < 0:
            raise WorkerError(f"killed by signal {-code}")
        raise WorkerError(lines[-1] if lines else f"ended with exit code {code}")


def measure(
    case: Case,
    implementations: Sequence[str],
    rounds: int,
    jax_python: str = sys.executable,
    on_round: Callable[[], None] = lambda: None,
) -> list[Measurement]:
    """Time the implementations in turn, so many rounds; the rest of them wait meanwhile.

    A failure of one is reported in its measurement, and the others go on.

    Args:
        case: what to time.
        implementations: some of `IMPLEMENTATIONS`.
        rounds: at least 1.
        jax_python: a Python executable that has JAX.
        on_round: called after every round.

    Raises:
        ValueError: `rounds` below 1.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}: it must be at least 1")
    seconds: dict[str, list[float]] = {name: [] for name in implementations}
    peaks: dict[str, float] = {}
    errors: dict[str, str] = {}
    # torch sets its own number of threads; this is for the libraries below it.
    environment = {"OMP_NUM_THREADS": str(case.threads), "MKL_NUM_THREADS": str(case.threads)}
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(_command(case, name, jax_python), environment))
            for name in implementations
        }

        def each(do: Callable[[str, Worker], None]) -> None:
            for name, worker in workers.items():
                if name not in errors:
                    try:
                        do(name, worker)
                    except WorkerError as error:
                        errors[name] = str(error)

        def run(name: str, worker: Worker) -> None:
            time.sleep(SETTLE_SECONDS)
            seconds[name].append(worker.ask("run"))

        each(lambda _, worker: worker.ready())
        for _ in range(rounds):
            each(run)
            on_round()
        each(lambda name, worker: peaks.update({name: worker.ask("peak")}))
    return [
        Measurement(name, error=errors[name])
        if name in errors
        else Measurement(name, tuple(seconds[name]), peaks[name])
        for name in implementations
    ]


def _command(case: Case, implementation: str, jax_python: str) -> list[str]:
    sizes = dataclasses.asdict(case.config)
    spec = json.dumps(
        {"work": case.work, "config": sizes, "batch_size": case.batch_size, "threads": case.threads}
        | {"implementation": implementation}
    )
    if implementation == "jax":
        return [jax_python, str(JAX_SCRIPT), spec]
    return [sys.executable, "-m", "drawnet.bench_worker", spec]


def does(implementation: str, work: str) -> bool:
    """Whether there is such a thing to time: without gradients the engine computes in float32 only."""
    return work == "train" or implementation != "engine-mixed"


def absent(jax_python: str) -> dict[str, str]:
    """The implementations that cannot be timed here, each with the reason."""
    reasons = {}
    if not _has_engine():
        reasons["engine-float32"] = reasons["engine-mixed"] = "the native engine is not built"
    if not JAX_SCRIPT.is_file():
        reasons["jax"] = "benchmarks/jax_draw.py is not beside the package"
    elif not has_jax(jax_python):
        reasons["jax"] = "JAX is not installed (--jax-python names a Python that has it)"
    return reasons


def has_jax(python: str) -> bool:
    """Whether a Python executable finds JAX.

    Raises:
        ValueError: it is not an executable.
    """
    if python == sys.executable:
        return importlib.util.find_spec("jax") is not None
    find = "import importlib.util, sys; sys.exit(importlib.util.find_spec('jax') is None)"
    if shutil.which(python) is None:
        raise ValueError(f"--jax-python is {python!r}: it must be a Python executable")
    return subprocess.run([python, "-c", find], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _has_engine() -> bool:
    return importlib.util.find_spec("drawnet.engine._native") is not None  # to load it is the workers' business


def result_rows(case: Case, measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """What `bench --json` prints of a case: medians over the rounds, failures left out.

    `ratio_to_plain` is how many times as fast as plain it is, None where plain was not timed.
    """
    medians = {m.implementation: 1000 * statistics.median(m.seconds) for m in measurements if m.error is None}
    return [
        {
            "preset": case.preset,
            "work": case.work,
            "implementation": m.implementation,
            "ms": (ms := medians[m.implementation]),
            "images_per_second": 1000 * case.batch_size / ms,
            "peak_mib": m.peak_mib,
            "ratio_to_plain": medians["plain"] / ms if "plain" in medians else None,
            "ms_min": 1000 * min(m.seconds),
            "ms_max": 1000 * max(m.seconds),
            "rounds": len(m.seconds),
            "batch_size": case.batch_size,
            "threads": case.threads,
            **dataclasses.asdict(case.config),
        }
        for m in measurements
        if m.error is None
    ]


def processor() -> str:
    """The processor's name, as far as it can be found out."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
