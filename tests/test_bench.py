"""`drawnet bench`: who is asked when, what is made of the answers, and that the right products are counted."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import drawnet.cli.bench as command
from drawnet import bench, bench_worker
from drawnet.bench import IMPLEMENTATIONS, JAX_SCRIPT, ROWS, SCANS, Case, Measurement, Worker, WorkerError, measure
from drawnet.bench_worker import draw_step, linear_maps, peak_mib, products_step
from drawnet.cli import main
from drawnet.models.draw import Draw, DrawConfig
from scripts import load_script
from test_cli import fails

TINY = {"height": 6, "width": 5, "num_glimpses": 3, "hidden_size": 8, "latent_size": 4}
CONFIGS = [
    DrawConfig(**TINY, num_channels=3, read_size=2, write_size=3),
    DrawConfig(**TINY, read_size=None, write_size=3),
    DrawConfig(**TINY, read_size=2, write_size=None),
    DrawConfig(**TINY, num_channels=3, read_size=None, write_size=None),
]
# A worker of the standard library alone: it logs what it is asked, and answers with the numbers it was given.
FAKE = """
import os, signal, sys
name, log, *answers = sys.argv[1:]
open(log + "." + name, "w").write(str(os.getpid()))
if answers[0] == "never": sys.exit("first line\\nno room to build")
print("ready", flush=True)
for line in sys.stdin:
    open(log, "a").write(f"{name} {line}")
    if line == "peak\\n":
        print(64.5, flush=True)
        continue
    answer = answers.pop(0)
    if answer == "die": sys.exit("Traceback\\nMemoryError: no room to run\\n\\n")
    if answer == "vanish": os.kill(os.getpid(), signal.SIGKILL)
    if answer == "interrupt":
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()
    print(answer, flush=True)
"""
KEYS = {"preset", "work", "implementation", "ms", "images_per_second", "peak_mib"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def fakes(log: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Every implementation is here and answers what this says, `1 1 1 ...` where it says nothing."""
    answers: dict[str, list[str]] = {}

    def fake(case: Case, implementation: str, jax_python: str) -> list[str]:
        return [sys.executable, "-c", FAKE, implementation, str(log), *answers.get(implementation, ["1"] * 9)]

    monkeypatch.setattr(bench, "_command", fake)
    monkeypatch.setattr(bench, "absent", lambda jax_python: {})
    monkeypatch.setattr(bench, "SETTLE_SECONDS", 0)
    return answers


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(log: Path) -> dict[str, int]:
    return {path.suffix[1:]: int(path.read_text()) for path in log.parent.glob("log.*")}


def test_all_are_asked_in_turn_round_after_round(fakes: dict[str, list[str]], log: Path) -> None:
    fakes |= {"plain": ["4", "6", "5"], "jax": ["2", "2", "8"], "products": ["1", "1", "1"]}
    rounds = []
    names = ["plain", "jax", "products"]
    measurements = measure(Case("mnist", "train", CONFIGS[0]), names, 3, on_round=lambda: rounds.append(1))
    assert log.read_text().split("\n")[:-1] == [f"{n} run" for n in names] * 3 + [f"{n} peak" for n in names]
    assert [m.seconds for m in measurements] == [(4, 6, 5), (2, 2, 8), (1, 1, 1)]
    assert [(m.implementation, m.peak_mib, m.error) for m in measurements] == [(n, 64.5, None) for n in names]
    assert len(rounds) == 3
    assert not any(map(is_running, pids(log).values()))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (["never"], "no room to build"),
        (["1", "die"], "MemoryError: no room to run"),
        (["1", "vanish"], "killed by signal 9"),
        (["1", "much"], "expected a number, got 'much'"),
    ],
)
def test_one_that_fails_is_reported_and_the_others_go_on(
    answers: list[str], error: str, fakes: dict[str, list[str]], log: Path
) -> None:
    fakes["jax"] = answers
    measurements = measure(Case("mnist", "train", CONFIGS[0]), ["plain", "jax", "products"], 4)
    assert [m.error for m in measurements] == [None, error, None]
    assert [len(m.seconds) for m in measurements] == [4, 0, 4]
    assert log.read_text().count("jax run") == len(answers) * (answers != ["never"])
    assert [row["implementation"] for row in bench.result_rows(Case("mnist", "train", CONFIGS[0]), measurements)] == [
        "plain",
        "products",
    ]


