"""A process that runs models for another one, which outlives it: what it says, what is heard.

Such a process says which file it loads, that it is loaded, and what llama.cpp says before it ends
the process. Knows nothing about how that is carried or about what the process does with its models.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amulet_local.common.errors import AmuletError, BackendError, ModelFileError
from amulet_local.llama import library, trial
from amulet_local.loading.approved_files import revoke
from amulet_local.loading.tried_files import hold_trial
from amulet_local.params.choices import Isolate
from amulet_local.params.model_use import TEXT, ModelUse

VARIABLE = "AMULET_ISOLATED"
"""Of the environment: what such a process says goes to the descriptor of this number."""

FAULTS = frozenset(
    getattr(signal, name)
    for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
    if hasattr(signal, name)
)
"""What ends a process because of what it did itself."""

_WINDOWS_FAULTS = 0xC0000000
"""The same there, from this exit status on."""
_PAUSE_SECONDS = 10.0
_KILLED = getattr(signal, "SIGKILL", None)

Say = Callable[[str, Any], None]
_say: Say | None = None


def become_isolated(say: Say) -> None:
    """Take this process for one that runs models for another.

    Args:
        say: takes what there is to say: of what kind, and what of it.
    """
    global _say
    _say = say
    library.on_abort = lambda reason: say("abort", reason)
    trial.write_no_core()


def python_options() -> list[str]:
    """How this process treats warnings, for a Python that it starts."""
    return [f"-W{option}" for option in sys.warnoptions]


def is_isolated() -> bool:
    """Whether this process is one."""
    return _say is not None


def say(kind: str, what: Any = None) -> None:
    """Tell the other process, where there is one."""
    if _say is not None:
        _say(kind, what)


@contextlib.contextmanager
def loading_safely(path: Path, isolate: Isolate, use: ModelUse = TEXT) -> Iterator[None]:
    """A model's file, with its adapters, is loaded inside the block, and can't end a process that
    has to go on.

    In an isolated process the other one is told, which waits for a limited time; in any other the
    file has its trial first, where it needs one.

    Args:
        isolate, use: see `hold_trial`.

    Raises:
        As `hold_trial`.
    """
    if _say is None:
        hold_trial(path, isolate, use)
        yield
        return
    files = [os.fspath(path), *use.adapters]
    _say("loading", [files, sum(trial.seconds_for(one) for one in files if os.path.isfile(one))])
    try:
        yield
    finally:
        _say("loaded", None)


@dataclass
class Heard:
    """What such a process has said.

    Attributes:
        paths: of the files that it has begun to load.
        reason: what llama.cpp said when it ended the process.
        is_ready: whether it has said that it is ready.
        again: what its command line has to have in addition where it is started again.
    """

    paths: list[str] = field(default_factory=list)
    reason: str = ""
    is_ready: bool = False
    again: list[str] = field(default_factory=list)
    _loading: str = ""
    _limit: float = 0.0
    _until: float | None = None
    _looked: float = 0.0

    def take(self, kind: str, what: Any) -> None:
        """Take note of something."""
        if kind == "loading":
            files, self._limit = what
            self._loading = str(files[0])
            self.paths = [*(path for path in self.paths if path not in files), *files]
            self._looked = time.monotonic()
            self._until = self._looked + self._limit
        elif kind == "loaded":
            self._until = None
        elif kind == "ready":
            self.is_ready, self.again = True, what or []
        elif kind == "abort":
            self.reason = what

    def is_stuck(self) -> bool:
        """Whether a file has been loading for longer than one may.

        Asked every second or so: where it wasn't, this process and the other one were stopped, as
        by Ctrl-Z, and that time doesn't count.
        """
        if self._until is None:
            return False
        now = time.monotonic()
        pause = now - self._looked
        self._until += pause if pause > _PAUSE_SECONDS else 0
        self._looked = now
        return now > self._until

    def stuck_error(self) -> ModelFileError:
        """What that comes to."""
        return trial.still_busy(Path(self._loading).name, self._limit)

    def has_died(self, status: int) -> bool:
        """Whether the process was ended, by llama.cpp or for what it took, and didn't end itself.

        Args:
            status: its exit status, negative for a signal.
        """
        is_fault = -status in FAULTS or status >= _WINDOWS_FAULTS
        return is_fault or bool(self.reason) or -status == _KILLED

    def error(self, status: int) -> AmuletError:
        """What the end of the process comes to.

        Args:
            status: see `has_died`.
        """
        name = ", ".join(Path(path).name for path in self.paths) or "the model"
        if -status == _KILLED and not self.reason:
            return BackendError(
                f"the system has killed the process that runs {name}, as it does where memory runs "
                f"out; try a smaller context, a smaller model or --low-memory"
            )
        return trial.killed(name, trial.ending(status, self.reason))

    def forget(self, status: int) -> None:
        """Have the files of a process that died run apart the next time, whoever approved them.

        Args:
            status: see `has_died`.
        """
        for path in self.paths if -status != _KILLED else ():
            with contextlib.suppress(OSError):
                revoke(path)
