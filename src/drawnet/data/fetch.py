"""Fetch files with checksums; where they are kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int | None], None]  # bytes done, bytes in total or None where that is unknown


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        url: where it is.
        sha256: of its contents, in hexadecimal; None where the publisher states only `md5`.
        num_bytes: its size.
        md5: of its contents, in hexadecimal; looked at only without a sha256.
    """

    url: str
    sha256: str | None
    num_bytes: int
    md5: str | None = None

    def __post_init__(self) -> None:
        assert self.sha256 or self.md5, self.url

    @property
    def name(self) -> str:
        """The last part of the URL, which the file is also called here."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def checksum(self) -> str:
        """The algorithm and the checksum: `sha256 1de3...` or `md5 c32a...`."""
        return f"sha256 {self.sha256}" if self.sha256 else f"md5 {self.md5}"


def data_folders(name: str) -> list[Path]:
    """Where the files of the data set `name` may be, in the order in which to look; the first is for new ones.

    `$DRAWNET_DATA/name` if that variable is set, then `$XDG_CACHE_HOME/drawnet/name` (`~/.cache/drawnet/name` if
    that is not set).

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    folders = []
    if root := os.environ.get("DRAWNET_DATA"):
        if not Path(root).is_dir():
            raise ValueError(f"DRAWNET_DATA is {root!r}, which is not a folder: make it, or unset DRAWNET_DATA")
        folders.append(Path(root) / name)
    cache = os.environ.get("XDG_CACHE_HOME")
    folders.append((Path(cache) if cache else Path.home() / ".cache") / "drawnet" / name)
    return folders


def find_folder(name: str, parts: Iterable[str]) -> Path | None:
    """The first folder of `data_folders(name)` that has all of some files or folders; None if there is none.

    Raises:
        ValueError: DRAWNET_DATA is not a folder.
    """
    parts = list(parts)
    for folder in data_folders(name):
        if all((folder / part).exists() for part in parts):
            return folder
    return None


def not_fetched(dataset: str, name: str) -> FileNotFoundError:
    """The error that says where the files of a data set are not, and how to get them.

    Args:
        dataset: what `drawnet data get` calls it.
        name: of its folder.
    """
    looked_in = " or ".join(str(folder) for folder in data_folders(name))
    return FileNotFoundError(
        f"{dataset} is not in {looked_in}\n"
        f"fetch it with `drawnet data get {dataset}`, or set DRAWNET_DATA to the folder that has {name}/"
    )


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether the contents of a file have a checksum.

    Args:
        path: the file.
        checksum: algorithm and hexadecimal digits, as `RemoteFile.checksum`.

    Raises:
        OSError: it cannot be read.
    """
    digest = _digest(checksum)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return _written(digest) == checksum


def _digest(checksum: str) -> Digest:
    """A fresh digest of the algorithm that `checksum` names."""
    # Python can be built to refuse md5 as unsafe; here it finds damage, where the publisher states nothing better.
    return hashlib.new(checksum.split()[0], usedforsecurity=False)


def _written(digest: Digest) -> str:
    return f"{digest.name} {digest.hexdigest()}"


def fetch_all(files: Collection[RemoteFile], folder: Path, progress: Progress | None = None) -> None:
    """`fetch` each file that is not there yet; `progress` sees them as one.

    Raises:
        ValueError: what came is not the published file.
        OSError: the network failed, or a file cannot be written.
    """
    total, before = sum(file.num_bytes for file in files), 0
    for file in files:

        def shifted(done: int, _: int | None, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        fetch(file, folder, shifted)
        before += file.num_bytes


def check_published(path: Path, file: RemoteFile, dataset: str) -> None:
    """Refuse a file that is not the published one.

    Args:
        path: the file.
        file: what it must be.
        dataset: what `drawnet data get` calls the data set.

    Raises:
        ValueError: its size or checksum is another.
        OSError: it cannot be read.
    """
    again = f"`drawnet data get {dataset}` fetches it again"
    if (num_bytes := path.stat().st_size) != file.num_bytes:
        raise ValueError(f"{path} has {num_bytes} bytes, expected {file.num_bytes}: {again}")
    if not has_checksum(path, file.checksum):
        raise ValueError(f"{path} is not the published file, whose checksum is {file.checksum}: {again}")


def fetch(file: RemoteFile, folder: Path, progress: Progress | None = None, timeout_seconds: float = 30.0) -> Path:
    """Download `file` into `folder`, unless it is there already with the right checksum.

    It is written under a temporary name in the same folder, flushed and renamed. Whatever goes wrong, the temporary
    file is removed and a file of that name that was there before stays as it was; only a complete download with the
    right checksum replaces it.

    Args:
        file: what to fetch.
        folder: made if it does not exist.
        progress: called with the bytes done and in total (None if the server does not say).
        timeout_seconds: for connecting, and for each wait for data.

    Returns:
        The file's path.

    Raises:
        ValueError: what came does not have the size or the checksum of the published file.
        OSError: the network failed, or the file cannot be written.
    """
    path = folder / file.name
    if path.is_file() and path.stat().st_size == file.num_bytes and has_checksum(path, file.checksum):
        if progress is not None:
            progress(file.num_bytes, file.num_bytes)
        return path
    temporary = folder / f".{file.name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as target:
                _download(file, target.write, progress, timeout_seconds)
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(path)
        finally:  # Ctrl-C as well; after the rename there is nothing left to remove
            temporary.unlink(missing_ok=True)
    except _NetworkError:
        raise
    except OSError as error:
        raise OSError(f"cannot write {path}: {error}; make room, or set DRAWNET_DATA to another folder") from error
    return path


class _NetworkError(OSError):
    """Reading from the network failed, as opposed to writing the file."""


def _download(
    file: RemoteFile, write: Callable[[bytes], object], progress: Progress | None, timeout_seconds: float
) -> None:
    digest, done = _digest(file.checksum), 0
    for chunk, total in _chunks(file.url, timeout_seconds):
        write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if done > file.num_bytes:
            break
        if progress is not None:
            progress(done, total)
    if done != file.num_bytes or _written(digest) != file.checksum:
        size = f"more than {file.num_bytes}" if done > file.num_bytes else f"{done}"
        raise ValueError(
            f"{file.url} is not the published file: {size} bytes, {_written(digest)}; expected "
            f"{file.num_bytes} bytes, {file.checksum}. Nothing was kept; try again, or get the file elsewhere"
        )


def _chunks(url: str, timeout_seconds: float) -> Iterator[tuple[bytes, int | None]]:
    """The body in pieces, each with the size that the server states."""
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as response:
            total = response.length  # what is left to read: before the first read, the Content-Length
            while chunk := response.read(_CHUNK_BYTES):
                done += len(chunk)
                yield chunk, total
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError(f"cannot fetch {url}: {error}; check the network and try again") from error
    if total is not None and done < total:
        raise _NetworkError(f"cannot fetch {url}: the connection ended after {done} of {total} bytes; try again")
