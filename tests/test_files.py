"""Files that appear whole or not at all."""

import errno
import json
from pathlib import Path

import pytest

from drawnet.files import replacing, write_json


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, {"nats": 1})
    with pytest.raises(OSError, match="full"):
        write_half(path)
    assert json.loads(path.read_text()) == {"nats": 1}
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")


def test_folders_are_made(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", [1, 2])
    assert (tmp_path / "a" / "b.json").read_text() == "[\n  1,\n  2\n]\n"


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as raised, replacing(tmp_path / "picture.png"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as a write to an open file does
    assert raised.value.filename == str(tmp_path / "picture.png")


def test_a_folder_that_takes_no_files_is_told_with_the_name_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    (tmp_path / ".partial-a.txt").symlink_to(tmp_path / "nowhere" / "a.txt")
    with pytest.raises(FileNotFoundError) as caught, replacing(path) as temporary:
        temporary.write_text("content")
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())
