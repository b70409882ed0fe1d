"""The `drawnet` command: one module a group of verbs, imported when its verb is called."""

from __future__ import annotations

import difflib
import importlib
import os
import sys

from drawnet import __version__

# verb: (module in this package, what it does). Nothing heavy is imported to print this.
VERBS = {
    "train": ("train", "train a preset, or a folder or array of your own images"),
    "evaluate": ("evaluate", "nats over a whole split, exact or a bound, with their standard error"),
    "sample": ("pictures", "new images: a grid, drawing sequences with their windows, an animation"),
    "reconstruct": ("pictures", "the model reading images and drawing them again, with both windows"),
    "complete": ("complete", "fill in the hidden part of images, several times"),
    "compare": ("compare", "models side by side: nats, size, time, samples"),
    "classify": ("classify", "find a digit among clutter, glimpse by glimpse: train, evaluate, show"),
    "zoom": ("zoom", "look at any picture through the attention: the paper's figure 4"),
    "figures": ("figures", "the paper's figures, from the weights that come with the package"),
    "bench": ("bench", "speed of DRAW: milliseconds, memory, ratios measured in one run"),
    "data": ("inventory", "list the data sets, or get one"),
    "models": ("inventory", "list the weights that come with the package"),
}
USAGE = "usage: drawnet VERB ...      (drawnet VERB --help tells the rest)"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 bad input, 130 interrupted.

    Args:
        arguments: as after `drawnet` on the command line; None takes the process's own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verb, *rest = arguments or ["--help"]
    if verb in ("-h", "--help"):
        print("\n".join([USAGE, "", *(f"  {name:<12} {what}" for name, (_, what) in VERBS.items())]))
        return 0
    if verb == "--version":
        print(f"drawnet {__version__}")
        return 0
    try:
        if verb not in VERBS:
            close = difflib.get_close_matches(verb, VERBS, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ValueError(f"no verb {verb!r}: there are {', '.join(VERBS)}{hint}")
        module = importlib.import_module(f"drawnet.cli.{VERBS[verb][0]}")
        return getattr(module, verb)(rest)
    except BrokenPipeError:  # the reader of our output has gone, as in `drawnet data list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError) as error:
        print(f"drawnet: {_message(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("drawnet: stopped", file=sys.stderr)
        return 130


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
