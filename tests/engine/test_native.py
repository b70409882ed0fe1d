"""No call from Python, however wrong, reaches memory that is not its own."""

import threading

import numpy as np
import pytest
import torch

from drawnet import engine
from drawnet.engine.draw import NAMES
from drawnet.models.draw import Draw, DrawConfig

native = engine.native()
pytestmark = pytest.mark.skipif(native is None, reason="installed without the compiled engine")

SIZES = {"batch": 3, "channels": 1, "height": 6, "width": 5, "steps": 2, "hidden": 4, "latent": 3}
SIZES |= {"read": 2, "write": 0}
CONFIG = DrawConfig(6, 5, num_glimpses=2, hidden_size=4, latent_size=3, read_size=2, write_size=None)


def make(**changes):
    settings = dict(SIZES, mixed=False, keep=True, threads=1, instruction_set=engine.instruction_sets()[-1][0])
    return native.Engine(**{**settings, **changes})


@pytest.fixture
def tensors():
    parameters = dict(Draw(CONFIG).named_parameters())
    return [parameters[name].detach() if name in parameters else None for name in NAMES]


@pytest.fixture
def arrays():
    return {
        "x": torch.rand(3, 1, 6, 5),
        "noise": torch.randn(2, 3, 3),
        "reconstruction": torch.empty(3),
        "kl": torch.empty(3, 2),
    }


def infer(e, arrays):
    e.infer(arrays["x"], arrays["noise"], False, arrays["reconstruction"], arrays["kl"])


@pytest.mark.parametrize(
    ("field", "value"),
    [(name, value) for name in SIZES for value in (-1, 10**9)]
    + [(name, 0) for name in SIZES if name not in ("read", "write")]
    + [("read", 1), ("write", 1), ("threads", 0), ("threads", 10**6)],
)
def test_sizes_out_of_range(field, value):
    with pytest.raises(ValueError, match=field):
        make(**{field: value})


def test_too_large_for_any_memory():
    with pytest.raises(MemoryError):
        make(batch=1 << 20, steps=1 << 16, hidden=1 << 15)


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match=r"instruction_set is 'sse9': this processor has baseline"):
        make(instruction_set="sse9")


@pytest.mark.parametrize("name", ["x", "noise", "reconstruction", "kl"])
def test_arrays_that_do_not_fit(name, tensors, arrays):
    e = make()
    e.load(tensors)
    good = arrays[name]
    for bad in (good[:-1], good.flatten()[:-1], good[None], torch.empty(0)):
        with pytest.raises(ValueError, match=f"{name} is"):
            infer(e, {**arrays, name: bad.contiguous()})
    strided = torch.empty(*good.shape, 2)[..., 0]
    for bad in (good.double(), good.int(), good.half(), strided, None, "x", good.tolist()):
        with pytest.raises(TypeError):
            infer(e, {**arrays, name: bad})
    infer(e, arrays)


def test_fortran_order_is_refused(tensors, arrays):
    e = make()
    e.load(tensors)
    with pytest.raises(TypeError):
        infer(e, {**arrays, "x": np.asfortranarray(arrays["x"].numpy())})


def test_read_only_memory_is_not_written(tensors, arrays):
    e = make()
    e.load(tensors)
    kl = np.zeros((3, 2), np.float32)
    kl.flags.writeable = False
    with pytest.raises((TypeError, ValueError)):
        infer(e, {**arrays, "kl": kl})


def test_weights_that_do_not_fit(tensors):
    e = make()
    for n, name in enumerate(NAMES):
        wrong = list(tensors)
        wrong[n] = torch.zeros(1, 2, 3)
        with pytest.raises(ValueError, match=name):
            e.load(wrong)
        wrong[n] = None
        if tensors[n] is not None:
            with pytest.raises(ValueError, match=f"{name} is None"):
                e.load(wrong)
    for wrong in ([], tensors[:-1], [*tensors, torch.zeros(1)]):
        with pytest.raises(ValueError, match=r"missing|too many"):
            e.load(wrong)


def test_shared_memory_is_refused(tensors, arrays):
    e = make()
    e.load(tensors)
    both = torch.empty(9)
    with pytest.raises(ValueError, match="shares memory"):
        infer(e, {**arrays, "reconstruction": both[:3], "kl": both[2:8].view(3, 2)})
    infer(e, {**arrays, "reconstruction": both[:3], "kl": both[3:].view(3, 2)})
    gradients = [None if t is None else torch.empty_like(t) for t in tensors]
    gradients[NAMES.index("mu.bias")] = gradients[NAMES.index("log_sigma.bias")]
    with pytest.raises(ValueError, match="shares memory"):
        e.backward(arrays["noise"], False, torch.ones(3), torch.ones(3, 2), gradients)


