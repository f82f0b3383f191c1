"""The wait for a child ends, whatever other threads of the process get."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

STOLEN = """
import signal, socket, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # holds no signal back
from amulet_local.cli.passed_signals import SendersKnown

arm = signal.setitimer
def arm_on_a_busy_machine(*timer):
    arm(*timer)
    time.sleep(3 * timer[1])
signals, (ours, theirs) = SendersKnown(), socket.socketpair()
signal.setitimer = arm_on_a_busy_machine
assert signals.wait(0.1, ours) is None
signal.setitimer = arm
signals.close()
print("came", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system has no sigwaitinfo")
def test_an_alarm_that_another_thread_gets_isnt_the_last() -> None:
    command = [sys.executable, "-c", STOLEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "came\n"), done.stderr
