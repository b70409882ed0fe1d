"""`drawnet classify train`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from drawnet.checkpoint import find_checkpoint, newest_checkpoint
from drawnet.classifier_presets import CLASSIFIER_PRESETS
from drawnet.classify import ClassifierEvaluation, classifier_report
from drawnet.cli.arguments import check_device, command_line, use_threads
from drawnet.cli.classify import print_report, write_glimpses
from drawnet.cli.progress import console, progress_bar
from drawnet.cli.train import TrainOptions, Wording, parse_plan, train_to_the_end
from drawnet.data.cluttered_mnist import load_cluttered_mnist
from drawnet.data.labelled import LabelledDataset
from drawnet.figures.curves import read_metrics, training_curves
from drawnet.files import write_json
from drawnet.models.conv_classifier import ConvClassifier
from drawnet.train import StepRecord

NUM_SHOWN = 6  # images of glimpses.png


@dataclass(frozen=True)
class ClassifyTrainOptions(TrainOptions):
    """Train a classifier, then report its error on the test images and show its glimpses, all in the run folder.

    Attributes:
        config: the run; its fields are flags of their own.
        run_dir: where everything goes; runs/PRESET if not given.
        resume: go on from the newest checkpoint in the run folder; epochs or minutes may be others than before.
        threads: CPU threads.
        device: cpu, cuda, ...
        compile: torch.compile the gradient of plain PyTorch; for GPUs.
        tensorboard: write TensorBoard event files too.
    """


def train(arguments: list[str]) -> int:
    """Run `drawnet classify train`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    preset, *flags = arguments
    if preset not in CLASSIFIER_PRESETS:
        raise ValueError(f"no preset {preset!r} of classify train: there are {', '.join(CLASSIFIER_PRESETS)}")
    options, dataset = _options(preset, flags)
    use_threads(options.threads)
    device = check_device(options.device)
    if not train_to_the_end(options, dataset, device, Wording(_step_nats, _score)):
        console.print(f"stopped; go on with: drawnet classify train {preset} --run-dir {options.run_dir} --resume")
        return 130
    _finish(options.run_dir, dataset, device, command_line("classify", "train", *arguments))
    return 0


def _usage() -> str:
    return "\n".join(
        [
            "usage: drawnet classify train PRESET [OPTIONS]      (drawnet classify train PRESET --help lists them)",
            "",
            "PRESET is the images and the model: glimpses, the Differentiable RAM of DRAW, or ram, RAM itself, each",
            "with so many glimpses; or conv, a convolutional network. One of",
            *(f"  {name}" for name in CLASSIFIER_PRESETS),
        ]
    )


def _options(preset: str, flags: list[str]) -> tuple[TrainOptions, LabelledDataset]:
    """The flags over the settings of the preset, or of the run resumed; other images bring their own size."""
    prog = f"drawnet classify train {preset}"
    default = ClassifyTrainOptions(CLASSIFIER_PRESETS[preset], Path("runs") / preset)
    options = parse_plan(ClassifyTrainOptions, flags, prog, default)
    checkpoint = newest_checkpoint(options.run_dir) if options.resume else None
    if checkpoint is not None:
        checkpoint.check_kind(classifier=True)
    config = checkpoint.config if checkpoint is not None else default.config
    dataset = load_cluttered_mnist(options.config.dataset if checkpoint is None else config.dataset)
    _, height, width = dataset.image_shape
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, height=height, width=width))
    return parse_plan(ClassifyTrainOptions, flags, prog, dataclasses.replace(default, config=config)), dataset


def _step_nats(step: StepRecord) -> str:
    return f"cross-entropy {step.nats:.3f} nats"


def _score(score: ClassifierEvaluation) -> str:
    error = f"error {100 * score.error.mean:.2f} ± {100 * score.error.standard_error:.2f} %"
    return f"{error}, cross-entropy {score.nats.mean:.3f} nats ({score.num_images} images)"


def _finish(run_dir: Path, dataset: LabelledDataset, device: str, command: str) -> None:
    """Report the test error and draw everything that the run folder is to hold."""
    checkpoint = find_checkpoint(str(run_dir), classifier=True)
    with progress_bar("evaluating on the test images") as progress:
        result = classifier_report(
            checkpoint, dataset, "test", model_name=run_dir.name, command=command, device=device, progress=progress
        )
    write_json(run_dir / "report.json", result)
    pictures = run_dir / "pictures"
    training_curves(read_metrics(run_dir / "metrics.jsonl"), pictures / "curves.png")
    model = checkpoint.load_classifier().to(device)
    if not isinstance(model, ConvClassifier):
        write_glimpses(model, dataset, pictures, NUM_SHOWN)
    print_report(result)
    print(f"report: {run_dir / 'report.json'}\npictures: {pictures}")
