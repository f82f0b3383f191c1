"""Runs the command line: in a process of its own, on a terminal, or in this process."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pyte

from tests.cli.forking import REPOSITORY, ForkedCommand, ForkServer

COMMAND = [sys.executable, "-m", "amulet_local"]
TIMEOUT = 120
HEIGHT = 400

_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "amulet_local", *sys.argv[1:]])
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with one thread a model: other tests may be running.

    With one thread there is no schedule to be found out, which takes half a second.
    """
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AMULET_THREADS": "1",
        "AMULET_THREADS_BATCH": "1",
        "AMULET_SCHEDULE": "serial",
        "PYTHONUTF8": "1",
        **changes,
    }


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The only line on stderr, which says that something failed."""
        assert self.code == 1, self
        assert self.out == "", self
        assert re.fullmatch(r"error: [^\n]+\n", self.err), self
        return self.err.removeprefix("error: ").rstrip("\n")


@functools.cache
def _fork_server() -> ForkServer | None:
    """What forks commands, None where forks can't be relied on: macOS's own libraries forbid it."""
    if sys.platform != "linux":
        return None
    server = ForkServer(environment())
    if not server.is_ready():
        server.close()
        return None
    return server


def _forking(env: dict[str, str]) -> ForkServer | None:
    server = _fork_server()
    return server if server is not None and server.can_run_in(env) else None


def run(*arguments: str | Path, stdin: bytes | None = None, **env: str) -> Outcome:
    """Run a command to its end, without a terminal."""
    given, surroundings = [*map(str, arguments)], environment(**env)
    server = _forking(surroundings)
    if server is None:
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        started = [*COMMAND, *given]
        done = subprocess.run(
            started, env=surroundings, capture_output=True, timeout=TIMEOUT, **feed
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())
    with TemporaryFile() as fed, TemporaryFile() as out, TemporaryFile() as err:
        fed.write(stdin or b"")
        fed.seek(0)
        with open(os.devnull, "rb") if stdin is None else contextlib.nullcontext(fed) as source:
            streams = (source.fileno(), out.fileno(), err.fileno())
            command = server.start(given, surroundings, streams)
        try:
            code = command.wait(TIMEOUT)
        finally:
            command.kill()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return Outcome(code, *texts)


class _Screen(pyte.Screen):
    """A terminal's screen that answers where its cursor is."""

    def __init__(self, columns: int, lines: int, keyboard: int) -> None:
        super().__init__(columns, lines)
        self._keyboard = keyboard

    def write_process_input(self, data: str) -> None:
        """Answer as a terminal does."""
        with contextlib.suppress(OSError):
            os.write(self._keyboard, data.encode())


class OnTerminal:
    """A command on a terminal of its own, with stdout and stderr in one text.

    Attributes:
        text: all that it wrote.
        screen: what a person sees of it, on a terminal that is as high as is needed.
    """

    def __init__(self, *arguments: str | Path, **env: str) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        size = (HEIGHT, int(env.get("COLUMNS", "80")))
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.screen = _Screen(size[1], size[0], self._master)
        self._shown = pyte.ByteStream(self.screen)
        self._lines = [""] * HEIGHT
        given = [*map(str, arguments)]
        surroundings = environment(**{"TERM": "xterm", "COLUMNS": "80", **env})
        server = _forking(surroundings)
        self._process: subprocess.Popen[bytes] | ForkedCommand
        if server is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _ON_TERMINAL, *given],
                env=surroundings,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        else:
            streams = (slave, slave, slave)
            self._process = server.start(given, surroundings, streams, on_terminal=True)
        os.close(slave)

    def read_until(self, pattern: str) -> None:
        """Read until the text so far has `pattern` in it."""
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, self.text
            assert self._read(1.0) is not False, self.text

    def press(self, key: bytes) -> None:
        """Type something."""
        os.write(self._master, key)

    @property
    def echoes(self) -> bool:
        """Whether the terminal itself shows what is typed."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen."""
        for row in self.screen.dirty:
            cells = self.screen.buffer[row]
            self._lines[row] = "".join(cells[i].data for i in range(self.screen.columns)).rstrip()
        self.screen.dirty.clear()
        return self._lines

    @property
    def line(self) -> str:
        """The line that the cursor is in."""
        return self.lines[self.screen.cursor.y]

    def wait(self, holds: Callable[[], object]) -> None:
        """Read until something holds."""
        deadline = time.monotonic() + TIMEOUT
        while not holds():
            assert time.monotonic() < deadline, "\n".join(self.lines).rstrip()
            assert self._read(1.0) is not False, "\n".join(self.lines).rstrip()

    def see(self, pattern: str) -> None:
        """Read until the screen shows `pattern`."""
        self.wait(lambda: re.search(pattern, "\n".join(self.lines)))

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait(TIMEOUT)

    def terminate(self) -> None:
        """End it as `kill` does."""
        self._process.send_signal(signal.SIGTERM)

    def finish(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read(TIMEOUT):
            pass
        return self._process.wait(TIMEOUT)

    def _read(self, seconds: float) -> bool | None:
        """True if something came, None if nothing did in time, False at the end."""
        if not select.select([self._master], [], [], seconds)[0]:
            return None
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            data = os.read(self._master, 65536)
            self._shown.feed(data)
            self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
            return bool(data)
        return False

    def close(self) -> None:
        """End it in any case."""
        self.kill()
        os.close(self._master)
