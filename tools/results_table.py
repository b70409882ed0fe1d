"""Write the table of every experiment of the DRAW paper into results/README.md, from the reports beside it.

    python tools/results_table.py [FOLDER]

FOLDER is `results` unless given. Every experiment has a row for each of its runs there (`FOLDER/RUN/report.json`), and
an empty one if there are none. The table stands between two markers in `FOLDER/README.md`; nothing else is touched.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drawnet.files import replacing

BEGIN = "<!-- table of every experiment: written by tools/results_table.py -->"
END = "<!-- end of the table of every experiment -->"
COLUMNS = (
    "experiment", "paper", "here", "estimator", "standard error", "updates", "hours", "threads", "command",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A number of the paper, and the runs here that it may stand beside.

    Attributes:
        name: what it is.
        runs: folders of its runs, whether they are there or not.
        paper: the paper's number with its unit (Tables 1 and 2, section 4.4); empty where it has none.
        dataset: what the paper's number is of, by its name here; it is not comparable with a run on other data.
    """

    name: str
    runs: tuple[str, ...]
    paper: str
    dataset: str


_CLUTTERED = "cluttered-mnist-100"
EXPERIMENTS = (
    Experiment(
        "100 x 100 cluttered MNIST, Differentiable RAM, 8 glimpses",
        ("cluttered-100-glimpses-8",),
        "3.36 %",
        _CLUTTERED,
    ),
    Experiment(
        "100 x 100 cluttered MNIST, Differentiable RAM, 4 glimpses",
        ("cluttered-100-glimpses-4",),
        "4.18 %",
        _CLUTTERED,
    ),
    Experiment("100 x 100 cluttered MNIST, RAM, 8 glimpses", ("cluttered-100-ram-8",), "8.11 %", _CLUTTERED),
    Experiment("100 x 100 cluttered MNIST, RAM, 4 glimpses", ("cluttered-100-ram-4",), "9.41 %", _CLUTTERED),
    Experiment("100 x 100 cluttered MNIST, convolutional", ("cluttered-100-conv",), "14.35 %", _CLUTTERED),
    Experiment("MNIST, DRAW", ("mnist-binarized", "mnist"), "80.97 nats", "binarized-mnist"),
    Experiment(
        "MNIST, DRAW without attention",
        ("mnist-no-attention-binarized", "mnist-no-attention"),
        "87.40 nats",
        "binarized-mnist",
    ),
    Experiment("two digits", ("mnist-two-digits",), "", "mnist-two-digits"),
    Experiment("SVHN", ("svhn",), "5,060 to 5,220 nats", "svhn"),
    Experiment("SVHN, single digits", ("svhn-digits",), "", "svhn-digits"),
    Experiment("CIFAR-10", ("cifar10",), "", "cifar10"),
)


def table(folder: Path) -> str:
    """The table of all experiments, as Markdown.

    Args:
        folder: holds the runs' folders.

    Raises:
        ValueError: a report without a key that is needed; the message names the file and the key.
    """
    rows = [row for experiment in EXPERIMENTS for row in _rows(experiment, folder)]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(text: str, folder: Path) -> str:
    """The README with its table made anew.

    Raises:
        ValueError: the markers are not there once each, in order; and see `table`.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{folder / 'README.md'}: the table stands between one {BEGIN!r} and one {END!r}")
    return f"{before}{BEGIN}\n\n{table(folder)}\n\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Write the table."""
    folder = Path(arguments[0] if arguments else "results")
    path = folder / "README.md"
    text = written(path.read_text(), folder)
    with replacing(path) as temporary:
        temporary.write_text(text)


def _rows(experiment: Experiment, folder: Path) -> list[tuple[str, ...]]:
    found = [name for name in experiment.runs if (folder / name / "report.json").is_file()]
    if not found:
        return [(experiment.name, experiment.paper, *[""] * (len(COLUMNS) - 2))]
    return [_row(experiment, name, folder / name / "report.json") for name in found]


def _row(experiment: Experiment, run: str, path: Path) -> tuple[str, ...]:
    report: dict[str, Any] = json.loads(path.read_text())
    try:
        here, error, estimator = _number(report)
        comparable = report["dataset"] == experiment.dataset
        return (
            f"[{experiment.name}]({run})",
            experiment.paper if comparable or not experiment.paper else f"{experiment.paper}, not comparable",
            here,
            estimator,
            error,
            f"{report['updates']:,}",
            f"{report['train_seconds'] / 3600:.2f}",
            str(report["threads"]),
            f"`{report['command']}`",
        )
    except KeyError as missing:
        raise ValueError(f"{path} has no {missing}") from None


def _number(report: dict[str, Any]) -> tuple[str, str, str]:
    """What a report says: the number with its unit, its standard error, and how and on what it was estimated."""
    binarization = f", {report['binarization']} pixels" if report.get("binarization") else ""
    where = f"{report['num_images']:,} {report['split']} images of {report['dataset']}{binarization}"
    if "error" in report:
        error = report["error"]
        return f"{100 * error['mean']:.2f} %", f"{100 * error['standard_error']:.2f}", f"test error, {where}"
    nats = report["nats"]
    what = "-log p(x)" if report["exact"] else "upper bound, one sample of z"
    caveat = f"; {report['caveat']}" if report.get("caveat") else ""
    return f"{nats['mean']:,.2f} nats", f"{nats['standard_error']:.2f}", f"{what}, {where}{caveat}"


if __name__ == "__main__":
    main(sys.argv[1:])