def test_a_worker_that_says_something_else_first_is_refused() -> None:
    with Worker([sys.executable, "-c", "print('hello')"], {}) as worker, pytest.raises(WorkerError, match="'hello'"):
        worker.ready()
    with (
        Worker([sys.executable, "-c", "raise SystemExit(3)"], {}) as worker,
        pytest.raises(WorkerError, match="code 3"),
    ):
        worker.ready()


def test_a_worker_is_in_a_session_of_its_own_where_ctrl_c_does_not_reach_it() -> None:
    with Worker([sys.executable, "-c", "print('ready', flush=True); input()"], {}) as worker:
        worker.ready()
        assert os.getsid(worker.process.pid) != os.getsid(0)


def test_a_full_pipe_of_warnings_does_not_block() -> None:
    script = "import sys; sys.stderr.write('w' * 10**6); print('ready', flush=True)"
    with Worker([sys.executable, "-c", script], {}) as worker:
        worker.ready()


def test_numbers_of_a_row() -> None:
    case = Case("svhn", "train", CONFIGS[1], batch_size=50, threads=2)
    measurements = [
        Measurement("plain", (0.5, 0.9, 0.4), 300.0),
        Measurement("jax", (0.1, 0.2, 0.3), 200.0),
        Measurement("products", error="no"),
    ]
    plain, jax = bench.result_rows(case, measurements)
    assert plain.keys() >= KEYS
    assert (plain["preset"], plain["work"], plain["implementation"]) == ("svhn", "train", "plain")
    assert plain["ms"] == 1000 * statistics.median((0.5, 0.9, 0.4)) == 500
    assert jax["ms"] == pytest.approx(200)
    assert jax["images_per_second"] == pytest.approx(250)  # 50 in 0.2 s
    assert jax["ratio_to_plain"] == pytest.approx(2.5)
    assert (plain["ratio_to_plain"], jax["peak_mib"]) == (1, 200)
    assert (jax["ms_min"], jax["ms_max"], jax["rounds"]) == (100, 300, 3)
    assert (jax["batch_size"], jax["threads"], jax["num_glimpses"], jax["read_size"]) == (50, 2, 3, None)
    (alone,) = bench.result_rows(case, measurements[1:])
    assert alone["ratio_to_plain"] is None


def test_the_rows_are_those_of_table_3() -> None:
    """FACTS of the paper: T, LSTM h, z, read N, write N."""
    table = {
        "cluttered-generative": (8, 256, 100, 12, 12),
        "mnist": (64, 256, 100, 2, 5),
        "svhn": (32, 800, 100, 12, 12),
        "cifar10": (64, 400, 200, 5, 5),
        "mnist-no-attention": (64, 256, 100, None, None),
    }
    images = {"mnist": (1, 28, 28), "svhn": (3, 54, 54), "cifar10": (3, 32, 32), "mnist-no-attention": (1, 28, 28)}
    images["cluttered-generative"] = (1, 100, 100)
    sizes = {
        name: (c.num_glimpses, c.hidden_size, c.latent_size, c.read_size, c.write_size) for name, c in ROWS.items()
    }
    assert sizes == table
    assert {name: (c.num_channels, c.height, c.width) for name, c in ROWS.items()} == images


# What is timed


