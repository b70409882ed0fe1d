"""Flags from frozen dataclasses, and the flags that several verbs share."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

Options = TypeVar("Options")


def parse(cls: type[Options], arguments: Sequence[str], prog: str, default: Any = None) -> Options:
    """Fill a dataclass from flags. `--help` prints and exits.

    Args:
        cls: fields become flags, their docstrings help; nested dataclasses are flattened.
        arguments: the flags.
        prog: the command so far, for the messages.
        default: an instance to start from.

    Raises:
        ValueError: a flag is unknown, missing or has a bad value.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                cls,
                args=list(arguments),
                prog=prog,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
                **({} if default is None else {"default": default}),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(_in_two_lines(printed.getvalue(), prog)) from None


def command_line(*words: str) -> str:
    """The command that a person typed, for reports."""
    return shlex.join(["drawnet", *words])


def use_threads(threads: int | None) -> None:
    """Set the number of CPU threads; None leaves torch's choice.

    Raises:
        ValueError: below 1.
    """
    import torch

    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"--threads is {threads}: it must be at least 1")
    torch.set_num_threads(threads)


def check_device(name: str) -> str:
    """A device that torch can put a tensor on.

    Raises:
        ValueError: unknown, or not on this machine.
    """
    import torch

    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device is {name!r}, which cannot be used here: {str(error).splitlines()[0]}") from error
    return name


def _in_two_lines(box: str, prog: str) -> str:
    """What the parser drew in a box, as a sentence and a pointer."""
    lines = [line.strip("│╭╮╰╯─ ").strip() for line in box.splitlines()]
    title_and_text = [line for line in lines if line]
    message = title_and_text[1] if len(title_and_text) > 1 else "cannot read the flags"
    suggestions = dict.fromkeys(re.findall(r"--[a-z][a-z0-9-]*", "\n".join(lines[2:]).split("For full helptext")[0]))
    close = [flag for flag in suggestions if flag not in message]
    hint = f" (did you mean {close[0]}?)" if "nrecognized" in message and close else ""
    return f"{message}{hint}\nSee {prog} --help"
