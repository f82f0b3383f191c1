"""Runs a command in a child where a model isn't approved, so that no file ends what was started.

The child has the same terminal, streams, process group and command line, and does all the work;
what is left here waits for it, passes on the signals that it doesn't get itself, and ends as it
ends. Where llama.cpp ends the child there is a line on stderr instead, and an error's exit code, or
another child where the command goes on by itself. Knows nothing about what commands do.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from amulet_local.cli.exit_codes import EXIT_ERROR
from amulet_local.cli.terminal import note, stdout_is_terminal, write

MOST_DEATHS, IN_SECONDS = 5, 600.0
"""A command that goes on by itself does so unless its children die more often."""

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); sys.argv[0] = sys.argv.pop(1); "
    "from amulet_local.cli.main import main; main()"
)
_INHERITED = (3,)
"""The descriptor of a socket that systemd hands over."""
_LOOK_SECONDS = 1.0


class _WithModel(Protocol):
    @property
    def model(self) -> str | None: ...


def the_model(options: _WithModel) -> list[str]:
    """The model of a command that has one."""
    from amulet_local.cli.inputs import chosen_model

    return [chosen_model(options.model)]


def needs_child(models: Iterable[str], isolate: str | None, *, embeds: bool = False) -> bool:
    """Whether a command with these models is to run in a child.

    Args:
        models: their names or paths; what isn't there is an error later.
        isolate: what was asked for; None is "auto".
        embeds: whether they are for hidden states, and not for text.
    """
    from amulet_local.common.errors import AmuletError
    from amulet_local.loading.isolated import is_isolated
    from amulet_local.loading.model_store import find_model
    from amulet_local.loading.tried_files import needs_isolation, reaches_llama_cpp

    when: Any = (isolate or "auto").lower()
    if when == "never" or is_isolated() or not can_supervise():
        return False
    for model in models:
        with contextlib.suppress(AmuletError):
            path = find_model(model)
            is_asked_for = needs_isolation(path, when, embeds=embeds)
            if is_asked_for and reaches_llama_cpp(path, embeds=embeds):
                return True
    return False


def can_supervise() -> bool:
    """Whether there can be children here: with POSIX's signals, and a Python to start."""
    frozen = getattr(sys, "frozen", False)
    return hasattr(signal, "sigtimedwait") and bool(sys.executable) and not frozen


def run_in_child(*, goes_on: bool) -> int:
    """Run this process's command line in a child; returns the exit code.

    Args:
        goes_on: whether it is started again after it has died, if it was ready before.
    """
    deaths: deque[float] = deque(maxlen=MOST_DEATHS)
    while True:
        child = _ChildCommand()
        status = child.wait()
        if status is None:
            note(f"error: {child.heard.stuck_error()}")
            return EXIT_ERROR
        if not child.heard.has_died(status):
            child.heard.keep()
            return _as_it_ended(status)
        child.heard.forget(status)
        error = child.heard.error(status)
        if stdout_is_terminal():
            write("\n")  # what it wrote last ends anywhere in a line
        deaths.append(time.monotonic())
        is_often = len(deaths) == MOST_DEATHS and deaths[-1] - deaths[0] < IN_SECONDS
        if not (goes_on and child.heard.is_ready):
            note(f"error: {error}")
            return EXIT_ERROR
        if is_often:
            note(f"error: {error}. That was {MOST_DEATHS} times; it isn't started again")
            return EXIT_ERROR
        note(f"warning: {error}. It is started again")


def begin_as_child() -> None:
    """Take over from the process that started this one, if one did; called once, by `main`."""
    number = os.environ.pop(_variable(), None)
    if number is None:
        return
    from amulet_local.loading.isolated import become_isolated

    if os.environ.get("LISTEN_PID") == str(os.getppid()):
        os.environ["LISTEN_PID"] = str(os.getpid())
    channel = socket.socket(fileno=int(number))
    channel.set_inheritable(False)

    def say(kind: str, what: Any) -> None:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps([kind, what]).encode() + b"\n")

    def end_with_parent() -> None:
        with contextlib.suppress(OSError):
            channel.recv(1)
        os.kill(os.getpid(), signal.SIGKILL)

    become_isolated(say)
    threading.Thread(target=end_with_parent, name="amulet-parent", daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _passed_on())


class _ChildCommand:
    """The child that runs the command, seen from here.

    Attributes:
        heard: what it has said.
    """

    def __init__(self) -> None:
        from amulet_local.loading.child_process import python_options
        from amulet_local.loading.isolated import Heard

        self.heard = Heard()
        self._channel, theirs = socket.socketpair()
        self._rest = b""
        self._mode = _terminal_mode()
        arguments = [json.dumps(sys.path), *sys.argv]
        inherited = [n for n in _INHERITED if os.environ.get("LISTEN_FDS") and n != theirs.fileno()]
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_passed_on(), signal.SIGCHLD})
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *python_options(), "-c", _START, *arguments],
                env={**os.environ, _variable(): str(theirs.fileno())},
                pass_fds=[theirs.fileno(), *inherited],
            )
        self._channel.setblocking(False)

    def wait(self) -> int | None:
        """Wait for its end; returns its exit status, None if it had to be ended."""
        try:
            while self._process.poll() is None:
                came = signal.sigtimedwait({*_passed_on(), signal.SIGCHLD}, _LOOK_SECONDS)
                self._hear()
                if came is not None and came.si_signo != signal.SIGCHLD and came.si_code <= 0:
                    self._process.send_signal(came.si_signo)  # a terminal's own come to both
                if self.heard.is_stuck():
                    self._process.kill()
                    self._process.wait()
                    return None
            self._hear()
            return self._process.returncode
        finally:
            self._process.kill()
            self._process.wait()
            self._channel.close()
            if self._process.returncode < 0:
                _restore_terminal(self._mode)
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while got := self._channel.recv(1 << 16):
                *lines, self._rest = (self._rest + got).split(b"\n")
                for line in lines:
                    self.heard.take(*json.loads(line))


def _passed_on() -> set[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    return {getattr(signal, name) for name in names}


def _variable() -> str:
    from amulet_local.loading.isolated import VARIABLE

    return VARIABLE


def _as_it_ended(status: int) -> int:
    """The exit code; a child that a signal ended ends this process by the same."""
    if status >= 0:
        return status
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status


def _terminal_mode() -> Any:
    import termios

    with contextlib.suppress(OSError, ValueError, termios.error):
        return termios.tcgetattr(0)
    return None


def _restore_terminal(mode: Any) -> None:
    import termios

    if mode is not None:
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
