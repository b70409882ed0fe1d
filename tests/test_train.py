"""Training: resumable bit for bit, never applying what is not finite."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from drawnet.models.registry import build_model
from drawnet.train import MAX_SKIPPED_IN_A_ROW, Training, TrainingConfig, TrainingDivergedError, fit
from toy import bars, toy_config


def toy_training(model: str = "draw", **training: object) -> Training:
    config = toy_config(model, **training)
    torch.manual_seed(0)
    return Training(build_model(config.model), bars(60, 0, resample=True), config.training)


def test_fit_runs_the_planned_number_of_updates_and_learns() -> None:
    training = toy_training(epochs=60, learning_rate=1e-2)
    records = list(fit(training))
    assert len(records) == records[-1].update == 60 * 6
    assert records[-1].progress == 1
    early, late = (sum(r.nats for r in part) / 20 for part in (records[:20], records[-20:]))
    assert late < early - 10
    for record in records:
        assert record.nats == pytest.approx(sum(record.parts.values()), rel=1e-5)


def test_learning_rate_warms_up_and_decays_to_its_final_share() -> None:
    training = toy_training(epochs=20, warmup_updates=4, learning_rate=1e-3, final_learning_rate=0.1)
    rates = [record.learning_rate for record in fit(training)]
    assert rates[0] == pytest.approx(2.5e-4)
    assert max(rates) == pytest.approx(1e-3, rel=0.02)
    assert rates[-1] == pytest.approx(1e-4, rel=0.02)
    middle = 1e-3 * (0.1 + 0.9 * 0.5)
    assert rates[60] == pytest.approx(middle)


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ("draw", {}),
        ("draw", {"optimizer": "rmsprop"}),
        ("vae", {"optimizer": "adagrad", "weight_prior": True, "learning_rate": 0.02}),
        ("vae", {"objective": "wake-sleep"}),
        ("pixelcnn", {}),
        ("pixelrnn", {}),
        ("multiscale", {"optimizer": "rmsprop", "beta2": 0.9}),
    ],
)
def test_interrupted_anywhere_and_resumed_is_bit_for_bit_the_same(model: str, training: dict) -> None:
    whole = toy_training(model, **training)
    whole_records = list(fit(whole))
    for stop in (1, 6, 8, 29):  # in the first epoch, at its end, in the second, near the end
        first = toy_training(model, **training)
        first_records = list(itertools.islice(fit(first), stop))
        second = toy_training(model, **training)
        second.averaged_model.load_state_dict(first.averaged_model.state_dict())
        second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
        second_records = list(fit(second))
        assert [r.nats for r in first_records + second_records] == [r.nats for r in whole_records]
        for name, tensor in whole.averaged_model.state_dict().items():
            assert torch.equal(tensor, second.averaged_model.state_dict()[name]), name
        for name, tensor in whole.state_dict().items():
            if name != "seconds":
                assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_state_without_the_optimizer_would_not_be_the_same() -> None:
    """The test above can fail: forgetting Adam's moments changes the weights."""
    whole = toy_training()
    list(fit(whole))
    first = toy_training()
    list(itertools.islice(fit(first), 8))
    second = toy_training()
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items() if not k.startswith("optimizer.")})
    list(fit(second))
    assert not torch.equal(whole.state_dict()["weights.mu.weight"], second.state_dict()["weights.mu.weight"])


