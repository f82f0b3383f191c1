"""Signals that come to a process whose child does its work, and which of them the child has to get.

A terminal sends its own to both. Where the system says who sent a signal, that tells them apart;
elsewhere those that a terminal has keys for count as its own while this process is in its
foreground. Knows nothing about the child.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections import deque
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_OF_KEYS = ("SIGINT", "SIGQUIT")


def passed_on() -> set[signal.Signals]:
    """Those that are passed on, of what this system has."""
    return {getattr(signal, name) for name in _NAMES if hasattr(signal, name)}


def pass_signals_on() -> PassedSignals:
    """Hold them back from now on, until that is closed."""
    return SendersKnown() if hasattr(signal, "sigwaitinfo") else PassedSignals()


def let_come() -> None:
    """Let them come, in a child that was started while they were held back, and in its own."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*passed_on(), *_awaited_besides()})


class PassedSignals:
    """Signals as Python's handlers get them, on any system."""

    def __init__(self) -> None:
        self._came: deque[int] = deque()
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            end.setblocking(False)
        heard = [number for number in passed_on() if signal.getsignal(number) != signal.SIG_IGN]
        self._before: dict[int, Any] = {
            number: signal.signal(number, lambda n, _: self._came.append(n)) for number in heard
        }
        self._fd = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)

    def wait(self, seconds: float, channel: socket.socket) -> int | None:
        """The next one for the child, None if there is none.

        Args:
            seconds: how long to wait for it at most.
            channel: what comes there, or its end, ends the waiting too.
        """
        if not self._came:
            select.select([self._woken, channel], [], [], seconds)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(1 << 12)
        number = self._came.popleft() if self._came else None
        return None if number is None or _is_of_terminal(number) else number

    def close(self) -> None:
        """Have them do again what they did before."""
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._woken.close()
        self._wakes.close()


class SendersKnown(PassedSignals):
    """The same where the system says who sent one, and tells of a child's end as well."""

    def __init__(self) -> None:
        self._own = _awaited_besides()
        self._awaited = {*passed_on(), *self._own}
        self._alarm = signal.signal(signal.SIGALRM, lambda *_: None)  # where another thread gets it
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._awaited)

    def wait(self, seconds: float, channel: socket.socket) -> int | None:
        """See PassedSignals; a child's end ends the waiting.

        `sigtimedwait` would be one call, but where Ctrl-Z and `fg` interrupt it and its time is
        over by then, CPython returns a signal that never came. The alarm is repeated: what comes
        before the waiting has begun, as on a busy machine, another thread may get.
        """
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        came = signal.sigwaitinfo(self._awaited)
        return None if came.si_signo in self._own or came.si_code > 0 else came.si_signo

    def close(self) -> None:
        """See PassedSignals."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        signal.signal(signal.SIGALRM, self._alarm)


def _awaited_besides() -> set[signal.Signals]:
    """Those that end the waiting without being passed on."""
    return {signal.SIGCHLD, signal.SIGALRM}


def _is_of_terminal(number: int) -> bool:
    """Whether a signal seems to be a terminal's, so that the child has it as well; on Windows a
    console sends each to all of its processes, and no other can be sent."""
    if signal.Signals(number).name not in _OF_KEYS:
        return False
    if not hasattr(os, "tcgetpgrp"):
        return True
    for descriptor in range(3):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False
