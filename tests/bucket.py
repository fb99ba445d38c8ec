"""A bucket on the loopback address, with as much of the JSON API of Google Cloud Storage as tensorstore needs."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator

import pytest


class Bucket(http.server.ThreadingHTTPServer):
    """Objects by their names.

    Attributes:
      objects: the generation and the content of each.
      uploads_left: how many more uploads are taken before all are forbidden; None: any number.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.uploads_left: int | None = None
        self.lock = threading.Lock()

    def contents(self, folder: str) -> dict[str, bytes]:
        """The contents of the objects in a folder, by their names there."""
        known, start = dict(self.objects), f"{folder}/"
        return {name.removeprefix(start): content for name, (_, content) in known.items() if name.startswith(start)}


class _Request(http.server.BaseHTTPRequestHandler):
    server: Bucket
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """An object, or the list of all whose names lie in a range."""
        name, query = self._parsed()
        with self.server.lock:
            objects = dict(self.server.objects)
        if name:
            generation, content = objects.get(name, (0, b""))
            self._answer(200 if generation else 404, content, generation)
            return
        start, end = query.get("startOffset", ""), query.get("endOffset")
        found = [one for one in sorted(objects) if start <= one and (end is None or one < end)]
        self._answer(200, json.dumps({"items": [{"name": one, "generation": str(objects[one][0])} for one in found]}).encode())

    def do_POST(self) -> None:
        """An upload, which may ask that the object has not changed."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        _, query = self._parsed()
        with self.server.lock:
            before, left = self.server.objects.get(query["name"], (0, b""))[0], self.server.uploads_left
            if int(query.get("ifGenerationMatch", before)) != before:
                self._answer(412)
            elif left == 0:
                self._answer(403)
            else:
                self.server.uploads_left = None if left is None else left - 1
                self.server.objects[query["name"]] = before + 1, content
                self._answer(200, json.dumps({"name": query["name"], "generation": str(before + 1)}).encode())

    def do_DELETE(self) -> None:
        name, _ = self._parsed()
        with self.server.lock:
            self._answer(204 if self.server.objects.pop(name, None) else 404)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _parsed(self) -> tuple[str, dict[str, str]]:
        """The name of the object, and the query."""
        address = urllib.parse.urlsplit(self.path)
        return urllib.parse.unquote(address.path.partition("/o/")[2]), dict(urllib.parse.parse_qsl(address.query))

    def _answer(self, code: int, content: bytes = b"", generation: int = 0) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        if generation:
            self.send_header("x-goog-generation", str(generation))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def serving() -> Iterator[Bucket]:
    """A bucket that answers at gs://, under any name, in this process and those that it starts."""
    with Bucket() as bucket, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", f"http://127.0.0.1:{bucket.server_port}")
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
        patch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=bucket.serve_forever, daemon=True)
        thread.start()
        yield bucket
        bucket.shutdown()
        thread.join()
