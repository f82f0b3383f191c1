"""A request over HTTP to a path of this machine, at once: http.client takes longer to be imported
than Python to start, for e-mail and TLS, which nobody needs there.

Knows nothing about what is asked. The other side is this program's own server.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_LINE_BYTES = 1 << 16


class PathConnection:
    """A connection for one request, with the methods of http.client's."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._stream: BinaryIO | None = None

    def request(self, method: str, target: str, body: str, headers: Mapping[str, str]) -> None:
        """Connect and send a request.

        Raises:
            OSError: it can't be sent.
        """
        self.close()
        data = body.encode()
        sent = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(data))}
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in {**sent, **headers}.items()]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(self._path)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + data)

    def getresponse(self) -> PathResponse:
        """The response, whose body hasn't been read.

        Raises:
            OSError: the other side has gone.
            ValueError: it isn't HTTP.
        """
        assert self._socket is not None
        self._stream = self._socket.makefile("rb")
        return PathResponse(self._stream)

    def close(self) -> None:
        """Let go of the socket."""
        for opened in (self._stream, self._socket):
            if opened is not None:
                opened.close()
        self._stream = self._socket = None


class PathResponse:
    """A response; its lines are those of its body, as they come.

    Attributes:
        status: e.g. 200.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        status = self._line().split(None, 2)
        if len(status) < 2 or not status[0].startswith(b"HTTP/1.") or not status[1].isdigit():
            raise ValueError("no HTTP")
        self.status = int(status[1])
        headers: dict[bytes, bytes] = {}
        while line := self._line().strip():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip().lower()
        self._is_chunked = headers.get(b"transfer-encoding") == b"chunked"
        length = headers.get(b"content-length")
        self._n_bytes = None if length is None else int(length)

    def read(self) -> bytes:
        """The body."""
        return b"".join(self._parts())

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for part in self._parts():
            *lines, rest = (rest + part).split(b"\n")
            yield from (line + b"\n" for line in lines)
        if rest:
            yield rest

    def _parts(self) -> Iterator[bytes]:
        if self._n_bytes is not None:
            yield self._exactly(self._n_bytes)
        elif self._is_chunked:
            while size := int(self._line().partition(b";")[0], 16):
                yield self._exactly(size)
                self._line()
        else:
            yield from self._stream

    def _exactly(self, n_bytes: int) -> bytes:
        data = self._stream.read(n_bytes)
        if len(data) < n_bytes:
            raise _gone()
        return data

    def _line(self) -> bytes:
        line = self._stream.readline(_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise _gone() if len(line) < _LINE_BYTES else ValueError("a header is too long")
        return line


def _gone() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
