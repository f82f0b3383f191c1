"""A server at a path of this machine: who may ask, what is asked there, and when it ends."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from amulet_local import Engine, errors
from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.server import unix_socket
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.run import BACKLOG, serve
from amulet_local.server.served_model import Defaults, ServedModel
from amulet_local.server.service import Service
from tests.cli.running import environment, run
from tests.conftest import REPOSITORY
from tests.scripted import scripted_engine


@contextmanager
def serving(
    engine: Engine,
    path: Path,
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[threading.Thread]:
    """A server at a path, in a thread."""
    names = ModelNames(["scripted"])
    pool = engine.pool(places=1, waiting=4)
    file = ModelFile(names, lambda _: ServedModel(engine, pool, names, Defaults()))
    service = Service(Models([file]))
    ready, servers = threading.Event(), []
    listening = unix_socket.open_path(str(path), backlog=BACKLOG)
    thread = threading.Thread(
        target=serve,
        args=(service, [listening]),
        kwargs={
            "access": Access(),
            "limits": limits or Limits(),
            "version": "0",
            "ready": ready.set,
            "on_server": servers.append,
            **options,
        },
    )
    thread.start()
    assert ready.wait(60)
    try:
        yield thread
    finally:
        servers[0].should_exit = True
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "amulet.sock"


def test_a_path_is_its_owners_alone_and_nobody_elses_is_taken(path: Path) -> None:
    with unix_socket.open_path(str(path), backlog=1):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(errors.ServerError, match="another process listens"):
            unix_socket.open_path(str(path), backlog=1)
    with unix_socket.open_path(str(path), backlog=1):  # what a killed server has left
        pass
    path.unlink()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(errors.ServerError, match="no socket"):
        unix_socket.open_path(str(path), backlog=1)
    assert path.read_text(encoding="utf-8") == "mine"
    with pytest.raises(errors.ServerError, match="can't listen"):
        unix_socket.open_path(str(path.parent / "no" / "where"), backlog=1)


def test_a_server_that_nobody_asks_ends(path: Path) -> None:
    with scripted_engine() as engine, serving(engine, path, idle_seconds=0.01) as thread:
        thread.join(60)
        assert not thread.is_alive()


def test_at_a_path_too_a_client_that_falls_silent_is_closed_and_costs_no_answer(
    path: Path,
) -> None:
    limits = Limits(head_seconds=0.3, body_seconds=0.3)
    head = b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    starts = (b"", b"POST /tok", head, head + b"Content-Length: 100\r\n\r\n{")
    with (
        scripted_engine() as engine,
        serving(engine, path, limits=limits),
        ExitStack() as held,
    ):
        silent = []
        for start in starts * 8:
            connection = held.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(60)
            connection.connect(str(path))
            connection.sendall(start)
            silent.append(connection)
        client = held.enter_context(
            httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=60)
        )
        assert client.get("http://localhost/health").status_code == 200
        for connection in silent:  # each is ended from the other side
            while connection.recv(65536):
                pass
        assert client.get("http://localhost/health").status_code == 200


HANDED_OVER = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.executable, [sys.executable, "-m", "amulet_local", *sys.argv[2:]])
"""


@pytest.mark.lengthy
def test_a_socket_of_systemds_is_served_and_stays(path: Path, tiny_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        descriptor = listening.fileno()
        os.set_inheritable(descriptor, True)
        server = subprocess.Popen(
            [
                *(sys.executable, "-c", HANDED_OVER, str(descriptor), "serve"),
                *("-m", str(tiny_path), "-c", "256"),
            ],
            env={**environment(), "LISTEN_FDS": "1"},
            cwd=REPOSITORY,
            close_fds=False,
            stderr=subprocess.PIPE,
        )
        try:
            assert server.stderr is not None
            assert b"is ready at " + bytes(path) in server.stderr.readline()
            outcome = run("ask", path, "Why?", "-n", "2")
            assert outcome.code in (0, EXIT_CUT), outcome
            server.terminate()
            assert server.wait(60) == 0
        finally:
            server.kill()
            server.wait()
            server.stderr.close()
        assert path.exists()


def test_several_sockets_of_systemds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unix_socket.inherited_socket() is None
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    with pytest.raises(errors.ServerError, match="several sockets"):
        unix_socket.inherited_socket()
