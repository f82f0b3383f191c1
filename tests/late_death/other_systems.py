"""Takes away what other systems' Pythons don't have, where SYSTEM_LIKE names one.

What is tested so ran on this system all the same: a call that is there and does something else
isn't found.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

_OF_LINUX = ("sigtimedwait", "sigwaitinfo")
_OF_POSIX = ("pthread_sigmask", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_KILL = signal.SIGKILL


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.kill(process.pid, _KILL)


def become(system: str) -> None:
    """Be like macOS or Windows in this."""
    missing = {"macOS": _OF_LINUX, "Windows": (*_OF_LINUX, *_OF_POSIX)}[system]
    for name in missing:
        delattr(signal, name)
    if system == "Windows":
        del os.tcgetpgrp
        sys.modules["termios"] = None  # type: ignore[assignment]
        subprocess.Popen.kill = _kill  # type: ignore[assignment]
