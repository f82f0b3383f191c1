"""Clients that are slow, many, silent, or die at any byte: others are served, nothing stays."""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from amulet_local import Engine
from amulet_local.server.limits import Limits
from tests.scripted import scripted_engine
from tests.server.conftest import Server, lasting, running

pytestmark = pytest.mark.lengthy

PATIENCE_SECONDS = 120.0
"""For what a busy machine may take its time with."""
BODY = json.dumps(
    {
        "messages": [{"role": "user", "content": "Why?"}],
        "preference": "concise",
        "max_tokens": 3,
        "temperature": 0,
        "ignore_eos": True,
    }
).encode()
N_CONNECTIONS = 1000


def request_of(body: bytes, more: bytes = b"") -> bytes:
    """A request for a completion, byte for byte."""
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
        b"\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), more, body)
    )


STREAMED = request_of(BODY[:-1] + b', "stream": true}')


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """What its answers say doesn't matter here."""
    with scripted_engine(n_ctx=512) as scripted, lasting(scripted) as engine:
        yield engine


@pytest.fixture
def server(engine: Engine) -> Iterator[Server]:
    with running(engine, places=2, waiting=64) as server:
        yield server


def connected(server: Server) -> socket.socket:
    """A connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def torn(connection: socket.socket) -> None:
    """Die: what is under way is reset, not ended."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def said(server: Server) -> str:
    """The text of an answer to an honest client."""
    response = server.client.post(
        "/v1/chat/completions", content=BODY, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


@contextmanager
def nothing_stays(server: Server) -> Iterator[None]:
    """An honest client gets the same before and after; places and descriptors are free again."""
    before = said(server)
    process = psutil.Process()
    n_descriptors = process.num_fds()
    yield
    pool = server.service.model.pool
    wait_for(lambda: not server.service.jobs, "a completion goes on for ever")
    wait_for(lambda: pool.n_active == pool.n_queued == 0, "a place isn't free")
    wait_for(lambda: process.num_fds() <= n_descriptors, "descriptors stay open")
    assert said(server) == before


def test_a_client_that_dies_at_each_byte_of_its_request_leaves_nothing(server: Server) -> None:
    with nothing_stays(server):
        for n_bytes in range(len(STREAMED) + 1):
            connection = connected(server)
            connection.sendall(STREAMED[:n_bytes])
            (torn if n_bytes % 2 else socket.socket.close)(connection)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_client_that_dies_at_each_byte_of_a_reply_leaves_nothing(
    server: Server, step: int
) -> None:
    closing = STREAMED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with connected(server) as connection:
        connection.sendall(closing)
        whole = b"".join(iter(lambda: connection.recv(65536), b""))
    assert whole.startswith(b"HTTP/1.1 200")
    assert b"[DONE]" in whole
    with nothing_stays(server):
        for n_bytes in range(0, len(whole), step):
            connection = connected(server)
            connection.sendall(closing)
            n_left = n_bytes
            while n_left and (data := connection.recv(n_left)):
                n_left -= len(data)
            torn(connection)


def test_a_request_that_comes_byte_by_byte_is_answered(server: Server) -> None:
    with nothing_stays(server), connected(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for n in range(len(STREAMED)):
            connection.send(STREAMED[n : n + 1])
        data = b""
        while b"[DONE]" not in data:
            data += connection.recv(65536)


def test_slow_readers_leave_the_others_their_answers(engine: Engine) -> None:
    """Four places, and as many who read a byte at a time of long answers."""
    long = BODY.replace(b'"max_tokens": 3', b'"max_tokens": 400, "stream": true, "amulet_trace": 9')
    with (
        running(engine, places=4, waiting=64, limits=Limits(stuck_seconds=2)) as server,
        nothing_stays(server),
        ExitStack() as held,
    ):
        slow = []
        for _ in range(4):
            connection = held.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(request_of(long))
            slow.append(connection)
        wait_for(lambda: server.service.model.pool.n_active == 4, "they aren't answered")
        done = threading.Event()

        def read() -> None:
            while not done.wait(0.05):
                for connection in slow:
                    if select.select([connection], [], [], 0)[0]:
                        connection.recv(1)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert said(server)
        finally:
            done.set()
            reader.join()


def test_connections_that_fell_silent_are_closed_and_cost_no_answer(engine: Engine) -> None:
    """Half a head, half a body, and a peer that ended its side or that nobody hears of again."""
    limits = Limits(head_seconds=1, body_seconds=1)
    with running(engine, limits=limits) as server, nothing_stays(server), ExitStack() as held:
        silent = []
        for start in (b"", b"POST /tok", request_of(BODY)[:-5], request_of(BODY)[:60]) * 8:
            connection = held.enter_context(connected(server))
            connection.sendall(start)
            if len(silent) % 2:
                connection.shutdown(socket.SHUT_WR)
            silent.append(connection)
        assert said(server)
        for connection in silent:  # each is ended from the other side
            while connection.recv(65536):
                pass


def test_a_peer_that_ended_its_side_still_gets_its_answer_or_a_close(server: Server) -> None:
    with nothing_stays(server), connected(server) as connection:
        connection.sendall(request_of(BODY))
        connection.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: connection.recv(65536), b""))
        assert data == b"" or data.startswith(b"HTTP/1.1 200")