class Multiplications(TorchDispatchMode):
    """Counts those of numbers within products of two matrices."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            a, b = args[-2:]
            self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("config", CONFIGS, ids=["attention", "reads-all", "writes-all", "no-attention"])
@pytest.mark.parametrize("work", ["train", "evaluate", "sample"])
def test_products_are_those_of_the_models_linear_maps(config: DrawConfig, work: str) -> None:
    """Both are watched while they multiply; `bmm` is the attention, which is left out."""
    batch_size, multiplied = 7, []
    for step in (draw_step(config, work, batch_size, "plain"), products_step(config, work, batch_size)):
        with Multiplications() as counter:
            step()
        multiplied.append(counter.count)
    assert multiplied[0] == multiplied[1] > 0
    forward = batch_size * config.num_glimpses * sum(m * n for m, n in linear_maps(config, work))
    assert multiplied[1] == (3 if work == "train" else 1) * forward


def test_the_published_network_needs_the_known_number_of_products() -> None:
    gflop = 3 * 2 * 100 * 64 * sum(m * n for m, n in linear_maps(ROWS["mnist"], "train")) / 1e9
    assert gflop == pytest.approx(36.5, abs=0.5)


def test_training_is_a_forward_and_a_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    models = []

    class Watched(Draw):
        def __init__(self, config: DrawConfig) -> None:
            super().__init__(config)
            models.append(self)

    monkeypatch.setattr(bench_worker, "Draw", Watched)
    step = draw_step(CONFIGS[0], "train", 5, "plain")
    (model,) = models
    assert model.engine == "plain"
    step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    for parameter in model.parameters():
        parameter.grad.fill_(1e9)
    step()
    assert all(parameter.grad.abs().max() < 1e6 for parameter in model.parameters())  # nothing added up
    nats = draw_step(CONFIGS[0], "evaluate", 5, "plain")()
    assert isinstance(nats, torch.Tensor)
    assert nats.shape == (5,)
    assert not nats.requires_grad
    frames = []
    monkeypatch.setattr(Watched, "sample", lambda self, n, generator: iter_frames(frames, n))
    draw_step(CONFIGS[0], "sample", 5, "plain")()
    assert frames == [5, 5, 5]


def test_plain_is_not_timed_under_the_name_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_worker, "native", lambda: None)
    draw_step(CONFIGS[0], "train", 2, "plain")
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        draw_step(CONFIGS[0], "train", 2, "mixed")


def iter_frames(seen: list[int], num_images: int) -> Iterator[None]:
    for _ in range(3):
        seen.append(num_images)
        yield


def test_a_timed_step_follows_another() -> None:
    seconds = iter([0.0, 0.05, 9.0])
    assert 0.05 <= bench_worker.timed(lambda: time.sleep(next(seconds))) < 2
    assert next(seconds) == 9


def test_the_peak_stays_when_the_memory_goes() -> None:
    before = peak_mib()
    big = torch.ones(2**20 * int(before / 4 + 100))  # float32: as much as the process has held so far, and 400 MiB
    del big
    assert before + 200 < peak_mib() < 3 * before + 1000


def test_real_workers_answer() -> None:
    missing = bench.absent(sys.executable)
    case = Case("tiny", "train", CONFIGS[0], batch_size=2)
    names = [name for name in ("plain", "engine-mixed", "products") if name not in missing]
    assert len(names) >= 2
    for m in measure(case, names, 2):
        assert m.error is None
        assert all(0 < seconds < 30 for seconds in m.seconds)
        assert len(m.seconds) == 2
        assert m.peak_mib is not None
        assert 50 < m.peak_mib < 2000


def test_what_is_absent_is_named_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "_has_engine", lambda: False)
    monkeypatch.setattr(bench, "JAX_SCRIPT", tmp_path / "jax_draw.py")
    reasons = bench.absent(sys.executable)
    assert reasons.keys() == {"engine-float32", "engine-mixed", "jax"}
    assert "not beside the package" in reasons["jax"]
    assert "not built" in reasons["engine-mixed"]
    (tmp_path / "jax_draw.py").touch()
    monkeypatch.setattr(bench, "has_jax", lambda python: False)
    assert "not installed" in bench.absent(sys.executable)["jax"]
    monkeypatch.setattr(bench, "has_jax", lambda python: True)
    monkeypatch.setattr(bench, "_has_engine", lambda: True)
    assert bench.absent(sys.executable) == {}


def test_jax_computes_the_same_nats_and_gradients() -> None:
    jax = pytest.importorskip("jax")
    jax_draw = load_script(JAX_SCRIPT)
    for config in CONFIGS[::3]:
        generator = torch.Generator().manual_seed(3)
        model = Draw(config)
        model.engine = "plain"
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        x = torch.rand(4, config.num_channels, config.height, config.width, generator=generator)
        generator.manual_seed(5)
        noise = torch.stack([torch.randn(4, config.latent_size, generator=generator) for _ in range(3)])
        nats = model.nll(x, generator=generator.manual_seed(5)).nats
        nats.mean().backward()
        *_, frame = model.sample(4, generator=generator.manual_seed(5))
        p = {name: value.numpy() for name, value in model.state_dict().items()}
        cfg = vars(config)
        assert {name: value.shape for name, value in p.items()} == jax_draw.parameter_shapes(cfg)
        theirs = torch.tensor(jax_draw.nats(p, x.numpy(), noise.numpy(), cfg).tolist())
        torch.testing.assert_close(theirs, nats.detach(), rtol=1e-5, atol=1e-4)
        gradients = jax.grad(jax_draw.mean_nats)(p, x.numpy(), noise.numpy(), cfg)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                torch.tensor(gradients[name].tolist()), parameter.grad, rtol=1e-3, atol=1e-4, msg=name
            )
        means = torch.tensor(jax_draw.frames(p, noise.numpy(), cfg)[-1].tolist())
        torch.testing.assert_close(means, frame.canvas, rtol=1e-4, atol=1e-5)


# The command


def test_json_is_one_object_with_every_implementation(
    fakes: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    fakes |= {"plain": ["8", "6", "7"], "engine-mixed": ["1", "3", "2"]}
    assert main(["bench", "--json", "--rounds", "3", "--rows", "mnist", "svhn", "--threads", "1"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["threads"] == 1
    assert [(row["preset"], row["work"], row["implementation"]) for row in content["rows"]] == [
        (preset, work, name)
        for preset in ("mnist", "svhn")
        for work in ("train", "sample", "evaluate")
        for name in IMPLEMENTATIONS
        if name != "engine-mixed" or work == "train"
    ]
    assert all(row.keys() >= KEYS and row["threads"] == 1 and row["batch_size"] == 100 for row in content["rows"])
    mixed = content["rows"][2]
    assert (mixed["ms"], mixed["ratio_to_plain"], mixed["images_per_second"]) == (2000, 3.5, 50)
    assert content["failed"] == []
    assert content["absent"] == {}


def test_the_table_says_what_is_missing_and_what_failed(
    fakes: dict[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    fakes |= {"plain": ["0.5"] * 2, "products": ["1", "die"]}
    monkeypatch.setattr(bench, "absent", lambda python: dict.fromkeys(IMPLEMENTATIONS[1:3], "not [built]"))
    flags = ["--rows", "mnist", "--work", "train", "--rounds", "2", "--threads", "1"]
    flags += ["--out", str(tmp_path / "a" / "b")]
    assert main(["bench", *flags]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-5:] for line in lines if line.split()[-5:-4] in (["plain"], ["jax"])] == [
        ["plain", "500.0", "200", "1.00", "64"],
        ["jax", "1,000.0", "100", "0.50", "64"],
    ]
    assert "failed: mnist, train, products: MemoryError: no room to run" in lines
    assert "left out: engine-float32, engine-mixed (not [built])" in lines
    assert any("the optimiser is not in it" in line for line in lines)
    files = [tmp_path / "a" / "b" / name for name in ("bench.json", "bench.txt", "bench.png")]
    assert lines[-3:] == [str(path) for path in files]
    assert files[1].read_text().splitlines() == lines[:-3]
    content = json.loads(files[0].read_text())
    assert [row["implementation"] for row in content["rows"]] == ["plain", "jax"]
    assert content["failed"] == [
        {"preset": "mnist", "work": "train", "implementation": "products", "error": "MemoryError: no room to run"}
    ]
    assert files[2].read_bytes().startswith(b"\x89PNG")


def test_where_all_fail_there_is_no_picture(fakes: dict[str, list[str]], tmp_path: Path) -> None:
    fakes["plain"] = ["never"]
    flags = ["--rows", "mnist", "--work", "train", "--implementations", "plain", "--out", str(tmp_path / "out")]
    assert main(["bench", *flags]) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"bench.json", "bench.txt"}


@pytest.mark.parametrize(
    ("scan", "field", "values"),
    [("steps", "num_glimpses", (2, 5)), ("batch", "batch_size", (1, 512)), ("side", "height", (9, 30))],
)
def test_a_scan_changes_one_thing(
    scan: str,
    field: str,
    values: tuple[int, ...],
    fakes: dict[str, list[str]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    flags = ["--values", *map(str, values), "--implementations", "jax", "--rounds", "1", "--out", str(tmp_path)]
    assert main(["bench", "--scan", scan, *flags, "--json", "--threads", "1"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["scan"] == scan
    assert [row[field] for row in content["rows"]] == list(values)
    plain = vars(ROWS["mnist"]) | {"batch_size": 100, "threads": 1}
    for row, value in zip(content["rows"], values, strict=True):
        changed = {field: value} | ({"width": value} if scan == "side" else {})
        assert row.items() >= (plain | changed).items()
        assert (row["preset"], row["work"], row["ratio_to_plain"]) == ("mnist", "train", None)
    assert (tmp_path / "bench.png").is_file()
    text = (tmp_path / "bench.txt").read_text()
    assert scan in text.splitlines()[1].split()


def test_threads_are_scanned_up_to_those_asked_for(
    fakes: dict[str, list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "use_threads", lambda threads: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert main(["bench", "--scan", "threads", "--implementations", "jax", "--rounds", "1", "--json"]) == 0
    assert [row["threads"] for row in json.loads(capsys.readouterr().out)["rows"]] == [1, 2, 3]


def test_the_command_passes_sizes_and_threads_on() -> None:
    case = Case("mnist", "sample", CONFIGS[1], batch_size=9, threads=2)
    *start, spec = bench._command(case, "jax", "some-python")
    assert start == ["some-python", str(JAX_SCRIPT)]
    assert json.loads(spec) == {
        "work": "sample", "config": vars(CONFIGS[1]), "batch_size": 9, "threads": 2, "implementation": "jax",
    }  # fmt: skip
    assert bench._command(case, "plain", "some-python")[0] == sys.executable


def test_interrupting_ends_the_workers_and_gives_130(
    fakes: dict[str, list[str]], log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes["jax"] = ["1", "interrupt"]
    assert main(["bench", "--rows", "mnist", "--work", "train", "--threads", "1", "--json"]) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "drawnet: stopped"
    assert pids(log).keys() == set(IMPLEMENTATIONS)
    assert not any(map(is_running, pids(log).values()))


def test_what_is_wrong_with_the_flags_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for flags, message in {
        "--rows mnits": "mnits",
        "--work training": "training",
        "--implementations tensorflow": "tensorflow",
        "--batch-size 0": "--batch-size is 0: it must be at least 1",
        "--rounds 0": "--rounds is 0: it must be at least 1",
        "--threads 0": "--threads is 0",
        "--scan depth": "depth",
        "--values 3": "--values is for a --scan",
        "--scan steps --values 0 3": "--values has 0",
        "--scan steps --work sample": "--work is sample: a scan is of train alone",
        "--jax-python /nonexistent/python": "must be a Python executable",
        "--work sample --implementations engine-mixed": "none of engine-mixed can be timed",
    }.items():
        assert message in fails(capsys, "bench", *flags.split(), "--out", str(tmp_path / "out"))
    no_jax = tmp_path / "python"
    no_jax.write_text("#!/bin/sh\nexit 1\n")
    no_jax.chmod(0o755)
    assert "has no JAX" in fails(capsys, "bench", "--jax-python", str(no_jax))
    assert not (tmp_path / "out").exists()
    for field in ("batch_size", "threads"):
        with pytest.raises(ValueError, match=f"{field} is 0"):
            Case("mnist", "train", CONFIGS[0], **{field: 0})
    with pytest.raises(ValueError, match="rounds is 0"):
        measure(Case("mnist", "train", CONFIGS[0]), ["plain"], 0)


def test_the_flags_offer_what_there_is() -> None:
    assert get_args(command.Row) == tuple(ROWS)
    assert get_args(command.Work) == get_args(bench.Work)
    assert get_args(command.Implementation) == IMPLEMENTATIONS
    assert command.SCANNED.keys() == set(SCANS) == set(get_args(bench.Scan))
