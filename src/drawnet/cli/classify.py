"""`drawnet classify`: train, evaluate and show the classifiers of section 4.1."""

from __future__ import annotations

import difflib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drawnet.cli.arguments import Model, check_device, command_line, parse, use_threads
from drawnet.cli.progress import console, progress_bar

if TYPE_CHECKING:
    from drawnet.data.labelled import LabelledDataset
    from drawnet.models.registry import Classifier

# verb: (module in this package, what it does)
VERBS = {
    "train": ("classify_train", "train a preset, then report the error on the test images"),
    "evaluate": ("classify", "error and cross-entropy over a whole split, with their standard errors"),
    "show": ("classify", "where a model looks before it decides: the paper's figure 5"),
}


@dataclass(frozen=True)
class EvaluateOptions:
    """The share of images that a classifier gets wrong, with its standard error, and the cross-entropy in nats.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        split: which part of the data set that it was trained on; both are fixed images.
        num_images: only so many images, evenly spread over the split.
        threads: CPU threads.
        device: cpu, cuda, ...
        json: print one JSON object instead of a table.
    """

    model: Model
    split: Literal["validation", "test"] = "test"
    num_images: int | None = None
    threads: int | None = None
    device: str = "cpu"
    json: bool = False


@dataclass(frozen=True)
class ShowOptions:
    """Test images with the windows of every glimpse, and what the model took them for: glimpses.png.

    Attributes:
        model: run folder, checkpoint folder or the name of shipped weights.
        count: how many images, evenly spread over the test split.
        out: folder for the picture, made if missing.
        threads: CPU threads.
        device: cpu, cuda, ...
    """

    model: Model
    count: int = 6
    out: Path = Path("pictures")
    threads: int | None = None
    device: str = "cpu"


def classify(arguments: list[str]) -> int:
    """Run `drawnet classify`."""
    verb, *rest = arguments or ["--help"]
    if verb in ("-h", "--help"):
        verbs = [f"  {name:<10} {what}" for name, (_, what) in VERBS.items()]
        print(
            "\n".join(
                ["usage: drawnet classify VERB ...      (drawnet classify VERB --help tells the rest)", "", *verbs]
            )
        )
        return 0
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"no verb {verb!r} of classify: there are {', '.join(VERBS)}{hint}")
    module = importlib.import_module(f"drawnet.cli.{VERBS[verb][0]}")
    return getattr(module, verb)(rest)


def evaluate(arguments: list[str]) -> int:
    """Run `drawnet classify evaluate`."""
    options = parse(EvaluateOptions, arguments, "drawnet classify evaluate")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.classify import classifier_report
    from drawnet.data.cluttered_mnist import load_cluttered_mnist

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model, classifier=True)
    with progress_bar("evaluating") as progress:
        result = classifier_report(
            checkpoint,
            load_cluttered_mnist(checkpoint.config.dataset),
            options.split,
            model_name=options.model,
            command=command_line("classify", "evaluate", *arguments),
            num_images=options.num_images,
            device=check_device(options.device),
            progress=progress,
        )
    if options.json:
        print(json.dumps(result))
    else:
        print_report(result)
    return 0


def show(arguments: list[str]) -> int:
    """Run `drawnet classify show`."""
    options = parse(ShowOptions, arguments, "drawnet classify show")

    from drawnet.checkpoint import find_checkpoint
    from drawnet.data.cluttered_mnist import load_cluttered_mnist

    use_threads(options.threads)
    checkpoint = find_checkpoint(options.model, classifier=True)
    model = checkpoint.load_classifier().to(check_device(options.device))
    print(write_glimpses(model, load_cluttered_mnist(checkpoint.config.dataset), options.out, options.count))
    return 0


def write_glimpses(model: Classifier, dataset: LabelledDataset, out: Path, count: int) -> Path:
    """Figure 5 of `count` test images, into a folder.

    Raises:
        ValueError: `count` is out of range, or the model has no glimpses.
        OSError: the picture cannot be written.
    """
    from drawnet.evaluate import spread_indices
    from drawnet.figures.glimpses import glimpse_sheet
    from drawnet.files import save_picture

    if not 1 <= count <= len(dataset.test):
        raise ValueError(f"--count is {count}: {dataset.name} has 1 to {len(dataset.test)} test images")
    batch = dataset.test.batch(spread_indices(count, len(dataset.test)))
    look = model.look(batch.images.to(next(model.parameters()).device))
    if not look.glimpses:
        raise ValueError(f"{type(model).__name__} sees the whole image at once: it has no glimpses to show")
    path = out / "glimpses.png"
    save_picture(glimpse_sheet(batch.images, look, batch.labels), path)
    return path


def print_report(result: dict[str, Any]) -> None:
    """A report as a person reads it."""
    error, nats = result["error"], result["nats"]
    print(f"{result['model']} on {result['num_images']} {result['split']} images of {result['dataset']}")
    print(f"  error {100 * error['mean']:.2f} ± {100 * error['standard_error']:.2f} %")
    plus_minus = f" ± {nats['standard_error']:.4f}" if nats["standard_error"] is not None else ""
    print(f"  cross-entropy {nats['mean']:.4f}{plus_minus} nats")
    print(f"  ({result['estimator']})")
    console.print(f"{result['num_parameters']:,} parameters, {result['updates']:,} updates", style="dim")