@contextmanager
def many_descriptors(n: int) -> Iterator[None]:
    """Leave to open so many files; skips where the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < n:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_of_a_thousand_connections_at_once_each_is_served_or_sent_away(engine: Engine) -> None:
    with (
        many_descriptors(2 * N_CONNECTIONS + 200),
        running(engine, places=2, waiting=2000) as server,
        nothing_stays(server),
        ExitStack() as held,
    ):
        connections = []
        for _ in range(N_CONNECTIONS):
            connection = held.enter_context(socket.socket())
            connection.settimeout(PATIENCE_SECONDS)
            connection.connect(("127.0.0.1", server.port))
            connections.append(connection)
        ends = {b"200": 0, b"503": 0}
        for connection in connections:
            try:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                status = connection.recv(65536).split(b" ")[1]
            except (ConnectionError, IndexError):  # 503 was sent and closed before the request came
                status = b"503"
            ends[status] += 1
        assert ends[b"200"] >= Limits().n_connections - 1
        assert ends[b"503"] >= N_CONNECTIONS - Limits().n_connections


GET = b"GET /health HTTP/1.1\r\n"
HOST = b"Host: localhost\r\nConnection: close\r\n"
POST = b"POST /tokenize HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ODD = {
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n{}", 400),
    "a length of digits that aren't ASCII": (POST + "Content-Length: ２\r\n\r\n{}".encode(), 400),
    "a length of 5,000 digits": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}", 400),
    "an unknown coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "a chunk of negative size": (POST + CHUNKED + b"\r\n-5\r\n{}", 400),
    "a space before a colon": (GET + b"Host : localhost\r\n\r\n", 400),
    "no host": (GET + b"\r\n", 400),
    "two hosts": (GET + HOST + b"Host: evil\r\n\r\n", 400),
    "NUL in a header": (GET + HOST + b"X: a\0b\r\n\r\n", 400),
    "an address that names a host": (b"GET http://evil/health HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "an old version": (b"GET /health HTTP/1.0\r\n\r\n", 403),
    "HTTP/2 at once": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 403),
    "CONNECT": (b"CONNECT evil:80 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a TLS greeting": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, 400),
    "ESC in a path": (b"GET /\x1b[31m HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a path out of a folder": (b"GET /page/../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a request behind a body": (
        POST.replace(b"close", b"keep-alive")
        + b"Content-Length: 15\r\n\r\n"
        + b'{"content": ""}GET /x HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n',
        200,
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_isn_t_quite_http_is_refused_or_read_in_one_way(server: Server, name: str) -> None:
    request, status = ODD[name]
    with nothing_stays(server), connected(server) as connection:
        connection.sendall(request)
        reply = b""
        with contextlib.suppress(ConnectionError):  # closed with some of the request unread
            while data := connection.recv(65536):
                reply += data
    assert reply.startswith(b"HTTP/1.1 %d " % status)
    if name == "a request behind a body":
        assert reply.count(b"HTTP/1.1 ") == 2
        assert b"HTTP/1.1 403 " in reply, "the second one's host is looked at too"
