"""Downloads from a server on this machine: complete and right, or nothing."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drawnet.data import binarized_mnist, load_dataset, registry
from drawnet.data.fetch import RemoteFile, check_published, data_folders, fetch, fetch_all

BODY = bytes(range(256)) * 10_000  # 2.56 MB: several pieces


class Handler(BaseHTTPRequestHandler):
    """`/whole/NAME` sends everything, `/half/NAME` breaks off, `/unknown/NAME` does not state a size."""

    requests: list[str]
    bodies: dict[str, bytes]

    def do_GET(self) -> None:
        how, name = self.path.strip("/").split("/")
        self.requests.append(self.path)
        if name not in self.bodies:
            self.send_error(404)
            return
        body = self.bodies[name]
        self.send_response(200)
        if how != "unknown":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if how == "half" else body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("OwnHandler", (Handler,), {"requests": [], "bodies": {"a.bin": BODY}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()


def described(url: str, body: bytes = BODY) -> RemoteFile:
    return RemoteFile(url, hashlib.sha256(body).hexdigest(), len(body))


@pytest.mark.parametrize("how", ["whole", "unknown"])
def test_success(server: tuple[str, type[Handler]], tmp_path: Path, how: str) -> None:
    seen = []
    folder = tmp_path / "new" / "folder"
    file = described(f"{server[0]}/{how}/a.bin")
    path = fetch(file, folder, lambda done, total: seen.append((done, total)))
    assert path == folder / "a.bin"
    assert path.read_bytes() == BODY
    assert [p.name for p in folder.iterdir()] == ["a.bin"]
    assert seen[-1] == (len(BODY), len(BODY) if how == "whole" else None)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    fetch(file, folder)
    assert len(server[1].requests) == 1  # not fetched again


@pytest.mark.parametrize("before", [None, b"mine"])
def test_failures_leave_the_folder_as_it_was(
    server: tuple[str, type[Handler]], tmp_path: Path, before: bytes | None
) -> None:
    url, path = server[0], tmp_path / "a.bin"
    if before is not None:
        path.write_bytes(before)
    other = bytes(len(BODY))
    for file, error, message in [
        (described(f"{url}/whole/a.bin", other), ValueError, "is not the published file"),
        (described(f"{url}/whole/a.bin", BODY[:1000]), ValueError, "more than 1000"),
        (described(f"{url}/half/a.bin"), OSError, "ended after 1280000 of 2560000 bytes"),
        (described(f"{url}/none/missing"), OSError, "404"),
        (described("http://127.0.0.1:1/a.bin"), OSError, "check the network"),
    ]:
        with pytest.raises(error, match=message) as raised:
            fetch(file, tmp_path)
        assert file.url in str(raised.value)
        assert [p.name for p in tmp_path.iterdir()] == ([] if before is None else ["a.bin"])
        assert before is None or path.read_bytes() == before
    fetch(described(f"{url}/whole/a.bin"), tmp_path)
    assert path.read_bytes() == BODY  # a complete download replaces a wrong file


def test_interrupt_removes_the_half(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        assert list(tmp_path.iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(described(f"{server[0]}/whole/a.bin"), tmp_path, interrupt)
    assert not list(tmp_path.iterdir())


def test_no_room(server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"a\.bin: .*No space left.*make room"):
        fetch(described(f"{server[0]}/whole/a.bin"), tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file"):
        fetch(described(f"{server[0]}/whole/a.bin"), tmp_path / "file" / "folder")


def test_data_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DRAWNET_DATA", raising=False)
    assert data_folders("x") == [tmp_path / "cache" / "drawnet" / "x"]
    monkeypatch.setenv("DRAWNET_DATA", str(tmp_path))
    assert data_folders("x") == [tmp_path / "x", tmp_path / "cache" / "drawnet" / "x"]
    monkeypatch.setenv("DRAWNET_DATA", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"DRAWNET_DATA is .*none"):
        load_dataset("binarized-mnist")
    monkeypatch.delenv("DRAWNET_DATA")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folders("x") == [tmp_path / ".cache" / "drawnet" / "x"]


def amat(num_images: int, shift: int) -> tuple[bytes, list[int]]:
    """A small file in Larochelle's format, and its bits."""
    bits = [(k * k + shift) % 7 % 2 for k in range(num_images * 784)]
    rows = [" ".join(map(str, bits[start : start + 784])) for start in range(0, len(bits), 784)]
    return ("\n".join(rows) + "\n").encode(), bits


