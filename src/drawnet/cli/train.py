"""`drawnet train`."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, Progress, TextColumn

from drawnet.checkpoint import find_checkpoint, newest_checkpoint
from drawnet.cli.arguments import check_device, command_line, parse, use_threads
from drawnet.cli.complete import hidden_pixels, write_completions
from drawnet.cli.evaluate import print_report
from drawnet.cli.pictures import some_test_images, write_reconstruction, write_samples
from drawnet.cli.progress import Every, console, duration, progress_bar
from drawnet.data import Dataset, load_dataset
from drawnet.data.labelled import LabelledDataset
from drawnet.evaluate import Evaluation
from drawnet.figures.curves import kl_per_step, read_metrics, training_curves
from drawnet.files import write_json
from drawnet.models.registry import ClassifierConfig, LatentModel
from drawnet.presets import PRESETS, RunConfig, for_images, own_images
from drawnet.report import CAVEAT, pixel_kind, report
from drawnet.run import ValidationRecord, run
from drawnet.train import StepRecord

NUM_PICTURES = 64
SECONDS_BETWEEN_LINES = 30.0  # where there is no terminal to redraw


@dataclass(frozen=True)
class TrainOptions:
    """Train, then report the nats of the test images and draw pictures, all in the run folder.

    Attributes:
        config: the run; its fields are flags of their own.
        run_dir: where everything goes; runs/PRESET if not given.
        resume: go on from the newest checkpoint in the run folder; epochs or minutes may be others than before.
        threads: CPU threads.
        device: cpu, cuda, ...
        compile: torch.compile the gradient of plain PyTorch; for GPUs.
        tensorboard: write TensorBoard event files too.
    """

    config: RunConfig
    run_dir: Path
    resume: bool = False
    threads: int | None = None
    device: str = "cpu"
    compile: bool = False
    tensorboard: bool = False


Plan = TypeVar("Plan", bound=TrainOptions)


@dataclass(frozen=True)
class Wording:
    """How progress reads.

    Attributes:
        step: what a minibatch scored.
        score: what a validation did.
        note: said once, at the beginning.
    """

    step: Callable[[StepRecord], str]
    score: Callable[[Any], str]
    note: str | None = None


def train(arguments: list[str]) -> int:
    """Run `drawnet train`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    preset, *flags = arguments
    if preset.startswith("-"):
        raise ValueError(f"the first word after train is a preset or images, not {preset}; drawnet train --help")
    options, dataset = _options(preset, flags)
    use_threads(options.threads)
    device = check_device(options.device)
    dataset = dataset or load_dataset(options.config.dataset, options.config.images)
    assert not isinstance(options.config.model, ClassifierConfig)
    note = f"nats are {CAVEAT}" if pixel_kind(options.config.model, dataset) == "intensities" else None
    if not train_to_the_end(options, dataset, device, Wording(_step_nats, _score_nats, note)):
        console.print(f"stopped; go on with: drawnet train {preset} --run-dir {options.run_dir} --resume")
        return 130
    _finish(options.run_dir, dataset, device, command_line("train", *arguments))
    return 0


def _usage() -> str:
    width = max(map(len, PRESETS))
    presets = [f"  {name:<{width}}  {(make.__doc__ or '').splitlines()[0]}" for name, make in PRESETS.items()]
    return "\n".join(
        [
            "usage: drawnet train PRESET [OPTIONS]      (drawnet train PRESET --help lists them)",
            "",
            "PRESET is one of",
            *presets,
            "or images of your own: folder:PATH, PATH.npy, PATH.npz",
        ]
    )


def _options(preset: str, flags: list[str]) -> tuple[TrainOptions, Dataset | None]:
    """The flags over the settings that they change: those of a preset, of the run resumed, or for own images."""
    dataset = None
    if preset in PRESETS:
        config = PRESETS[preset]()
    elif preset.startswith("folder:") or preset.endswith((".npy", ".npz")) or Path(preset).is_dir():
        config = own_images(preset, RunConfig().images, (1, 28, 28))  # its shape is not known before the flags are
    else:
        raise ValueError(
            f"no preset {preset!r}: there are {', '.join(PRESETS)}, or your own folder:PATH, PATH.npy, PATH.npz"
        )
    default = TrainOptions(config, Path("runs") / preset.removeprefix("folder:").strip("./").replace("/", "-"))
    options = parse_plan(TrainOptions, flags, f"drawnet train {preset}", default)
    checkpoint = newest_checkpoint(options.run_dir) if options.resume else None
    if checkpoint is not None:
        checkpoint.check_kind(classifier=False)
        config = checkpoint.config
    elif preset not in PRESETS:
        dataset = load_dataset(preset, options.config.images)
        config = own_images(preset, options.config.images, dataset.image_shape)
    elif (name := options.config.dataset) != config.dataset:
        dataset = load_dataset(name, options.config.images)
        config = dataclasses.replace(for_images(options.config, dataset), dataset=name)
    else:
        return options, None
    default = dataclasses.replace(default, config=config)
    return parse_plan(TrainOptions, flags, f"drawnet train {preset}", default), dataset


