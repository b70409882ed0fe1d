"""The build backend: scikit-build-core, and where the native code cannot be built, the package without it.

No compiler, no CMake, an old compiler: whatever the reason, drawnet installs and runs on plain PyTorch. With the
environment variable SKBUILD_WHEEL_CMAKE, "false" leaves the native code out on purpose and "true" insists on it.
"""

import os
from collections.abc import Callable

from scikit_build_core import build as scikit_build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

Settings = dict[str, list[str] | str]


def build_wheel(directory: str, settings: Settings | None = None, metadata: str | None = None) -> str:
    """PEP 517's hook."""
    return _build(scikit_build.build_wheel, directory, settings, metadata)


def build_editable(directory: str, settings: Settings | None = None, metadata: str | None = None) -> str:
    """PEP 660's hook."""
    return _build(scikit_build.build_editable, directory, settings, metadata)


def _build(hook: Callable[..., str], directory: str, settings: Settings | None, metadata: str | None) -> str:
    settings = settings or {}
    try:
        return hook(directory, settings, metadata)
    except (Exception, SystemExit) as error:  # scikit-build-core exits where CMake or the compiler fails
        if "wheel.cmake" in settings or "SKBUILD_WHEEL_CMAKE" in os.environ:
            raise
        print(f"*** No native code ({error!r}): building drawnet as pure Python.", flush=True)
        return hook(directory, settings | {"wheel.cmake": "false"}, metadata)
