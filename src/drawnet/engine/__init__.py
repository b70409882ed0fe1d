"""The fast CPU path of DRAW: the equations of `drawnet.models.draw` in C++, derivative written by hand.

Plain PyTorch is the definition of the model; this is an implementation of it that the model takes where it can. What
the native code does is in `native/`: `attention.h` (eqs. 19-29), `forward.h` (3-16), `backward.h` (their derivative),
`reading.h` (19-27 alone, for classifiers).
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from types import ModuleType
from typing import Literal, get_args

Choice = Literal["auto", "plain", "float32", "mixed"]


@functools.cache
def native() -> ModuleType | None:
    """The compiled module, or None (after one warning) where the package was installed without a compiler."""
    try:
        return importlib.import_module("drawnet.engine._native")  # torch first: both then share its OpenMP threads
    except ImportError as error:
        warnings.warn(f"the compiled engine is not there ({error}): DRAW runs on plain PyTorch, slower", stacklevel=2)
        return None


def precision(choice: Choice, *, training: bool) -> Literal["float32", "mixed"] | None:
    """How the engine is to compute, or None for plain PyTorch.

    "auto" stands for the environment variable DRAWNET_ENGINE, and where that is not set for the fastest: mixed
    precision on processors that multiply bf16 in hardware, otherwise float32 (docs/performance.md). Without
    gradients, in evaluation and sampling, it is always float32.

    Args:
        choice: "plain" is PyTorch, "float32" equals it within rounding, "mixed" rounds the factors of the matrix
            products to bf16 and keeps their sums, the states, the canvas and the KL in float32.
        training: gradients are wanted.

    Raises:
        ValueError: the choice, or that in DRAWNET_ENGINE, is none of the four.
    """
    source = "engine"
    if choice == "auto":
        source, choice = "DRAWNET_ENGINE", os.environ.get("DRAWNET_ENGINE") or "auto"  # type: ignore[assignment]
    if choice not in get_args(Choice):
        raise ValueError(f"{source} is {choice!r}: it must be {', '.join(get_args(Choice))}")
    if choice == "plain" or native() is None:
        return None
    if not training:
        return "float32"
    if choice == "auto":
        return "mixed" if instruction_sets()[-1][1] else "float32"
    return choice


@functools.cache
def instruction_sets() -> list[tuple[str, bool]]:
    """What this processor can run, the best last: its name, and whether it multiplies bf16 in hardware."""
    module = native()
    return [] if module is None else module.instruction_sets()
