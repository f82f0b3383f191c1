"""Runs Python code so that permissions and limits hold, also where the tests are root's."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")

_DROP = """
import ctypes, os, resource, sys
soft, hard = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
for capability in (1, 2, 14):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_IPC_LOCK
    ctypes.CDLL(None).prctl(24, capability)  # PR_CAPBSET_DROP; who has none can't, and needn't
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[3:]])
"""


def run_limited(code: str, *arguments: str, locked_memory: tuple[int, int] | None = None) -> str:
    """What code in a process without root's privileges writes; its arguments are sys.argv[1:].

    Args:
        locked_memory: the limits of memory that may be locked, the one that holds and the most that
            it may be raised to; None leaves them.
    """
    limits = locked_memory or resource.getrlimit(resource.RLIMIT_MEMLOCK)
    command = [sys.executable, "-c", _DROP, *map(str, limits), code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
