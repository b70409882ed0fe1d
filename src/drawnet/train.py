"""Training: one minibatch at a time, resumable bit for bit."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_type_hints

import torch
from torch import Tensor, nn

from drawnet.data.batches import BatchStream, Source
from drawnet.engine import Choice as EngineChoice
from drawnet.models.draw import Draw
from drawnet.models.glimpse_classifier import GlimpseClassifier
from drawnet.models.registry import Classifier, Model
from drawnet.objectives import objective_of

MAX_SKIPPED_IN_A_ROW = 20


class TrainingDivergedError(ValueError):
    """Too many updates in a row had a loss or gradient that is not finite."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; exactly one of `epochs` and `minutes` is the plan that the learning rate decays along.

    Attributes:
        epochs: passes over the training images; a run planned this way is the same every time.
        minutes: wall time, with validation and checkpoints; how many updates fit depends on the machine.
        batch_size: images per update.
        optimizer: "adam"; "rmsprop", whose decay is `beta2`; "adagrad", which has no decays.
        objective: "likelihood" is the mean nats, of images or, given these, of labels; "wake-sleep" trains a VAE by
            Hinton et al. (1995).
        weight_prior: the weights have the prior N(0, I) (Kingma and Welling 2013, section 5): half their squared norm,
            divided by the number of training images, joins the nats per image.
        learning_rate: the optimiser's step size after the warm-up.
        final_learning_rate: share of `learning_rate` that the cosine decay ends at; 1 keeps it constant.
        warmup_updates: updates over which the learning rate rises from 0.
        beta1: Adam's decay of the first moment.
        beta2: Adam's and RMSProp's decay of the second moment.
        clip: "global" scales the whole gradient to at most `clip_norm`, "per-tensor" each parameter's alone.
        clip_norm: largest L2 norm of a gradient.
        average_decay: decay of the exponential moving average of the weights that is evaluated and kept; 0 turns
            averaging off.
        num_validation_images: how many validation images, evenly spread, are looked at during training.
        num_validations: how often, evenly spread over the plan.
        seed: of the starting weights, the order of the images, the pixels drawn and the latents.
        engine: how DRAW's gradient is computed on a CPU: "plain" by PyTorch; "float32" and "mixed" by native code, the
            latter with bfloat16 products; "auto" is what the environment variable DRAWNET_ENGINE says, else "mixed" on
            a processor that has such products, else "float32". The classifier by glimpses reads by native code unless
            it is "plain". For other models "auto" is "plain", and there is nothing else.

    Raises:
        ValueError: a value out of range; the message names the field.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 100
    optimizer: Literal["adam", "rmsprop", "adagrad"] = "adam"
    objective: Literal["likelihood", "wake-sleep"] = "likelihood"
    weight_prior: bool = False
    learning_rate: float = 4e-3
    final_learning_rate: float = 0.02
    warmup_updates: int = 100
    beta1: float = 0.9
    beta2: float = 0.999
    clip: Literal["global", "per-tensor"] = "global"
    clip_norm: float = 5.0
    average_decay: float = 0.999
    num_validation_images: int = 2000
    num_validations: int = 20
    seed: int = 0
    engine: EngineChoice = "auto"

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.minutes is None):
            raise ValueError(f"epochs is {self.epochs} and minutes is {self.minutes}: give exactly one of them")
        above_zero = ("epochs", "minutes", "batch_size", "learning_rate", "clip_norm", "num_validation_images")
        at_least_zero = ("final_learning_rate", "warmup_updates", "num_validations", "seed")
        below_one = ("beta1", "beta2", "average_decay")
        for field in above_zero:
            value = getattr(self, field)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{field} is {value}: it must be a number above 0")
        for field in at_least_zero:
            if not 0 <= getattr(self, field) < math.inf:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be 0 or more")
        for field in below_one:
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}: it must be at least 0 and below 1")
        hints = get_type_hints(type(self))
        for field in ("optimizer", "objective", "clip", "engine"):
            if (value := getattr(self, field)) not in (allowed := get_args(hints[field])):
                raise ValueError(f"{field} is {value!r}: it must be {' or '.join(map(repr, allowed))}")


