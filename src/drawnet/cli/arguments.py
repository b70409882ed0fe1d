"""Flags from frozen dataclasses, and the flags that several verbs share."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import tyro

Options = TypeVar("Options")
Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]


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
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands),
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
    """What the parser drew in a box (a title, then sections between rules) as a sentence and a pointer."""
    sections: list[list[str]] = [[]]
    for line in box.strip().splitlines()[1:]:
        text = line.strip().strip("│|").strip()
        if not text or re.search("[─-]{3}", text):  # the frame or a rule
            sections.append([])
        else:
            sections[-1].append(text)
    message, *others = [" ".join(lines) for lines in sections if lines] or ["the flags cannot be read"]
    suggestion = next((re.search(r"--[a-z0-9-]+", text) for text in others if text.startswith("Perhaps")), None)
    hint = f" (did you mean {suggestion.group()}?)" if suggestion else ""
    return f"{message}{hint}\nSee {prog} --help"