def test_the_order_of_calls(tensors, arrays):
    e = make()
    with pytest.raises(RuntimeError, match="before load"):
        infer(e, arrays)
    e.load(tensors)
    gradients = [None if t is None else torch.empty_like(t) for t in tensors]
    arguments = (arrays["noise"], False, torch.ones(3), torch.ones(3, 2), gradients)
    with pytest.raises(RuntimeError, match="backward without"):
        e.backward(*arguments)
    infer(e, arrays)
    e.backward(*arguments)
    e.load(tensors)
    with pytest.raises(RuntimeError, match="backward without"):
        e.backward(*arguments)
    with pytest.raises(RuntimeError, match="keep = False"):
        e.step(0, None, arrays["noise"][0], torch.empty(3, 1, 6, 5), None, None)


def test_steps_in_order_and_with_windows_that_exist(tensors, arrays):
    e = make(keep=False)
    e.load(tensors)
    z, canvas, window = arrays["noise"][0], torch.empty(3, 1, 6, 5), torch.empty(3, 5)
    with pytest.raises(RuntimeError, match="follow"):
        e.step(1, None, z, canvas, None, None)
    with pytest.raises(RuntimeError, match="no such window"):
        e.step(0, None, z, canvas, window, None)  # nothing is read in generation
    with pytest.raises(RuntimeError, match="no such window"):
        e.step(0, None, z, canvas, None, window)  # this network writes without attention
    e.step(0, arrays["x"], z, canvas, window, None)
    with pytest.raises(RuntimeError, match="follow"):
        e.step(1, None, z, canvas, None, None)
    e.step(1, arrays["x"], z, canvas, None, None)
    with pytest.raises(ValueError, match="t is 2"):
        e.step(2, arrays["x"], z, canvas, None, None)


def test_one_engine_in_two_threads(tensors):
    """Each call either does its work or is refused; the numbers of those that work are right."""
    sizes = {"batch": 64, "steps": 20}
    e = make(**sizes)
    e.load(tensors)
    x, noise = torch.rand(64, 1, 6, 5), torch.randn(20, 64, 3)
    expected = (torch.empty(64), torch.empty(64, 20))
    e.infer(x, noise, False, *expected)
    outcomes = []

    def work():
        for _ in range(30):
            own = (torch.empty(64), torch.empty(64, 20))
            try:
                e.infer(x, noise, False, *own)
                outcomes.append(all(map(torch.equal, own, expected)))
            except RuntimeError as error:
                outcomes.append("in use" in str(error))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 60


@pytest.mark.parametrize(
    "bad",
    [
        {"images": torch.rand(3, 6, 5)},
        {"images": torch.rand(0, 1, 6, 5)},
        {"parameters": torch.zeros(2, 5)},
        {"grid": 1},
        {"grid": 100000},
        {"threads": 0},
        {"patches": torch.empty(3, 1, 2, 3)},
    ],
)
def test_readings_that_do_not_fit(bad):
    good = {
        "images": torch.rand(3, 1, 6, 5),
        "parameters": torch.zeros(3, 5),
        "grid": 2,
        "threads": 1,
        "instruction_set": "baseline",
        "patches": torch.empty(3, 1, 2, 2),
    }
    native.read(*good.values())
    with pytest.raises(ValueError, match=next(iter(bad))):
        native.read(*{**good, **bad}.values())


def test_every_instruction_set_computes_the_same(tensors, arrays):
    for mixed in (False, True):
        results = []
        for name, _ in engine.instruction_sets():
            e = make(mixed=mixed, instruction_set=name)
            e.load(tensors)
            gradients = [None if t is None else torch.empty_like(t) for t in tensors]
            infer(e, arrays)
            e.backward(arrays["noise"], False, torch.ones(3), torch.ones(3, 2), gradients)
            results.append([arrays["kl"].clone(), *(g for g in gradients if g is not None)])
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-2 if mixed else 1e-4, atol=1e-3 if mixed else 1e-6)


def test_reading_with_weights_loaded_for_generation(tensors, arrays):
    e = make(keep=False)
    e.load(tensors, reads=False)
    with pytest.raises(RuntimeError, match="before load"):
        infer(e, arrays)
    canvas = torch.empty(3, 1, 6, 5)
    with pytest.raises(RuntimeError, match="without the encoder"):
        e.step(0, arrays["x"], arrays["noise"][0], canvas, None, None)
    e.step(0, None, arrays["noise"][0], canvas, None, None)
