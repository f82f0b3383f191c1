"""A child process that runs models, and messages between it and this one.

Its death is an error here, with llama.cpp's reason. Messages are pickled: the child is this user's
own and this package's own. Knows nothing about what is said in them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from amulet_local.common.closing import Closing
from amulet_local.common.errors import AmuletError, BackendError
from amulet_local.loading.isolated import Heard, become_isolated, python_options

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from amulet_local.loading.child_process import main; main()"
)
_END_SECONDS = 10.0
"""How long a child has to end in order."""
_LOOK_SECONDS = 1.0


class ChildProcess(Closing):
    """A child, and its messages as they come. Closing it ends it.

    Attributes:
        n: its process id.
    """

    def __init__(
        self,
        function: str,
        *arguments: Any,
        take: Callable[[Any], None],
        ended: Callable[[AmuletError | None], None],
    ) -> None:
        """Start it.

        Args:
            function: what it runs, "module:name"; called with its Channel and the arguments.
            take: called with each message, in a thread of its own.
            ended: called there in the end, with what it died of, None if it ended in order.
        """
        self._take, self._ended = take, ended
        self._heard = Heard()
        self._sending = threading.Lock()
        self._is_stuck = self._is_closing = self._is_killed = False
        self._process = subprocess.Popen(
            [sys.executable, *python_options(), "-c", _START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.n = self._process.pid
        self.send((function, arguments))
        self._reader = threading.Thread(target=self._read, name="amulet-child", daemon=True)
        self._reader.start()
        self._watcher = threading.Thread(target=self._watch, name="amulet-watch", daemon=True)
        self._watcher.start()

    def send(self, message: Any) -> None:
        """Say something to it; to one that is dead nothing."""
        data = pickle.dumps(message)
        stdin = self._process.stdin
        assert stdin is not None
        with self._sending, contextlib.suppress(OSError, ValueError):
            stdin.write(data)
            stdin.flush()

    def close(self) -> None:
        """Let it end, or end it. May be called twice."""
        self._is_closing = True
        self._close_input()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        for thread in (self._reader, self._watcher):
            if threading.current_thread() is not thread:
                thread.join()

    def kill(self) -> None:
        """End it at once."""
        self._is_closing = self._is_killed = True
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while True:
                try:
                    kind, what = pickle.load(stdout)
                except (EOFError, OSError, pickle.UnpicklingError):
                    break
                if kind == "message":
                    self._take(what)
                else:
                    self._heard.take(kind, what)
        self._close_input()
        self._ended(self._error(self._process.wait()))

    def _close_input(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with self._sending, contextlib.suppress(OSError):
            stdin.close()

    def _error(self, status: int) -> AmuletError | None:
        if self._is_stuck:
            return self._heard.stuck_error()
        if self._heard.has_died(status) and not self._is_killed:
            self._heard.forget(status)
            return self._heard.error(status)
        if status == 0 or self._is_closing:
            return None
        return BackendError(f"the process that runs the model has ended with status {status}")

    def _watch(self) -> None:
        while self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_SECONDS)
            if self._heard.is_stuck():
                self._is_stuck = True
                self._process.kill()


class Channel:
    """The child's end."""

    def __init__(self) -> None:
        """Take standard input and output, which nothing else uses from then on."""
        self._in = os.fdopen(os.dup(0), "rb")
        self._out = os.fdopen(os.dup(1), "wb")
        self._sending = threading.Lock()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: there is none, and the child is to end.
        """
        return pickle.load(self._in)

    def send(self, message: Any) -> None:
        """Say something."""
        self.say("message", message)

    def say(self, kind: str, what: Any) -> None:
        """Say something of this kind: see Heard."""
        data = pickle.dumps((kind, what))
        with self._sending, contextlib.suppress(OSError):
            self._out.write(data)
            self._out.flush()


def main() -> None:
    """The child: runs what its first message says, and ends as that or native code makes it."""
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    channel = Channel()
    become_isolated(channel.say)
    function, arguments = channel.receive()
    module, _, name = function.partition(":")
    with contextlib.suppress(EOFError):
        getattr(importlib.import_module(module), name)(channel, *arguments)
    sys.stderr.flush()
    os._exit(0)
