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
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from amulet_local.cli import quiet_keyboard, start_line
from amulet_local.cli.exit_codes import EXIT_ERROR
from amulet_local.cli.passed_signals import let_come, pass_signals_on
from amulet_local.cli.terminal import note, stdout_is_terminal, write

if TYPE_CHECKING:
    from amulet_local.cli.derived_options import Given
    from amulet_local.params.model_use import ModelUse

MOST_DEATHS, IN_SECONDS = 5, 600.0
"""A command that goes on by itself does so unless its children die more often."""

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); sys.argv[0] = sys.argv.pop(1); "
    "from amulet_local.cli.main import main; main()"
)
_INHERITED = (3,)
"""The descriptor of a socket that systemd hands over."""
_LOOK_SECONDS = 1.0
_CANT_BEGIN = 125
"""Exit status of a child that can't have the socket to this process: none was ever seen."""


Uses = Iterable[tuple[str, "ModelUse"]]
"""Names or paths of models, and what each is loaded for."""


class _WithModel(Protocol):
    @property
    def model(self) -> str | None: ...
    @property
    def runtime(self) -> Given: ...


def the_model(options: _WithModel) -> Uses:
    """The model of a command that has one."""
    from amulet_local.cli.inputs import chosen_model

    return [(chosen_model(options.model), use_given(options.runtime))]


def use_given(runtime: Given) -> ModelUse:
    """What a model is loaded for with these options of the runtime.

    Raises:
        InvalidParameterError: one of the adapters isn't named as they are.
    """
    from amulet_local.cli.given_options import read
    from amulet_local.params.option import some_of
    from amulet_local.params.runtime import RuntimeParams

    adapters = some_of(RuntimeParams.options, "lora", "control_vectors")
    use: ModelUse = RuntimeParams(**read(adapters, runtime)).use
    return use


def needs_child(models: Uses, isolate: str | None) -> bool:
    """Whether a command with these models is to run in a child.

    Args:
        models: what isn't there is an error later.
        isolate: what was asked for; None is "auto".
    """
    from amulet_local.common.errors import AmuletError
    from amulet_local.loading.approved_files import needs_isolation
    from amulet_local.loading.isolated import is_isolated
    from amulet_local.loading.model_store import find_model

    when: Any = (isolate or "auto").lower()
    if when == "never" or is_isolated() or not can_supervise():
        return False
    for model, use in models:
        with contextlib.suppress(AmuletError):
            if needs_isolation(find_model(model), when, use):
                return True
    return False


def can_supervise() -> bool:
    """Whether there is a Python to start."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def run_in_child(*, goes_on: bool) -> int | None:
    """Run this process's command line in a child; returns the exit code, None if none can begin.

    Args:
        goes_on: whether it is started again after it has died, if it was ready before.
    """
    deaths: deque[float] = deque(maxlen=MOST_DEATHS)
    more: list[str] = []
    while True:
        child = _ChildCommand(more)
        status = child.wait()
        if status == _CANT_BEGIN and not child.heard.paths:
            return None
        if status is None:
            note(f"error: {child.heard.stuck_error()}")
            return EXIT_ERROR
        if not child.heard.has_died(status):
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
        more = child.heard.again


def begin_as_child() -> None:
    """Take over from the process that started this one, if one did; called once, by `main`."""
    number = os.environ.pop(_variable(), "")
    if not (number.isdecimal() and len(number) < 10):
        return  # nobody that starts a child set it
    from amulet_local.loading.isolated import become_isolated

    if os.environ.get("LISTEN_PID") == str(os.getppid()):
        os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        channel = socket.socket(fileno=int(number))
        channel.set_inheritable(False)
    except OSError:
        os._exit(_CANT_BEGIN)

    def say(kind: str, what: Any) -> None:
        with contextlib.suppress(OSError):
            channel.sendall(json.dumps([kind, what]).encode() + b"\n")

    def end_with_parent() -> None:
        with contextlib.suppress(OSError):
            channel.recv(1)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has but the one

    become_isolated(say)
    threading.Thread(target=end_with_parent, name="amulet-parent", daemon=True).start()
    let_come()


class _ChildCommand:
    """The child that runs the command, seen from here.

    Attributes:
        heard: what it has said.
    """

    def __init__(self, more: Sequence[str]) -> None:
        """Start it.

        Args:
            more: words for the end of its command line.
        """
        from amulet_local.loading.isolated import Heard, python_options

        self.heard = Heard()
        self._channel, theirs = socket.socketpair()
        self._rest = b""
        self._mode = _terminal_mode()
        arguments = [json.dumps(sys.path), *sys.argv, *more]
        self._signals = pass_signals_on()
        start_line.end()  # the child has one of its own
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *python_options(), "-c", _START, *arguments],
                env={**os.environ, _variable(): str(theirs.fileno())},
                **_inheriting(theirs),
            )
        self._channel.setblocking(False)

    def wait(self) -> int | None:
        """Wait for its end; returns its exit status, None if it had to be ended."""
        try:
            while self._process.poll() is None:
                number = self._signals.wait(_LOOK_SECONDS, self._channel)
                if self._hear():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(_LOOK_SECONDS)
                if number is not None:
                    self._process.send_signal(number)
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
            self._signals.close()

    def _hear(self) -> bool:
        """Take note of what it has said; whether that was the last, since it ends."""
        with contextlib.suppress(BlockingIOError):
            try:
                while got := self._channel.recv(1 << 16):
                    *lines, self._rest = (self._rest + got).split(b"\n")
                    for line in lines:
                        self.heard.take(*json.loads(line))
            except ConnectionError:
                pass
            return True
        return False


def _inheriting(channel: socket.socket) -> dict[str, Any]:
    """How a child is started that has this end, and what systemd has handed over."""
    if os.name != "posix":
        channel.set_inheritable(True)
        return {"close_fds": False}
    handed = _INHERITED if os.environ.get("LISTEN_FDS") else ()
    return {"pass_fds": {channel.fileno(), *handed}}


def _variable() -> str:
    from amulet_local.loading.isolated import VARIABLE

    return VARIABLE


def _as_it_ended(status: int) -> int:
    """The exit code; a child that a signal ended ends this process by the same."""
    if status >= 0:
        return status
    quiet_keyboard.end()
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status


def _terminal_mode() -> Any:
    with contextlib.suppress(Exception):  # no terminal, or none that has modes
        import termios

        return termios.tcgetattr(0)
    return None


def _restore_terminal(mode: Any) -> None:
    if mode is not None:
        import termios

        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
