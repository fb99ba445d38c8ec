"""Weights from a hub: a small server on the loopback address answers the client, or fails as servers and networks do."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import extremal_jax as ej
from extremal_jax.models.hub import HubFile, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/resnet18"
WEIGHTS = bytes(range(256)) * 1024
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()


@dataclass
class Hub:
    """The server's files, its failures, and the requests that it got."""

    files: dict[str, bytes] = field(default_factory=lambda: {"model.safetensors": WEIGHTS})
    large: bool = True  # stored apart, under the digest of their content
    sent: bytes | None = None  # instead of the content
    cut: int | None = None  # bytes after which the first download breaks off
    status: dict[str, int] = field(default_factory=dict)  # by method
    gated: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # for files: method, path, range
    port: int = 0

    def restart(self) -> None:
        """Another process: the client reads its settings when it is imported."""
        loaded = [name for name in sys.modules if name.split(".")[0] == "huggingface_hub"]
        if "huggingface_hub.utils" in loaded:
            sys.modules["huggingface_hub.utils"].close_session()
        for name in loaded:
            del sys.modules[name]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        hub = self.hub
        if not self.path.startswith("/api/"):
            hub.requests.append((self.command, self.path, self.headers.get("Range")))
        if self.command in hub.status:
            return self.send(hub.status[self.command])
        if found := re.fullmatch(r"/cdn/(.+)", self.path):
            return self.send_content(hub.files[found[1]])
        if found := re.fullmatch(rf"/{REPO}/resolve/([^/]+)/(.+)", self.path):
            return self.resolve(*found.groups())
        if self.path.startswith(f"/api/models/{REPO}/tree/main"):
            listed = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in hub.files.items()]
            return self.send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})
        return self.send(404, headers={"X-Error-Code": "RepoNotFound"})

    def resolve(self, revision: str, name: str) -> None:
        hub = self.hub
        if hub.gated:
            return self.send(403, headers={"X-Error-Code": "GatedRepo"})
        if revision not in ("main", "v1", COMMIT):
            return self.send(404, headers={"X-Error-Code": "RevisionNotFound"})
        if name not in hub.files:
            return self.send(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        data = hub.files[name]
        if not hub.large:
            return self.send_content(data, {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
        linked = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        return self.send(302, headers={"X-Repo-Commit": COMMIT, "Location": f"http://localhost:{hub.port}/cdn/{name}", **linked})

    def send_content(self, data: bytes, headers: dict[str, str] | None = None) -> None:
        data = data if self.hub.sent is None else self.hub.sent
        asked = self.headers.get("Range")
        start = int(re.findall(r"\Abytes=(\d+)-\Z", asked)[0]) if asked else 0
        self.send(206 if asked else 200, data[start:], headers or {})

    def send(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET" and self.path.startswith("/cdn/"):
            cut, self.hub.cut = self.hub.cut, None
            self.wfile.write(data[:cut])
            self.close_connection = cut is not None
        elif self.command == "GET":
            self.wfile.write(data)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def hub(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh server, an empty cache, and no time lost between attempts."""
    for name in list(os.environ):
        if name.startswith("HF_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    Handler.hub = fresh = Hub(port=server.server_port)
    fresh.restart()
    yield fresh
    fresh.restart()


def test_a_file_is_downloaded_once(hub: Any, tmp_path: Path) -> None:
    path = HubFile(REPO).fetch()
    assert path.name == "model.safetensors"
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path)
    assert sum(method == "GET" for method, _, _ in hub.requests) == 1
    assert HubFile(REPO).fetch() == path
    assert sum(method == "GET" for method, _, _ in hub.requests) == 1


@pytest.mark.parametrize(("revision", "asked"), [(None, "main"), ("v1", "v1"), (COMMIT, COMMIT)])
def test_the_revision_is_asked_for(hub: Any, revision: Any, asked: Any) -> None:
    HubFile(REPO, revision=revision).fetch()
    assert hub.requests[0] == ("HEAD", f"/{REPO}/resolve/{asked}/model.safetensors", None)


def test_a_commit_in_the_cache_asks_nothing(hub: Any) -> None:
    path = HubFile(REPO, revision=COMMIT).fetch()
    hub.requests.clear()
    assert HubFile(REPO, revision=COMMIT).fetch() == path
    assert hub.requests == []


@pytest.mark.parametrize(
    ("files", "filename", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin"], None, "model.safetensors"),
        (["pytorch_model.bin", "flax_model.msgpack"], None, "pytorch_model.bin"),
        (["model.safetensors", "pytorch_model.bin"], "pytorch_model.bin", "pytorch_model.bin"),
        (["model.safetensors", "half/model.safetensors"], "half/model.safetensors", "half/model.safetensors"),
    ],
)
def test_the_file_is_chosen(hub: Any, files: Any, filename: Any, chosen: str) -> None:
    hub.files = {name: name.encode() for name in files}
    assert HubFile(REPO, filename).fetch().read_bytes() == chosen.encode()


def test_a_bar_shows_the_progress(hub: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TQDM_POSITION", "-1")  # else only on a terminal
    HubFile(REPO).fetch()
    assert re.search(r"model\.safetensors: 100%.*262k/262k", capfd.readouterr().err)


def test_a_broken_download_resumes(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.cut = 120_000
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)  # whole chunks are kept, of 10 MB by default
    assert HubFile(REPO).fetch().read_bytes() == WEIGHTS
    assert [asked for method, _, asked in hub.requests if method == "GET"] == [None, "bytes=100000-"]


def test_the_published_digest_is_verified_each_time(hub: Any) -> None:
    hub.sent = WEIGHTS[:-1] + b"\0"
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"{DIGEST} is corrupted: its SHA-256 is \w+, and {DIGEST} is published; delete it"):
            HubFile(REPO).fetch()
    hub.sent = None
    next(Path(os.environ["HF_HOME"]).rglob(DIGEST)).unlink()
    path = HubFile(REPO).fetch()
    path.resolve().write_bytes(WEIGHTS[1:])
    with pytest.raises(ValueError, match="is corrupted"):
        HubFile(REPO).fetch()


@pytest.mark.parametrize("large", [True, False])
def test_the_digest_that_is_asked_for_is_verified(hub: Any, large: bool) -> None:
    hub.large = large
    assert HubFile(REPO, sha256=DIGEST.upper()).fetch().read_bytes() == WEIGHTS
    with pytest.raises(ValueError, match=rf"model\.safetensors has the SHA-256 {DIGEST}, and {'a' * 64} was expected"):
        HubFile(REPO, sha256="A" * 64).fetch()


def test_a_small_file_has_no_digest_to_verify(hub: Any) -> None:
    hub.large = False
    hub.sent = WEIGHTS[:-1] + b"\0"
    assert HubFile(REPO).fetch().read_bytes() == hub.sent


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "a" * 63])
def test_a_malformed_digest(sha256: Any) -> None:
    with pytest.raises(ValueError, match=f"sha256 must be 64 hexadecimal digits, got '{sha256}'"):
        HubFile(REPO, sha256=sha256).fetch()


def test_a_missing_file_suggests_another(hub: Any) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^{REPO} has no file 'modle.safetensors'; did you mean 'model.safetensors'\?$"):
        HubFile(REPO, "modle.safetensors").fetch()
    hub.files = {"weights.h5": b"", "README.md": b""}
    with pytest.raises(
        FileNotFoundError, match=r"no file 'model.safetensors' or 'pytorch_model.bin'; choose from 'weights.h5', 'README.md'"
    ):
        HubFile(REPO).fetch()


def test_a_missing_repository(hub: Any) -> None:
    with pytest.raises(FileNotFoundError, match=rf"^http://127.0.0.1:{hub.port} has no repository 'owner/nothing', or it is private"):
        HubFile("owner/nothing").fetch()


def test_a_missing_revision(hub: Any) -> None:
    with pytest.raises(FileNotFoundError, match=f"^{REPO} has no revision 'v2'"):
        HubFile(REPO, revision="v2").fetch()


def test_a_gated_repository(hub: Any) -> None:
    hub.gated = True
    with pytest.raises(PermissionError, match=f"^{REPO} is gated; accept its terms at .*/{REPO} and log in"):
        HubFile(REPO).fetch()


@pytest.mark.parametrize("repo", ["", "a/b/c", "a b", "a/b.git"])
def test_a_malformed_repository(hub: Any, repo: str) -> None:
    with pytest.raises(ValueError, match=f"""^a repository is written "owner/name", got '{repo}'"""):
        HubFile(repo).fetch()
    assert hub.requests == []


def test_no_network(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = HubFile(REPO).fetch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")  # bound, but nobody listens
        hub.restart()
        assert HubFile(REPO).fetch() == path
        with pytest.raises(ConnectionError, match=rf"cannot be reached \(.*refused.*\), and {REPO} is not in the cache"):
            HubFile(REPO, "other.safetensors").fetch()


@pytest.mark.parametrize(
    ("method", "sentence"),
    [("HEAD", rf"cannot be reached \(.*500.*\), and {REPO} is not"), ("GET", rf"fetching {REPO} from .* failed \(.*500")],
)
def test_a_server_that_fails(hub: Any, method: str, sentence: Any) -> None:
    hub.status = {method: 500}
    with pytest.raises(ConnectionError, match=sentence):
        HubFile(REPO).fetch()


def test_offline_mode_uses_the_cache_alone(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files = {"pytorch_model.bin": WEIGHTS}
    path = HubFile(REPO).fetch()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.restart()
    hub.requests.clear()
    assert HubFile(REPO).fetch() == path
    with pytest.raises(ConnectionError, match=r"^owner/other is not in the cache, and offline mode is on; unset"):
        HubFile("owner/other").fetch()
    assert hub.requests == []


SCENES = Path(ej.models.__file__).parent / "pretrained" / "scenes.safetensors"
CONFIG = b'{"pretrained_cfg": {"input_size": [3, 96, 96], "crop_pct": 0.9, "interpolation": "bicubic"}}'


def test_a_repository_describes_the_preprocessing(hub: Any) -> None:
    usual = ej.models.load("scenes").preprocessing
    hub.files = {"model.safetensors": SCENES.read_bytes(), "config.json": CONFIG}
    found = ej.models.load("scenes", f"hub:{REPO}@v1")
    assert found.preprocessing == dataclasses.replace(usual, size=(96, 96), crop=0.9, interpolation="bicubic")
    assert found.input_size == (96, 96)
    assert any(path == f"/{REPO}/resolve/v1/config.json" for _, path, _ in hub.requests)


@pytest.mark.parametrize("config", [None, b"", b"[1]", b"{}", b"\xff"])
def test_a_repository_without_a_description(hub: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files = {"model.safetensors": SCENES.read_bytes()} | ({} if config is None else {"config.json": config})
    usual = ej.models.load("scenes").preprocessing
    assert ej.models.load("scenes", f"hub:{REPO}").preprocessing == usual
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.restart()
    unknown = (
        pytest.warns(UserWarning, match="images are prepared as for the default weights") if config is None else contextlib.nullcontext()
    )
    with unknown:
        assert ej.models.load("scenes", f"hub:{REPO}").preprocessing == usual


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"need the package huggingface_hub; install it by `pip install 'extremal-jax\[hub\]'`"):
        HubFile(REPO).fetch()


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("hub:timm/resnet50.a1_in1k", HubFile("timm/resnet50.a1_in1k")),
        ("hub:a/b@main", HubFile("a/b", revision="main")),
        ("hub:a/b@refs/pr/1", HubFile("a/b", revision="refs/pr/1")),
        ("hub:a/b/half/model.safetensors@v1", HubFile("a/b", "half/model.safetensors", "v1")),
        ("hub:a/b/x.bin", HubFile("a/b", "x.bin")),
    ],
)
def test_names_of_files_on_the_hub(text: str, file: Any) -> None:
    assert parse(text) == file


@pytest.mark.parametrize("text", ["hub", "hub:", "hub:resnet50", "hub:a/b@", "hub:a/", "hub:/b", "a/b", "hub:a b/c", "hub:a/b/@v"])
def test_malformed_names(text: str) -> None:
    with pytest.raises(ValueError, match=f"""are written "hub:owner/name" or "hub:owner/name@revision", got '{text}'"""):
        parse(text)


def test_a_hub_file_passes_all_its_fields(hub: Any) -> None:
    hub.files["half.safetensors"] = b"half"
    assert HubFile(REPO, "half.safetensors", "v1", hashlib.sha256(b"half").hexdigest()).fetch().read_bytes() == b"half"
    assert hub.requests[0][1] == f"/{REPO}/resolve/v1/half.safetensors"
    with pytest.raises(ValueError, match="was expected"):
        HubFile(REPO, sha256="a" * 64).fetch()
