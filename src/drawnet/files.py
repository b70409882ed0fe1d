"""Files that appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when the block ends, and goes if it fails.

    Folders above `path` are created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")  # the suffix stays: it tells writers the format
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno is None or str(error.filename or temporary) != str(temporary):
            raise
        # A full disk does not say which file, and other reasons name the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def save_picture(picture: Image.Image, path: Path | str) -> None:
    """Write a picture in the format of the path's suffix; equal pictures give equal bytes."""
    with replacing(path) as temporary:
        picture.save(temporary, optimize=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented.

    Raises:
        OSError: no space, no permission; an older file is as it was.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