def test_the_same_seed_gives_the_same_run_and_another_does_not() -> None:
    runs = [[record.nats for record in fit(toy_training(seed=seed))] for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_updates_that_are_not_finite_are_skipped_counted_and_stop_the_run() -> None:
    training = toy_training(epochs=100)
    training.step()
    with torch.no_grad():
        training.model.mu.bias[0] = math.nan
    before = {k: v.clone() for k, v in training.state_dict().items() if k.startswith(("weights.", "optimizer."))}
    average = {k: v.clone() for k, v in training.averaged_model.state_dict().items()}
    record = training.step()
    assert math.isnan(record.nats)
    assert record.num_skipped == 1
    with pytest.raises(TrainingDivergedError, match=f"{MAX_SKIPPED_IN_A_ROW} updates in a row.*learning_rate"):
        list(fit(training))
    assert training.num_skipped == MAX_SKIPPED_IN_A_ROW
    for name, tensor in before.items():
        assert torch.equal(tensor.nan_to_num(), training.state_dict()[name].nan_to_num()), name
    for name, tensor in average.items():
        assert torch.equal(tensor, training.averaged_model.state_dict()[name]), name


def test_a_gradient_that_is_not_finite_is_not_applied_either() -> None:
    training = toy_training()
    training.step()
    before = {k: v.clone() for k, v in training.state_dict().items() if k.startswith(("weights.", "optimizer."))}
    average = [p.clone() for p in training.averaged_model.parameters()]
    training.model.mu.bias.register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    record = training.step()
    assert math.isfinite(record.nats)
    assert record.gradient_norm == math.inf
    assert record.num_skipped == 1
    assert all(torch.equal(v, training.state_dict()[k]) for k, v in before.items())
    assert all(map(torch.equal, average, training.averaged_model.parameters()))


def test_one_bad_update_does_not_stop_the_run() -> None:
    training = toy_training()
    bias = training.model.mu.bias
    good = bias.detach().clone()
    with torch.no_grad():
        bias[0] = math.inf
    assert training.step().num_skipped == 1
    with torch.no_grad():
        bias.copy_(good)
    record = training.step()
    assert math.isfinite(record.nats)
    assert training.num_skipped_in_a_row == 0


def test_averaged_weights_follow_the_formula() -> None:
    training = toy_training(average_decay=0.5)
    expected = training.model.mu.weight.detach().clone()
    for _ in range(5):
        update = training.step().update
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * training.model.mu.weight.detach()
    assert torch.allclose(training.averaged_model.mu.weight, expected, atol=1e-7)


def test_no_averaging_is_the_weights_themselves() -> None:
    training = toy_training(average_decay=0.0)
    training.step()
    assert torch.equal(training.averaged_model.mu.weight, training.model.mu.weight)


@pytest.mark.parametrize("clip", ["global", "per-tensor"])
def test_clipping_limits_what_it_says(clip: str) -> None:
    training = toy_training(clip=clip, clip_norm=0.01)
    record = training.step()
    norms = [p.grad.norm().item() for p in training.parameters.values() if p.grad is not None]
    assert record.gradient_norm > 0.1
    unclipped = toy_training(clip=clip, clip_norm=1e9)
    assert unclipped.step().gradient_norm == record.gradient_norm
    gradient = torch.cat([p.grad.flatten() for p in unclipped.parameters.values() if p.grad is not None])
    assert record.gradient_norm == pytest.approx(gradient.double().norm().item(), rel=1e-6)
    if clip == "global":
        assert math.hypot(*norms) == pytest.approx(0.01, rel=1e-3)
    else:
        assert max(norms) == pytest.approx(0.01, rel=1e-3)
        assert math.hypot(*norms) > 0.011


def test_minutes_end_the_run_on_time() -> None:
    training = toy_training(epochs=None, minutes=0.02)
    records = list(fit(training))
    assert records[-1].seconds >= 1.2
    assert records[-2].seconds < 1.2
    assert all(a.progress <= b.progress for a, b in itertools.pairwise(records))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epochs": 0}, "epochs"),
        ({"epochs": math.nan}, "epochs"),
        ({"minutes": 3}, "epochs"),
        ({"epochs": None}, "minutes"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": math.inf}, "learning_rate"),
        ({"beta1": 1.0}, "beta1"),
        ({"average_decay": 1.0}, "average_decay"),
        ({"warmup_updates": -1}, "warmup_updates"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes: dict, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        TrainingConfig(**{"epochs": 1, **changes})


def test_a_state_of_another_model_is_refused() -> None:
    state = toy_training().state_dict()
    del state["weights.mu.weight"]
    with pytest.raises(ValueError, match="does not fit"):
        toy_training().load_state_dict(state)


def test_the_weight_prior_adds_the_weights_over_the_number_of_images_to_the_gradient() -> None:
    """log N(theta; 0, I) once for all training images: per image, theta / 60 in the gradient."""
    gradients = []
    for weight_prior in (False, True):
        training = toy_training("vae", weight_prior=weight_prior, clip_norm=1e9, learning_rate=1e-9)
        before = [p.detach().clone() for p in training.parameters.values()]
        training.step()
        gradients.append([p.grad.clone() for p in training.parameters.values() if p.grad is not None])
    for without, with_prior, weight in zip(*gradients, before, strict=True):
        torch.testing.assert_close(with_prior - without, weight / 60, rtol=1e-3, atol=1e-5)


def test_adam_is_algorithm_1_of_its_paper() -> None:
    """Kingma and Ba (2014): bias-corrected moments, the epsilon outside of the root."""
    training = toy_training(beta1=0.5, beta2=0.9, clip_norm=1e9)
    weights = {name: p.detach().double() for name, p in training.parameters.items()}
    m, v = ({name: torch.zeros_like(p) for name, p in weights.items()} for _ in range(2))
    for t in range(1, 7):
        learning_rate = training.step().learning_rate
        for name, p in training.parameters.items():
            assert p.grad is not None
            g = p.grad.double()
            m[name] = 0.5 * m[name] + 0.5 * g
            v[name] = 0.9 * v[name] + 0.1 * g**2
            m_hat, v_hat = m[name] / (1 - 0.5**t), v[name] / (1 - 0.9**t)
            weights[name] = weights[name] - learning_rate * m_hat / (v_hat.sqrt() + 1e-8)
            torch.testing.assert_close(p.detach().double(), weights[name], rtol=1e-6, atol=1e-6)


def test_adam_does_not_care_how_a_gradient_lies_in_memory() -> None:
    usual, transposed = toy_training(clip_norm=1e9), toy_training(clip_norm=1e9)

    def transpose(p: torch.Tensor) -> None:
        p.grad = p.grad.t().contiguous().t()
        assert not p.grad.is_contiguous()

    for name, p in transposed.parameters.items():
        if name.endswith("weight"):
            p.register_post_accumulate_grad_hook(transpose)
    for _ in range(3):
        usual.step()
        transposed.step()
    assert all(map(torch.equal, usual.parameters.values(), transposed.parameters.values()))


def test_a_state_of_adam_that_was_not_fused_goes_on() -> None:
    old, new = toy_training(), toy_training()
    old.optimizer = torch.optim.Adam(old.parameters.values(), betas=(0.9, 0.999), fused=False)
    list(itertools.islice(fit(old), 8))
    new.load_state_dict(old.state_dict())
    list(fit(old))
    list(fit(new))
    states = old.state_dict(), new.state_dict()
    assert states[0].keys() == states[1].keys()
    for name in states[0].keys() - {"seconds"}:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-4, atol=1e-5)
        if name.endswith(".step"):
            assert states[1][name] == 30


@pytest.mark.parametrize("optimizer", ["rmsprop", "adagrad"])
def test_the_first_update_of_the_optimisers(optimizer: str) -> None:
    """After one update: RMSProp moves by lr g / sqrt((1 - beta2) g^2), Adagrad by lr g / |g|."""
    training = toy_training(
        optimizer=optimizer, beta2=0.9, warmup_updates=0, final_learning_rate=1.0, learning_rate=1e-3, clip_norm=1e9
    )
    before = {name: p.detach().clone() for name, p in training.parameters.items()}
    training.step()
    for name, p in training.parameters.items():
        assert p.grad is not None
        sure = p.grad.abs() > 1e-3  # where the epsilon in the denominator does not matter
        moved = (before[name] - p.detach())[sure]
        step = 1e-3 / math.sqrt(1 - 0.9) if optimizer == "rmsprop" else 1e-3
        torch.testing.assert_close(moved, step * p.grad[sure].sign(), rtol=2e-2, atol=2e-7)


@pytest.mark.parametrize("engine", ["auto", "plain", "float32", "mixed"])
def test_the_engine_is_that_of_the_gradient(engine: str) -> None:
    training = toy_training(engine=engine)
    assert training.model.engine == engine
    assert training.averaged_model.engine == "auto"


@pytest.mark.usefixtures("unchecked_shapes")
def test_engines_are_for_draw() -> None:
    for engine in ("auto", "plain"):
        assert math.isfinite(toy_training("vae", engine=engine).step().nats)
    for engine in ("float32", "mixed"):
        with pytest.raises(ValueError, match=f"engine is '{engine}'.*not for VAE"):
            toy_training("vae", engine=engine)
    with pytest.raises(ValueError, match="engine is 'fast': it must be 'auto' or"):
        TrainingConfig(epochs=1, engine="fast")  # type: ignore[arg-type]


def test_wake_sleep_is_for_a_vae() -> None:
    with pytest.raises(ValueError, match=r"objective is 'wake-sleep'.*not for Draw"):
        toy_training(objective="wake-sleep")
    records = list(fit(toy_training("vae", objective="wake-sleep", epochs=30, learning_rate=1e-2)))
    assert records[-1].parts.keys() == {"wake-sleep"}
    assert sum(r.nats for r in records[-20:]) < sum(r.nats for r in records[:20]) - 100


COMPILED = """
import itertools
import torch
from drawnet.models.registry import build_model
from drawnet.train import Training, fit
from toy import bars, toy_config

config = toy_config("draw", engine="plain")
for compiled in (False, True):
    torch.manual_seed(0)
    training = Training(build_model(config.model), bars(60, 0, resample=True), config.training, compile=compiled)
    print(*(record.nats for record in itertools.islice(fit(training), 8)))
"""


@pytest.mark.slow
def test_compiled_is_the_same_training() -> None:
    """In a process of its own: what checks shapes here cannot be compiled."""
    command = [sys.executable, "-c", COMPILED]
    result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    plain, compiled = ([float(nats) for nats in line.split()] for line in result.stdout.splitlines())
    assert plain == pytest.approx(compiled, rel=1e-5)
    assert len(plain) == 8
