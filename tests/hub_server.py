"""A hub of our own, which speaks as Hugging Face's does to its unmodified library."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPOSITORY = "Small/Model-GGUF"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        files: of REPOSITORY.
        digests: what is said of them in place of their own.
        asked: the ranges of the downloads, None for a whole file.
        cut_after: bytes after which the next download breaks off.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.digests: dict[str, str] = {}
        self.asked: list[str | None] = []
        self.cut_after: int | None = None

    def digest(self, name: str) -> str:
        return self.digests.get(name) or hashlib.sha256(self.files[name]).hexdigest()


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        resolve = f"/{REPOSITORY}/resolve/main/"
        if path == f"/api/models/{REPOSITORY}":
            return self._told()
        if path.startswith(resolve) and path.removeprefix(resolve) in self.server.files:
            return self._file(path.removeprefix(resolve))
        return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def _told(self) -> None:
        hub = self.server
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "0" * 40,
                "lfs": {"sha256": hub.digest(name), "size": len(data), "pointerSize": 134},
            }
            for name, data in hub.files.items()
        ]
        told = {"id": REPOSITORY, "sha": COMMIT, "siblings": siblings, "tags": []}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        data, wanted = self.server.files[name], self.headers.get("Range")
        fields = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{self.server.digest(name)}"',
            "X-Linked-ETag": f'"{self.server.digest(name)}"',
            "X-Linked-Size": str(len(data)),
            "Accept-Ranges": "bytes",
        }
        if self.command == "HEAD":
            return self._send(200, data, fields)
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start:
            fields["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut, self.server.cut_after = self.server.cut_after, None
        return self._send(206 if start else 200, data[start:], fields, cut)

    def _send(self, code: int, body: bytes, fields: dict[str, str], cut: int | None = None) -> None:
        self.send_response(code)
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


@pytest.fixture(name="hub")
def _hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
