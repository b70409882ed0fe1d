"""DRAW in JAX: one jitted `lax.scan`, to be timed beside drawnet's own.

    drawnet bench --jax-python PYTHON     starts this script with a Python that has jax; it needs nothing of drawnet

The same network, loss and parameter names as `drawnet.models.draw.Draw` in float32 (tests/test_bench.py compares
nats and gradients where both libraries are installed). The two maps of an LSTM are one product, and so are maps with
the same input. Noise is drawn within the step, by JAX's own generator.

The only argument is a JSON object: work, config (the fields of `DrawConfig`), batch_size, threads. The process writes
`ready` once it has compiled and warmed up, then answers every line on its standard input: `run` with the seconds of
one step, `peak` with the most memory it has held, in MiB.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp

LOG_LIMIT = 10.0
HIGH = jax.lax.Precision.HIGHEST  # float32 products, also where a processor has something shorter


def parameter_shapes(cfg: dict) -> dict[str, tuple[int, ...]]:
    """Names and shapes, as in `Draw.state_dict()`."""
    hidden, latent, read, write = cfg["hidden_size"], cfg["latent_size"], cfg["read_size"], cfg["write_size"]
    image = cfg["num_channels"], cfg["height"], cfg["width"]
    num_values = image[0] * image[1] * image[2]
    glimpse = 2 * (num_values if read is None else image[0] * read**2)
    linear = {"write": (num_values if write is None else image[0] * write**2), "mu": latent, "log_sigma": latent}
    linear |= {f"{who}_attention.linear": 5 for who, size in (("read", read), ("write", write)) if size is not None}
    shapes = {"canvas_0": image, "encoder_0": (2, hidden), "decoder_0": (2, hidden)}
    for name, size in linear.items():
        shapes |= {f"{name}.weight": (size, hidden), f"{name}.bias": (size,)}
    for name, size in (("encoder", glimpse + hidden), ("decoder", latent)):
        shapes |= {f"{name}.weight_ih": (4 * hidden, size), f"{name}.weight_hh": (4 * hidden, hidden)}
        shapes |= {f"{name}.bias_ih": (4 * hidden,), f"{name}.bias_hh": (4 * hidden,)}
    return shapes


def joined(p: dict, *names: str) -> tuple[jax.Array, jax.Array]:
    """Weight `[input, outputs]` and bias of several linear maps of the same input; names not in `p` are left out."""
    names = tuple(name for name in names if f"{name}.weight" in p)
    return jnp.concatenate([p[f"{n}.weight"] for n in names]).T, jnp.concatenate([p[f"{n}.bias"] for n in names])


def lstm_map(p: dict, name: str) -> tuple[jax.Array, jax.Array]:
    """Weight `[input + hidden, 4 hidden]` and bias of an LSTM."""
    weight = jnp.concatenate([p[f"{name}.weight_ih"], p[f"{name}.weight_hh"]], 1).T
    return weight, p[f"{name}.bias_ih"] + p[f"{name}.bias_hh"]


def affine(x: jax.Array, weight_and_bias: tuple[jax.Array, jax.Array]) -> jax.Array:
    """A linear map with bias."""
    weight, bias = weight_and_bias
    return jnp.dot(x, weight, precision=HIGH) + bias


def lstm(weight_and_bias: tuple[jax.Array, jax.Array], x: jax.Array, state: tuple) -> tuple[jax.Array, jax.Array]:
    """torch's cell: input, forget, cell, output."""
    h, c = state
    i, f, g, o = jnp.split(affine(jnp.concatenate([x, h], 1), weight_and_bias), 4, 1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def filters(center: jax.Array, stride: jax.Array, sigma: jax.Array, n: int, num_pixels: int) -> jax.Array:
    """Eqs. (19, 20, 25, 26), `[batch, n, num_pixels]`; pixels are counted from 1."""
    mu = center[:, None] + (jnp.arange(1, n + 1) - n / 2 - 0.5) * stride[:, None]
    u = (jnp.arange(1, num_pixels + 1) - mu[:, :, None]) / sigma[:, None, None]
    return jax.nn.softmax(-0.5 * u**2, axis=-1)


def window(five: jax.Array, n: int, height: int, width: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """F_Y, F_X and gamma, eqs. (21-26)."""
    log_variance, log_delta, log_gamma = jnp.clip(five[:, 2:], -LOG_LIMIT, LOG_LIMIT).T
    stride = (max(height, width) - 1) / (n - 1) * jnp.exp(log_delta)
    sigma = jnp.exp(0.5 * log_variance)
    f_x = filters((width + 1) / 2 * (five[:, 0] + 1), stride, sigma, n, width)
    f_y = filters((height + 1) / 2 * (five[:, 1] + 1), stride, sigma, n, height)
    return f_y, f_x, jnp.exp(log_gamma)[:, None, None, None]


def product(*factors: jax.Array) -> jax.Array:
    """Products of the last two axes, from left to right, over batch and channels."""
    result, *rest = factors
    for factor in rest:
        result = jnp.matmul(result, factor, precision=HIGH)
    return result


def reader(p: dict, cfg: dict, x: jax.Array, x_hat: jax.Array, h_dec: jax.Array) -> jax.Array:
    """Eqs. (17, 27)."""
    images = jnp.concatenate([x, x_hat], 1)
    if cfg["read_size"] is None:
        return images.reshape(len(x), -1)
    five = affine(h_dec, joined(p, "read_attention.linear"))
    f_y, f_x, gamma = window(five, cfg["read_size"], cfg["height"], cfg["width"])
    return (gamma * product(f_y[:, None], images, f_x[:, None].mT)).reshape(len(x), -1)


def writer(p: dict, cfg: dict, h_dec: jax.Array) -> jax.Array:
    """Eqs. (18, 29)."""
    batch, num_channels, n = len(h_dec), cfg["num_channels"], cfg["write_size"]
    out = affine(h_dec, joined(p, "write", "write_attention.linear"))
    if n is None:
        return out.reshape(batch, num_channels, cfg["height"], cfg["width"])
    patch, five = out[:, :-5].reshape(batch, num_channels, n, n), out[:, -5:]
    f_y, f_x, gamma = window(five, n, cfg["height"], cfg["width"])
    return product(f_y[:, None].mT, patch, f_x[:, None]) / gamma


def start(p: dict, name: str, batch: int) -> tuple[jax.Array, ...]:
    """A learned first state for every image."""
    return tuple(jnp.broadcast_to(v, (batch, *v.shape)) for v in p[f"{name}_0"])


def canvas_0(p: dict, batch: int) -> jax.Array:
    """c_0 for every image."""
    return jnp.broadcast_to(p["canvas_0"], (batch, *p["canvas_0"].shape))


def nats(p: dict, x: jax.Array, noise: jax.Array, cfg: dict) -> jax.Array:
    """Lx + Lz of every image, eqs. (3-12); noise is `[steps, batch, latent]`."""
    batch = len(x)
    encoder, decoder, heads = lstm_map(p, "encoder"), lstm_map(p, "decoder"), joined(p, "mu", "log_sigma")

    def step(carry: tuple, e: jax.Array) -> tuple[tuple, jax.Array]:
        enc, dec, c = carry
        r = reader(p, cfg, x, x - jax.nn.sigmoid(c), dec[0])
        enc = lstm(encoder, jnp.concatenate([r, dec[0]], 1), enc)
        mu, log_sigma = jnp.split(affine(enc[0], heads), 2, 1)
        dec = lstm(decoder, mu + jnp.exp(log_sigma) * e, dec)
        kl = 0.5 * (mu**2 + jnp.exp(2 * log_sigma) - 2 * log_sigma - 1).sum(1)
        return (enc, dec, c + writer(p, cfg, dec[0])), kl

    carry = start(p, "encoder", batch), start(p, "decoder", batch), canvas_0(p, batch)
    (_, _, c), kl = jax.lax.scan(step, carry, noise)
    reconstruction = jnp.maximum(c, 0) - c * x + jnp.log1p(jnp.exp(-jnp.abs(c)))
    return reconstruction.reshape(batch, -1).sum(1) + kl.sum(0)


def mean_nats(p: dict, x: jax.Array, noise: jax.Array, cfg: dict) -> jax.Array:
    """The loss of a minibatch."""
    return nats(p, x, noise, cfg).mean()


def frames(p: dict, noise: jax.Array, cfg: dict) -> jax.Array:
    """The means that the canvas holds after every step, eqs. (13-16)."""
    decoder = lstm_map(p, "decoder")

    def step(carry: tuple, z: jax.Array) -> tuple[tuple, jax.Array]:
        dec, c = carry
        dec = lstm(decoder, z, dec)
        c = c + writer(p, cfg, dec[0])
        return (dec, c), jax.nn.sigmoid(c)

    batch = noise.shape[1]
    return jax.lax.scan(step, (start(p, "decoder", batch), canvas_0(p, batch)), noise)[1]


def work_step(work: str, cfg: dict, batch_size: int) -> Callable[[], object]:
    """A function that does the work once and waits for the result."""
    keys = iter(jax.random.split(jax.random.key(0), 1000))
    p = {name: 0.05 * jax.random.normal(next(keys), shape) for name, shape in parameter_shapes(cfg).items()}
    image = cfg["num_channels"], cfg["height"], cfg["width"]
    x = jax.random.bernoulli(next(keys), shape=(batch_size, *image)).astype(jnp.float32)
    noise = partial(jax.random.normal, shape=(cfg["num_glimpses"], batch_size, cfg["latent_size"]))
    do = {
        "train": lambda p, x, key: jax.value_and_grad(mean_nats)(p, x, noise(key), cfg),
        "evaluate": lambda p, x, key: nats(p, x, noise(key), cfg),
        "sample": lambda p, x, key: frames(p, noise(key), cfg),
    }[work]
    compiled = jax.jit(do)
    fold = jax.jit(jax.random.fold_in)
    count = iter(range(2**31))
    return lambda: jax.block_until_ready(compiled(p, x, fold(jax.random.key(1), next(count))))


def peak_mib() -> float:
    """The most memory that this process has held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024  # KiB
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    """Build, warm up, answer."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not an answer
    spec = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):  # XLA has as many threads as it may use processors, and no other setting
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: spec["threads"]])
    step = work_step(spec["work"], spec["config"], spec["batch_size"])
    for _ in range(2):
        step()
    print("ready", file=answers)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(peak_mib(), file=answers)
            continue
        step()  # fills the caches that other processes have emptied
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, file=answers)


if __name__ == "__main__":
    main()