def test_binarized_mnist(server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAWNET_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = {split: amat(n, n) for split, n in [("train", 5), ("validation", 2), ("test", 3)]}
    files = {split: described(f"{server[0]}/whole/{split}.amat", body) for split, (body, _) in made.items()}
    server[1].bodies.update({f"{split}.amat": body for split, (body, _) in made.items()})

    with pytest.raises(FileNotFoundError, match="drawnet data get binarized-mnist") as raised:
        binarized_mnist.load_binarized_mnist(files)
    assert len(str(raised.value).splitlines()) == 2
    assert str(tmp_path / "binarized_mnist") in str(raised.value)

    seen = []
    folder = binarized_mnist.get_binarized_mnist(lambda done, total: seen.append((done, total)), files)
    assert folder == tmp_path / "binarized_mnist" == binarized_mnist.find_binarized_mnist(files)
    assert seen[-1] == (10 * 1568, 10 * 1568)
    dataset = binarized_mnist.load_binarized_mnist(files)
    assert (dataset.name, dataset.binarization, dataset.image_shape) == ("binarized-mnist", "fixed", (1, 28, 28))
    for split, (_, bits) in made.items():
        assert getattr(dataset, split).images.flatten().tolist() == bits
        assert getattr(dataset, split).max_value == 1

    path = folder / "validation.amat"
    body = path.read_bytes()
    path.write_bytes(body[:-100])
    with pytest.raises(ValueError, match=r"validation\.amat has 3036 bytes, expected 3136: .*data get"):
        binarized_mnist.load_binarized_mnist(files)
    path.write_bytes(b"2" + body[1:])
    with pytest.raises(ValueError, match=r"validation\.amat has sha256 .*expected .*data get"):
        binarized_mnist.load_binarized_mnist(files)
    num_requests = len(server[1].requests)
    binarized_mnist.get_binarized_mnist(None, files)  # fetches that file alone
    assert server[1].requests[num_requests:] == ["/whole/validation.amat"]
    assert path.read_bytes() == body

    monkeypatch.delenv("DRAWNET_DATA")
    folder.rename(tmp_path / "aside")
    (tmp_path / "cache" / "drawnet").mkdir(parents=True)
    (tmp_path / "aside").rename(tmp_path / "cache" / "drawnet" / "binarized_mnist")
    assert len(binarized_mnist.load_binarized_mnist(files).train) == 5


def test_several_files_are_fetched_as_one(server: tuple[str, type[Handler]], tmp_path: Path) -> None:
    bodies = {"a.bin": BODY[:1000], "b.bin": BODY[:300], "c.bin": BODY[:50]}
    server[1].bodies.update(bodies)
    files = [described(f"{server[0]}/whole/{name}", body) for name, body in bodies.items()]
    (tmp_path / "b.bin").write_bytes(bodies["b.bin"])  # is there already
    seen = []
    fetch_all(files, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1000, 1350), (1300, 1350), (1350, 1350)]
    assert server[1].requests == ["/whole/a.bin", "/whole/c.bin"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == bodies


def test_check_published(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(BODY)
    check_published(path, described("http://x/a.bin"), "some-set")
    path.write_bytes(BODY[:-1] + b"!")
    with pytest.raises(ValueError, match=r"a\.bin is not the published file.*sha256.*`drawnet data get some-set`"):
        check_published(path, described("http://x/a.bin"), "some-set")
    path.write_bytes(BODY[:-1])
    with pytest.raises(ValueError, match=r"a\.bin has 2559999 bytes, expected 2560000: .*get some-set"):
        check_published(path, described("http://x/a.bin"), "some-set")


def test_the_published_files_are_70_000_images() -> None:
    assert sum(file.num_bytes for file in binarized_mnist.FILES.values()) == 70_000 * 1568
    assert [file.name for file in binarized_mnist.FILES.values()] == [
        f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test")
    ]


def test_registry_says_where_things_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRAWNET_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundled = {"mnist", "mnist-two-digits"}
    assert {info.name: info.status for info in registry.available()} == {
        name: "bundled" if name in bundled else "not fetched" for name in registry.NAMES
    }
    for name in registry.NAMES:
        if name not in bundled:
            with pytest.raises(FileNotFoundError, match=f"^{name} is not in .*\n.*`drawnet data get {name}`"):
                load_dataset(name)
    folder = tmp_path / "drawnet" / "binarized_mnist"
    folder.mkdir(parents=True)
    for file in binarized_mnist.FILES.values():
        (folder / file.name).touch()
    assert registry.available()[1].status == f"in {folder}"
    assert (registry.get("mnist") / "LICENSE.md").is_file()
    with pytest.raises(ValueError, match=r"'minst'.*did you mean mnist"):
        registry.get("minst")
