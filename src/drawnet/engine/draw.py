"""DRAW's likelihood with its gradient, and its drawing, by the compiled engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from drawnet.engine import instruction_sets, native
from drawnet.nn.attention import Window

# The order in which the native code wants the parameters of `drawnet.models.draw.Draw`.
NAMES = (
    *(
        f"{lstm}.{kind}_{gate}"
        for lstm in ("encoder", "decoder")
        for kind in ("weight", "bias")
        for gate in ("ih", "hh")
    ),
    *(f"{linear}.{kind}" for linear in ("mu", "log_sigma", "write") for kind in ("weight", "bias")),
    *(f"{which}_attention.linear.{kind}" for which in ("read", "write") for kind in ("weight", "bias")),
    "canvas_0",
    "encoder_0",
    "decoder_0",
)
MAX_IDLE_ENGINES = 4


@dataclass(frozen=True)
class Sizes:
    """Of a network and a batch; `read` and `write` are N of the grids, 0 without attention."""

    batch: int
    channels: int
    height: int
    width: int
    steps: int
    hidden: int
    latent: int
    read: int
    write: int


class _Engine:
    """A native engine on loan from those that lie idle; back among them when nothing refers to it any more."""

    _idle: list[tuple[tuple, Any]] = []  # noqa: RUF012  the newest last

    def __init__(self, sizes: Sizes, *, mixed: bool, keep: bool) -> None:
        self._key = (*astuple(sizes), mixed, keep, torch.get_num_threads(), instruction_sets()[-1][0])
        for n, (key, idle) in enumerate(self._idle):
            if key == self._key:
                engine = idle
                del self._idle[n]
                break
        else:
            module = native()
            assert module is not None
            settings = dict(vars(sizes), mixed=mixed, keep=keep)
            engine = module.Engine(**settings, threads=self._key[-2], instruction_set=self._key[-1])
        self.native = engine

    def __del__(self) -> None:
        if hasattr(self, "native"):
            self._idle.append((self._key, self.native))
            del self._idle[:-MAX_IDLE_ENGINES]


def fits(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the engine can compute with these tensors: float32 on the CPU, and nobody traces or transforms them."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return all(t is None or (t.dtype == torch.float32 and t.device.type == "cpu") for t in tensors)


class _Infer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, sizes: Sizes, mixed: bool, keep: bool, x: Tensor, noise: Tensor, sampled: bool, *parameters: Tensor | None
    ):
        engine = _Engine(sizes, mixed=mixed, keep=keep)
        reconstruction, kl = x.new_empty(sizes.batch), x.new_empty(sizes.batch, sizes.steps)
        engine.native.load([None if p is None else p.detach().contiguous() for p in parameters])
        engine.native.infer(x.detach().contiguous(), noise, sampled, reconstruction, kl)
        if keep:
            ctx.engine, ctx.noise, ctx.sampled = engine, noise, sampled
            ctx.save_for_backward(*parameters)  # for the check that nobody has changed them meanwhile
        return reconstruction, kl

    @staticmethod
    @once_differentiable
    def backward(ctx, d_reconstruction: Tensor, d_kl: Tensor):  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = [
            None if p is None else torch.empty_like(p, memory_format=torch.contiguous_format)
            for p in ctx.saved_tensors
        ]
        ctx.engine.native.backward(ctx.noise, ctx.sampled, d_reconstruction.contiguous(), d_kl.contiguous(), gradients)
        return (None, None, None, None, None, None, *gradients)


def infer(
    sizes: Sizes,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "batch channel height width"],
    noise: Float[Tensor, "steps batch latent"],
    *,
    sampled: bool,
    mixed: bool,
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch steps"]]:
    """Reconstruction and KL nats of eqs. (9-12), differentiable in the parameters (once).

    Args:
        sizes: of network and batch.
        parameters: the network's, by name.
        x: images in [0, 1].
        noise: the standard normal draws of eq. (6).
        sampled: log Q(z|x) - log P(z) of the z drawn in place of the KL.
        mixed: bf16 factors in the matrix products.
    """
    keep = torch.is_grad_enabled() and any(p.requires_grad for p in parameters.values())
    return _Infer.apply(sizes, mixed, keep, x, noise, sampled, *map(parameters.get, NAMES))  # type: ignore


def steps(
    sizes: Sizes,
    parameters: dict[str, Tensor],
    x: Float[Tensor, "batch channel height width"] | None,
    noises: Iterable[Float[Tensor, "batch latent"]],
) -> Iterator[tuple[Tensor, Window | None, Window | None]]:
    """Draw step by step: sigma(c_t), and the windows of reader and writer where there are such.

    Args:
        sizes: of network and batch.
        parameters: the network's, by name.
        x: images to read (3-8); None generates (13-16).
        noises: one draw a step: epsilon of eq. (6), or z itself when generating.
    """
    engine = _Engine(sizes, mixed=False, keep=False)  # on loan as long as this generator lives
    tensors = [None if p is None else p.detach().contiguous() for p in map(parameters.get, NAMES)]
    engine.native.load(tensors, reads=x is not None)
    for t, noise in enumerate(noises):
        canvas = noise.new_empty(sizes.batch, sizes.channels, sizes.height, sizes.width)
        read = noise.new_empty(sizes.batch, 5) if sizes.read and x is not None else None
        write = noise.new_empty(sizes.batch, 5) if sizes.write else None
        engine.native.step(t, x, noise, canvas, read, write)
        yield canvas, _window(read, sizes.read), _window(write, sizes.write)


def _window(values: Tensor | None, grid_size: int) -> Window | None:
    """From what the native code says of it, `[batch, 5]`."""
    if values is None:
        return None
    center_x, center_y, stride, sigma, gamma = values.unbind(1)
    return Window(center_x, center_y, stride, sigma, gamma, grid_size)
