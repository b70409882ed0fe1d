"""`drawnet bench`."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from drawnet.cli.arguments import command_line, parse, use_threads
from drawnet.cli.progress import progress_bar

if TYPE_CHECKING:
    from drawnet.bench import Case

# The names of drawnet.bench, which is not imported before it is needed: `drawnet bench --help` answers at once.
Row = Literal["mnist", "mnist-no-attention", "svhn", "cifar10", "cluttered-generative"]
Work = Literal["train", "sample", "evaluate"]
Implementation = Literal["plain", "engine-float32", "engine-mixed", "jax", "products"]
SCANNED = {"steps": "num_glimpses", "batch": "batch_size", "side": "width", "threads": "threads"}
FILES = ("bench.json", "bench.txt", "bench.png")
BUSY_LOAD = 0.7  # processes that wanted to run, on average over the last minute
WORDS = {
    "train": "nll and its gradient (the optimiser is not in it)",
    "sample": "all steps of sample",
    "evaluate": "nll without gradients",
}


@dataclass(frozen=True)
class BenchOptions:
    """Speed of DRAW: implementations asked in turn, each in its own process, so that their ratios mean something.

    The implementations are plain PyTorch with autograd; the engine in float32 and with bfloat16 products; JAX (a
    jitted scan); and products, torch's bfloat16 products of the linear maps alone. What is not here is left out. All
    networks take about ten minutes on two cores.

    Attributes:
        rows: networks: those of the paper's Table 3 and MNIST without attention. The 100 x 100 row is a classifier:
            cluttered-generative is a DRAW with its sizes, 100 latents and a 12 x 12 writer. Default: all; mnist for
            a scan.
        work: train is nll and its gradient, without the optimiser; sample all steps of sample; evaluate nll without
            gradients. Default: all; a scan is of train alone.
        implementations: which to time. Default: all that are here.
        batch_size: images at once.
        rounds: times that each is asked; the medians count.
        threads: CPU threads; without it torch's choice.
        scan: instead, how the time of a training step grows with T, the batch, the image's side or the threads.
        values: of what is scanned.
        jax_python: a Python executable that has JAX, if not this one.
        out: folder for table, plot and JSON, made if missing.
        json: print bench.json instead of the table.
    """

    rows: tuple[Row, ...] = ()
    work: tuple[Work, ...] = ()
    implementations: tuple[Implementation, ...] = ()
    batch_size: int = 100
    rounds: int = 7
    threads: int | None = None
    scan: Literal["steps", "batch", "side", "threads"] | None = None
    values: tuple[int, ...] = ()
    jax_python: Path | None = None
    out: Path | None = None
    json: bool = False


def bench(arguments: list[str]) -> int:
    """Run `drawnet bench`: 1 where an implementation failed."""
    options = parse(BenchOptions, arguments, "drawnet bench")

    import torch

    from drawnet.bench import absent, does, has_jax, measure, processor, result_rows

    use_threads(options.threads)
    if options.rounds < 1:
        raise ValueError(f"--rounds is {options.rounds}: it must be at least 1")
    cases = _cases(options, torch.get_num_threads())
    jax_python = sys.executable
    if options.jax_python is not None:
        # Not resolved: the Python of a virtual environment is a link to one that has no JAX.
        jax_python = str(Path(shutil.which(options.jax_python) or options.jax_python).absolute())
        if not has_jax(jax_python):
            raise ValueError(f"--jax-python is {str(options.jax_python)!r}, which has no JAX")
    wanted = options.implementations or get_args(Implementation)
    left_out = {name: reason for name, reason in absent(jax_python).items() if name in wanted}
    present = [name for name in get_args(Implementation) if name in wanted and name not in left_out]
    plan = [(case, names) for case in cases if (names := [name for name in present if does(name, case.work)])]
    if not plan:
        reasons = dict.fromkeys(left_out.values()) or ["without gradients the engine computes in float32"]
        raise ValueError(f"none of {', '.join(wanted)} can be timed: {'; '.join(reasons)}")

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # before our own work
    rows, failed = [], []
    total, done = len(plan) * options.rounds, 0
    with progress_bar("bench") as progress:

        def on_round() -> None:
            nonlocal done
            done += 1
            progress(done, total)

        for case, names in plan:
            measurements = measure(case, names, options.rounds, jax_python, on_round)
            rows += result_rows(case, measurements)
            failed += [
                {"preset": case.preset, "work": case.work, "implementation": m.implementation, "error": m.error}
                for m in measurements
                if m.error is not None
            ]
    content = {
        "threads": torch.get_num_threads(),
        "rows": rows,
        "scan": options.scan,
        "failed": failed,
        "absent": left_out,
        "processor": processor(),
        "torch": torch.__version__,
        "load": load,
        "command": command_line("bench", *arguments),
    }
    table = table_text(content, width=200)
    written = _write(content, table, options.out) if options.out else []
    if options.json:
        print(json.dumps(content))
    else:
        print(table_text(content, width=shutil.get_terminal_size().columns) if sys.stdout.isatty() else table, end="")
        print(*written, sep="\n", end="\n" if written else "")
    return 1 if failed else 0


def _cases(options: BenchOptions, threads: int) -> list[Case]:
    from drawnet.bench import ROWS, SCANS, Case

    if options.batch_size < 1:
        raise ValueError(f"--batch-size is {options.batch_size}: it must be at least 1")
    if options.scan is None:
        if options.values:
            raise ValueError("--values is for a --scan: steps, batch, side or threads")
        return [
            Case(row, work, ROWS[row], options.batch_size, threads)
            for row in dict.fromkeys(options.rows or ROWS)
            for work in dict.fromkeys(options.work or get_args(Work))
        ]
    if set(options.work) - {"train"}:
        raise ValueError(f"--work is {' '.join(options.work)}: a scan is of train alone")
    values = options.values or SCANS[options.scan]
    if min(values) < 1:
        raise ValueError(f"--values has {min(values)}: they must be at least 1")
    if options.scan == "threads" and not options.values:
        values = sorted({*(value for value in values if value < threads), threads})
    return [
        Case(row, "train", ROWS[row], options.batch_size, threads).scanned(options.scan, value)
        for row in dict.fromkeys(options.rows or ("mnist",))
        for value in dict.fromkeys(values)
    ]


def _write(content: Mapping[str, Any], table: str, folder: Path) -> list[Path]:
    from drawnet.figures.speed import speed_bars, speed_curves
    from drawnet.files import replacing, write_json

    data, text, picture = (folder / name for name in FILES)
    write_json(data, content)
    with replacing(text) as temporary:
        temporary.write_text(table)
    if not content["rows"]:
        return [data, text]
    if content["scan"]:
        speed_curves(content["rows"], SCANNED[content["scan"]], picture)
    else:
        speed_bars(content["rows"], picture)
    return [data, text, picture]


def table_text(content: Mapping[str, Any], width: int) -> str:
    """The table of `bench --json`'s content, and under it what it means and what is missing.

    Args:
        content: what `bench --json` prints.
        width: of the lines, in characters.
    """
    from rich.console import Console
    from rich.table import Table

    rows, scan = content["rows"], content["scan"]
    columns = ["network", "work", *([scan] if scan else []), "implementation", "ms", "images/s", "x plain", "peak MiB"]
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in ("network", "work", "implementation") else "right")
    before: Sequence[Any] = ()
    for row in rows:
        case = [row["preset"], row["work"], *([str(row[SCANNED[scan]])] if scan else [])]
        if before and case != before:
            table.add_section()
        ratio = row["ratio_to_plain"]
        table.add_row(
            *(case if case != before else [""] * len(case)),
            row["implementation"],
            f"{row['ms']:,.1f}",
            f"{row['images_per_second']:,.0f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{row['peak_mib']:,.0f}",
        )
        before = case
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False)
    if rows:
        batch = "" if scan == "batch" else f", {rows[0]['batch_size']} images at once"
        threads = "" if scan == "threads" else f", {content['threads']} threads"
        console.print(f"{content['processor']}{threads}{batch}, torch {content['torch']}", markup=False)
        console.print(table)
        works = dict.fromkeys(row["work"] for row in rows)
        meaning = "; ".join(f"{work}: {WORDS[work]}" for work in works)
        console.print(f"Medians of {rows[0]['rounds']} rounds. x plain: times as fast as plain. {meaning}.")
        if any(row["implementation"] == "products" for row in rows):
            console.print(
                "products: the linear maps' matrix products alone, in bfloat16, as torch computes them; not a bound."
            )
    if content["load"] is not None and content["load"] > BUSY_LOAD:
        console.print(f"The machine was busy before this began (load {content['load']:.1f}): the numbers may be off.")
    for row in content["failed"]:
        error = f"failed: {row['preset']}, {row['work']}, {row['implementation']}: {row['error']}"
        console.print(error, markup=False, soft_wrap=True)
    if content["absent"]:
        reasons: dict[str, list[str]] = {}
        for name, reason in content["absent"].items():
            reasons.setdefault(reason, []).append(name)
        text = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
        console.print(f"left out: {text}", markup=False, soft_wrap=True)
    return buffer.getvalue()