@dataclass(frozen=True)
class StepRecord:
    """One update, as it was seen by the minibatch.

    Attributes:
        update: how many minibatches have been tried, this one included.
        epoch: passes over the training images so far.
        progress: share of the plan that is done, 0 to 1.
        seconds: wall time of the run so far, interruptions left out.
        nats: mean nats per image of the minibatch.
        parts: the same, part by part.
        learning_rate: the one used.
        gradient_norm: L2 norm of the gradient before clipping.
        images_per_second: this update alone.
        num_skipped: updates so far that were not applied, their loss or gradient not being finite.
    """

    update: int
    epoch: float
    progress: float
    seconds: float
    nats: float
    parts: dict[str, float]
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    num_skipped: int


class Training:
    """A model in training: the weights, their average, the optimiser's moments, the generators and the counters.

    Args:
        model: trained in place, on whatever device it is.
        split: the training images; with their labels for a classifier.
        config: how.
        compile: torch.compile the model's `nll` or `loss`, which is then plain PyTorch whatever the engine. Meant for
            GPUs.

    Attributes:
        averaged_model: a copy of the model that carries the averaged weights; this is the one to evaluate.

    Raises:
        ValueError: the objective is wake-sleep and the model has no wake-sleep loss, or the engine is DRAW's and the
            model another.
    """

    def __init__(
        self, model: Model | Classifier, split: Source[Any], config: TrainingConfig, *, compile: bool = False
    ) -> None:
        has_engine = isinstance(model, Draw | GlimpseClassifier)
        if config.engine not in ("auto", "plain") and not has_engine:
            raise ValueError(f"engine is {config.engine!r}: it is for DRAW, not for {type(model).__name__}")
        self._objective = objective_of(model, config.objective, compile=compile)
        self.model, self.config = model.train(), config
        self.averaged_model = copy.deepcopy(model).requires_grad_(False).eval()
        if has_engine:
            # of the gradient only: the averaged model keeps its own
            model.engine = "plain" if compile else config.engine
        self.num_images = len(split)
        self.device = next(model.parameters()).device
        self.stream = BatchStream(split, config.batch_size, seed=config.seed)
        # The stream draws from seed and seed + 1: latents must not be the same draws.
        self.generator = torch.Generator(self.device).manual_seed(config.seed + 2)
        self.parameters = dict(model.named_parameters())
        self.optimizer = _optimizer(config, list(self.parameters.values()))
        self.update = self.num_skipped = self.num_skipped_in_a_row = 0
        self.seconds = 0.0
        self._clock: float | None = None

    @property
    def progress(self) -> float:
        """Share of the plan that is done, 0 to 1."""
        if self.config.minutes is not None:
            return min(1.0, self.seconds / (60 * self.config.minutes))
        return min(1.0, self.update / self.num_planned_updates)

    @property
    def num_planned_updates(self) -> int:
        """Updates in a plan of `epochs`."""
        assert self.config.epochs is not None
        return max(1, round(self.config.epochs * self.stream.num_batches_per_epoch))

    def step(self) -> StepRecord:
        """Draw a minibatch, update the weights and their average.

        Raises:
            TrainingDivergedError: this was one too many updates in a row whose loss or gradient is not finite. None of
                them touched the weights.
        """
        update_start = time.monotonic()
        self._tick()
        learning_rate = self._learning_rate()
        batch = self.stream.next().to(self.device)
        loss, parts = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradient_norm = self._clip_gradient()
        self.update += 1
        nats = sum(parts.values())
        if math.isfinite(nats) and math.isfinite(gradient_norm):
            self.num_skipped_in_a_row = 0
            self._apply(learning_rate)
        else:
            self._skip(nats, gradient_norm)
        self._tick()
        return StepRecord(
            update=self.update,
            epoch=self.update / self.stream.num_batches_per_epoch,
            progress=self.progress,
            seconds=self.seconds,
            nats=nats,
            parts=parts,
            learning_rate=learning_rate,
            gradient_norm=gradient_norm,
            images_per_second=len(batch) / max(time.monotonic() - update_start, 1e-9),
            num_skipped=self.num_skipped,
        )

    def _loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """What is differentiated, and the mean nats of its parts."""
        loss, parts = self._objective(batch, self.generator)
        if self.config.weight_prior:
            loss = (
                loss + 0.5 / self.num_images * torch.stack([p.square().sum() for p in self.parameters.values()]).sum()
            )
        return loss, parts

    def _tick(self) -> None:
        """Add the time since the last tick, which is the caller's validation and checkpoints too."""
        now = time.monotonic()
        self.seconds += now - (self._clock if self._clock is not None else now)
        self._clock = now

    def _learning_rate(self) -> float:
        config = self.config
        warmup = min(1.0, (self.update + 1) / config.warmup_updates) if config.warmup_updates else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return config.learning_rate * warmup * (config.final_learning_rate + (1 - config.final_learning_rate) * cosine)

    def _clip_gradient(self) -> float:
        """Clip, and return the global norm from before."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        if self.config.clip == "global":
            return _clip(gradients, self.config.clip_norm)
        return math.hypot(*(_clip([gradient], self.config.clip_norm) for gradient in gradients))

    def _apply(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        for p in self.parameters.values():  # fused Adam takes the numbers as they lie in memory, whatever the strides
            if p.grad is not None and p.grad.stride() != p.stride():
                p.grad = torch.empty_like(p).copy_(p.grad)
        self.optimizer.step()
        # A young average forgets its start faster, or it would be evaluated half made of starting weights.
        decay = min(self.config.average_decay, (1 + self.update) / (10 + self.update))
        with torch.no_grad():
            for average, p in zip(self.averaged_model.parameters(), self.parameters.values(), strict=True):
                average.lerp_(p, 1 - decay)

    def _skip(self, nats: float, gradient_norm: float) -> None:
        self.num_skipped += 1
        self.num_skipped_in_a_row += 1
        if self.num_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise TrainingDivergedError(
                f"{self.num_skipped_in_a_row} updates in a row were not finite (update {self.update}: "
                f"loss {nats} nats, gradient norm {gradient_norm}), none was applied; try a lower learning_rate "
                f"than {self.config.learning_rate}"
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a later process needs to go on as if nothing had happened, as flat named tensors."""
        state = {f"weights.{name}": p.detach() for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for key, value in self.optimizer.state[p].items():  # empty before the first update
                state[f"optimizer.{name}.{key}"] = value
        state |= {f"stream.{key}": value for key, value in self.stream.state_dict().items()}
        state["generator"] = self.generator.get_state()
        counts = [self.update, self.num_skipped, self.num_skipped_in_a_row]
        state["counts"] = torch.tensor(counts, dtype=torch.int64)
        state["seconds"] = torch.tensor(self.seconds, dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Undo `state_dict`; the averaged weights travel with the model and are loaded by the caller.

        Raises:
            ValueError: the state is of another model or data set.
        """
        try:
            with torch.no_grad():
                for name, p in self.parameters.items():
                    p.copy_(state[f"weights.{name}"])
                    prefix = f"optimizer.{name}."
                    moments = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
                    if moments:
                        self.optimizer.state[p] = {k: v.to(p.device, copy=True) for k, v in moments.items()}
            self.stream.load_state_dict(
                {k.removeprefix("stream."): v for k, v in state.items() if k.startswith("stream.")}
            )
            self.generator.set_state(state["generator"])
            self.update, self.num_skipped, self.num_skipped_in_a_row = state["counts"].tolist()
            self.seconds = state["seconds"].item()
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the training state does not fit this model: {error}") from error


def _clip(gradients: list[Tensor], clip_norm: float) -> float:
    """Scale gradients to a joint L2 norm of at most `clip_norm`; the norm from before."""
    # nn.utils.clip_grad_norm_ takes three times as long: it writes small gradients again, times 1.
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])).item()
    if norm > clip_norm:
        for gradient in gradients:
            gradient.mul_(clip_norm / norm)
    return norm


def _optimizer(config: TrainingConfig, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=config.learning_rate, alpha=config.beta2)
    if config.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, lr=config.learning_rate)
    fused = parameters[0].device.type in ("cpu", "cuda") or None  # a third of the time; None is torch's choice
    return torch.optim.Adam(parameters, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=fused)


def fit(training: Training) -> Iterator[StepRecord]:
    """Train to the end of the plan, yielding a record after every update.

    The caller prints, validates, writes checkpoints between two records, or stops by not asking for the next.

    Raises:
        TrainingDivergedError: see `Training.step`.
    """
    while training.progress < 1:
        yield training.step()
