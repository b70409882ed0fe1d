"""Training curves of runs that differ in the engine only: is the fast one as good?

    drawnet train mnist --dataset binarized-mnist --epochs 6 --engine plain --run-dir runs/engines/plain
    drawnet train mnist --dataset binarized-mnist --epochs 6 --engine mixed --run-dir runs/engines/mixed
    python benchmarks/engines.py runs/engines/plain runs/engines/mixed --out docs/engines.png

Prints the validation nats side by side and draws them. The first run is the one that the others are compared with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from drawnet.figures.curves import read_metrics, validation_curves


def main() -> None:
    """Read, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("engines.png"))
    options = parser.parse_args()
    runs = {run.name: read_metrics(run / "metrics.jsonl") for run in options.runs}
    nats = {
        name: {r["update"]: r["nats"] for r in metrics if r["kind"] == "validation"} for name, metrics in runs.items()
    }
    first, *others = nats
    print(
        "update  " + "  ".join(f"{name:>15}" for name in nats) + "".join(f"  {o + ' - ' + first:>18}" for o in others)
    )
    for update in nats[first]:
        if all(update in values for values in nats.values()):
            scores = {name: values[update] for name, values in nats.items()}
            cells = [f"{s['mean']:>7.2f} \u00b1 {s['standard_error']:.2f}" for s in scores.values()]
            differences = [f"{scores[o]['mean'] - scores[first]['mean']:>+18.2f}" for o in others]
            print(
                f"{update:>6}  " + "  ".join(f"{cell:>15}" for cell in cells) + "".join(f"  {d}" for d in differences)
            )
    validation_curves(runs, options.out)


if __name__ == "__main__":
    main()