def parse_plan(cls: type[Plan], flags: list[str], prog: str, default: Plan) -> Plan:
    """The flags over a default; a plan in the flags takes the place of the default's.

    Args:
        cls: `TrainOptions`, or a class of its own with the same fields.
        flags: what the person wrote.
        prog: the command so far, for the messages.
        default: an instance to start from.

    Raises:
        ValueError: a flag is unknown or has a bad value.
    """
    given = {flag.split("=")[0] for flag in flags}
    for plan, other in (("epochs", "minutes"), ("minutes", "epochs")):
        if f"--{plan}" in given and getattr(default.config.training, plan) is None:
            training = dataclasses.replace(default.config.training, **{plan: 1.0, other: None})
            default = dataclasses.replace(default, config=dataclasses.replace(default.config, training=training))
            break
    return parse(cls, flags, prog, default)


def train_to_the_end(options: TrainOptions, dataset: Dataset | LabelledDataset, device: str, wording: Wording) -> bool:
    """Train with progress on the terminal; whether the plan was finished.

    Args:
        options: what to train, into which folder.
        dataset: the images.
        device: where to train.
        wording: of the progress.

    Raises:
        ValueError: see `run`.
        OSError: see `run`.
    """
    events = run(
        options.config,
        dataset,
        options.run_dir,
        resume=options.resume,
        device=device,
        compile=options.compile,
        tensorboard=options.tensorboard,
    )
    console.print(f"training on {dataset.name}, into {options.run_dir}; Ctrl-C stops with a checkpoint")
    with closing(events), _stop_requests() as stop_requested, _display(wording) as show:
        for number, event in enumerate(events):
            if number == 0 and wording.note:  # a run that is refused has only its error to show
                console.print(wording.note)
            show(event)
            if stop_requested():
                return isinstance(event, StepRecord) and event.progress == 1
    return True


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a question the loop asks between updates; a second Ctrl-C stops at once."""
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        console.print("stopping after this update")

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def _display(wording: Wording) -> Iterator[Callable[[StepRecord | ValidationRecord], None]]:
    """Gives the function that shows an event: a live line on a terminal, now and then a line elsewhere."""
    columns = (BarColumn(bar_width=20), TextColumn("{task.description}"))
    line_is_due = Every(SECONDS_BETWEEN_LINES)
    # Ten times a second, which is rich's default, would take 1 % of a core from the training.
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        task = progress.add_task("", total=1.0)

        def show(event: StepRecord | ValidationRecord) -> None:
            if isinstance(event, ValidationRecord):
                console.print(
                    f"{duration(event.seconds):>12}  update {event.update:>6}  validation "
                    f"{wording.score(event.evaluation)}"
                )
            elif console.is_terminal:
                progress.update(task, completed=event.progress, description=_step_line(event, wording))
            elif line_is_due():
                console.print(_step_line(event, wording))

        yield show


def _step_line(step: StepRecord, wording: Wording) -> str:
    left = step.seconds * (1 - step.progress) / step.progress if step.progress else 0.0
    skipped = f"  {step.num_skipped} skipped" if step.num_skipped else ""
    return (
        f"update {step.update}  {wording.step(step)}  "
        f"{step.images_per_second:.0f} images/s  {duration(left)} left{skipped}"
    )


def _step_nats(step: StepRecord) -> str:
    return f"{step.nats:.1f} nats ({_parts(step.parts)})"


def _score_nats(score: Evaluation) -> str:
    nats = f"{score.nats.mean:.2f} ± {score.nats.standard_error:.2f} nats"
    return f"{nats} ({_parts(score.parts)}; {score.num_images} images)"


def _parts(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in parts.items())


def _finish(run_dir: Path, dataset: Dataset, device: str, command: str) -> None:
    """Report the test bound and draw everything that the run folder is to hold."""
    checkpoint = find_checkpoint(str(run_dir))
    with progress_bar("evaluating on the test images") as progress:
        result = report(
            checkpoint, dataset, "test", model_name=run_dir.name, command=command, device=device, progress=progress
        )
    write_json(run_dir / "report.json", result)
    pictures = run_dir / "pictures"
    model = checkpoint.load_model().to(device)
    seed = checkpoint.config.training.seed
    write_samples(model, dataset, pictures, NUM_PICTURES, seed)
    num_shown = min(4, len(dataset.test))
    if isinstance(model, LatentModel):
        write_reconstruction(model, dataset, pictures, num_shown, seed)
    x = some_test_images(dataset, num_shown, seed)
    write_completions(model, x, ~hidden_pixels("bottom", model), pictures, 6, seed)
    training_curves(read_metrics(run_dir / "metrics.jsonl"), pictures / "curves.png")
    if result["kl_per_step"] is not None:
        kl_per_step(result, pictures / "kl_per_step.png")
    print_report(result)
    print(f"report: {run_dir / 'report.json'}\npictures: {pictures}")
