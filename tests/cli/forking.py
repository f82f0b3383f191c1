"""Commands in processes of their own that needn't import everything anew.

A process that has the package imported and its kernels loaded waits for commands, and each runs in
a fork of it, with its own descriptors, environment, folder and terminal, through `main`. That
leaves out nothing but the start of Python and the imports, which are two thirds of what a short
command costs. What is told to Python or to a library before it starts takes a real start.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent
_LATER = ("AMULET_", "COLUMNS", "HOME", "LINES", "NO_COLOR", "PYTEST_CURRENT_TEST", "TERM")
"""Beginnings of the variables that are read when a command runs."""
_EARLY = ("AMULET_CACHE",)
"""Where kernels are; they are loaded already."""
_MOST_BYTES = 1 << 20
_READY = b"ready"


class ForkServer:
    """The process that forks."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Start it in this environment."""
        self._environment = environment
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forking", str(theirs.fileno())],
            cwd=REPOSITORY,
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def is_ready(self) -> bool:
        """Wait until it can fork; False if something here starts threads of its own."""
        return self._socket.recv(64) == _READY

    def can_run_in(self, environment: dict[str, str]) -> bool:
        """Whether a command in this environment would do the same after a real start."""
        ours = set(self._environment.items())
        changed = {name for name, _ in ours ^ set(environment.items())}
        return all(name.startswith(_LATER) and name not in _EARLY for name in changed)

    def start(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        streams: tuple[int, int, int],
        *,
        on_terminal: bool = False,
    ) -> ForkedCommand:
        """Run a command.

        Args:
            streams: its standard input, output and error.
            on_terminal: whether its standard input becomes its controlling terminal.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {
            "arguments": list(arguments),
            "environment": environment,
            "folder": os.getcwd(),
            "on_terminal": on_terminal,
        }
        with theirs:
            message = json.dumps(request).encode()
            socket.send_fds(self._socket, [message], [*streams, theirs.fileno()])
        return ForkedCommand(ours)

    def close(self) -> None:
        """End it; commands that run go on."""
        self._socket.close()
        self._process.wait()


class ForkedCommand:
    """A command that runs: as much of subprocess.Popen as is needed."""

    def __init__(self, results: socket.socket) -> None:
        self._results = results
        self.pid = int(results.recv(64))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code when it has ended, negative for a signal.

        Raises:
            TimeoutExpired: it runs on.
        """
        if self.returncode is None:
            self._results.settimeout(max(timeout, 1e-6))
            try:
                self.returncode = int(self._results.recv(64))
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout) from None
            self._results.close()
        return self.returncode

    def send_signal(self, kind: int) -> None:
        """Send a signal, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, kind)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.send_signal(signal.SIGKILL)


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns, in a fork, what it is to run."""
    requests.send(_READY)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait for commands are left alone
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _fork_command(descriptors)
            return json.loads(message)  # type: ignore[no-any-return]
        for each in descriptors:
            os.close(each)


def _fork_command(descriptors: Sequence[int]) -> None:
    """Fork once more: the parent tells of the command, which the child returns to become."""
    *streams, results = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(results)
        for standard, given in enumerate(streams):
            os.dup2(given, standard)
        for given in streams:
            os.close(given)
        return
    for given in streams:
        os.close(given)
    for standard in range(3):
        os.close(standard)
    with socket.socket(fileno=results) as told:
        told.send(str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # nobody wants to know
            told.send(str(code).encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Take a command's place: its session, folder, environment, arguments and streams."""
    os.setsid()
    if request["on_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["amulet-local", *request["arguments"]]
    for number, (name, mode, buffering) in enumerate(
        (("stdin", "r", -1), ("stdout", "w", -1), ("stderr", "w", 1))
    ):
        text = os.fdopen(number, mode, buffering, encoding="utf-8", errors="surrogateescape")
        setattr(sys, name, text)


def _import_everything() -> None:
    import amulet_local

    for module in pkgutil.walk_packages(amulet_local.__path__, "amulet_local."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # of an extra that isn't installed
                importlib.import_module(module.name)

    from amulet_local.llama import library

    library.start()
    gc.freeze()  # no command looks for garbage in what is here already
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > deadline:
            sys.exit("a thread runs that a fork lacks: commands get processes of their own")
        time.sleep(0.01)


if __name__ == "__main__":
    connection = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    _become(_serve(connection))

    from amulet_local.cli.main import main

    main()
