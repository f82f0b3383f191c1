"""Runs the command line: in a process of its own, on a terminal, or in this process."""

from __future__ import annotations

import contextlib
import fcntl
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

import pyte

REPOSITORY = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "amulet_local"]
TIMEOUT = 120
HEIGHT = 400

_ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "amulet_local", *sys.argv[1:]])
"""


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, with one thread a model: other tests may be running."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "AMULET_THREADS": "1",
        "AMULET_THREADS_BATCH": "1",
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


def run(*arguments: str | Path, stdin: bytes | None = None, **env: str) -> Outcome:
    """Run a command to its end, without a terminal."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(**env),
        capture_output=True,
        timeout=TIMEOUT,
        **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


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
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_TERMINAL, *map(str, arguments)],
            env=environment(**{"TERM": "xterm", "COLUMNS": "80", **env}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
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
    def lines(self) -> list[str]:
        """The lines on the screen."""
        return [line.rstrip() for line in self.screen.display]

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
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT)
        os.close(self._master)
