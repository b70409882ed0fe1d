"""Every test runs with the shapes and types in drawnet's signatures checked."""

import signal

import jaxtyping
import pytest
import torch

# Modules imported from here on are instrumented, so this stands before any import of drawnet.
jaxtyping.install_import_hook("drawnet", "checker.check")

# The tensors here are tiny: more threads only wait for each other.
torch.set_num_threads(1)


# A shell starts a command in the background with Ctrl-C ignored, and the tests of Ctrl-C would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user has: no shape checker in front of the package's own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
