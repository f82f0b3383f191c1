"""Turns: an interrupt in the main thread takes none from another one."""

from __future__ import annotations

import os
import threading
import warnings

import pytest

from amulet_local.common.errors import EngineClosedError
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.stream_lock import StreamLock
from tests.interrupts import interrupted_everywhere


def test_ctrl_c_in_a_turn_leaves_it_to_others() -> None:
    freed = threading.Event()
    lock = StreamLock(StopFlag(), freed.set)

    def take_a_turn() -> None:
        with lock.turn(), lock.using():
            pass

    n_steps = 0
    for _ in interrupted_everywhere(take_a_turn):
        n_steps += 1
        other = threading.Thread(target=take_a_turn, daemon=True)
        other.start()
        other.join(60)
        assert not other.is_alive()
    assert n_steps > 10
    lock.close()
    assert freed.is_set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_is_told_instead_of_waiting_for_threads_that_it_hasnt() -> None:
    lock = StreamLock(StopFlag(), lambda: None)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a test run may have threads
        child = os.fork()
    if child == 0:
        try:
            lock.check_open()
            os.write(writing, b"nothing was said")
        except EngineClosedError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"load it in each process" in os.read(reading, 1000)
    lock.check_open()
    os.close(reading)
    os.close(writing)
