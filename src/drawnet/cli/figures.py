"""`drawnet figures`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drawnet.cli.arguments import check_device, command_line, parse, use_threads


@dataclass(frozen=True)
class FiguresOptions:
    """Make the DRAW paper's figures from the weights that come with drawnet and the data that is there, one line each:
    where it was made, or for want of what it was skipped.

    Attributes:
        out: folder for the files, made if missing.
        runs: folder of one's own runs; where weights do not come with drawnet, the run folder of their name there
            stands in.
        only: which: 1, 3 to 12, or video; without it all. Figure 2 is a diagram.
        seed: of everything drawn; the same seed gives the same files.
        with_neighbours: show images of SVHN and CIFAR-10, too, whose terms do not say that they may be published.
        threads: CPU threads.
        device: cpu, cuda, ...
    """

    out: Path = Path("docs/figures")
    runs: Path | None = None
    only: tuple[str, ...] = ()
    seed: int = 0
    with_neighbours: bool = False
    threads: int | None = None
    device: str = "cpu"


def figures(arguments: list[str]) -> int:
    """Run `drawnet figures`."""
    options = parse(FiguresOptions, arguments, "drawnet figures")

    from drawnet.cli.figure_desk import Desk, SkippedError
    from drawnet.cli.paper_figures import FIGURES

    for name in options.only:
        if name not in FIGURES:
            raise ValueError(f"--only is {name!r}: the figures are {', '.join(FIGURES)}")
    if options.runs is not None and not options.runs.is_dir():
        raise ValueError(f"--runs is {str(options.runs)!r}: there is no such folder")
    use_threads(options.threads)
    desk = Desk(
        options.out,
        options.runs,
        options.seed,
        check_device(options.device),
        options.with_neighbours,
        command_line("figures", *arguments),
    )
    for name, make in FIGURES.items():
        if options.only and name not in options.only:
            continue
        title = name if name == "video" else f"figure {name}"
        try:
            made = make(desk)
        except SkippedError as reason:
            print(f"{title}: skipped, {reason}", flush=True)
        else:
            print(f"{title}: {', '.join(map(str, made.paths))} ({made.note})", flush=True)
    return 0
