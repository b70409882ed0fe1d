"""A server of files on this machine, and a data folder of one's own."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Its address, the folder that it serves and the paths that were asked for."""
    root, requests = tmp_path / "served", []
    root.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *_: object) -> None:
            requests.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", root, requests
        server.shutdown()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DRAWNET_DATA, an empty folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("DRAWNET_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder
