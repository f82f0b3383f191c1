"""Turns: an interrupt in the main thread takes none from another one."""

from __future__ import annotations

import os
import threading
import warnings

import pytest

from amulet_local.common.errors import EngineBusyError, EngineClosedError
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading import stream_lock
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


class Clock:
    """Time that goes on when it is told to, and counts how often it was asked."""

    def __init__(self) -> None:
        self.now, self.n_asked = 0.0, 0

    def monotonic(self) -> float:
        self.n_asked += 1
        return self.now


@pytest.mark.parametrize("asks_before", [True, False])
def test_who_waits_is_patient_after_a_computation_that_took_long(
    monkeypatch: pytest.MonkeyPatch, asks_before: bool
) -> None:
    """A long prompt is one visit, and a busy machine or one that slept makes any visit long."""
    clock = Clock()
    monkeypatch.setattr(stream_lock, "time", clock)
    monkeypatch.setattr(stream_lock, "_LOOK_SECONDS", 0.001)
    lock = StreamLock(StopFlag(), lambda: None)
    ends: list[str] = []

    def take_a_turn() -> None:
        try:
            with lock.turn():
                ends.append("had it")
        except EngineBusyError:
            ends.append("gave up")

    waiter = threading.Thread(target=take_a_turn, daemon=True)

    def looked() -> None:
        asked = clock.n_asked
        while clock.n_asked < asked + 5 and waiter.is_alive():
            threading.Event().wait(0.001)

    with lock.turn():
        if asks_before:
            waiter.start()
            looked()
        with lock.using():
            clock.now += 10 * stream_lock.PATIENCE_SECONDS
        if not asks_before:
            waiter.start()
        looked()
    waiter.join(60)
    assert ends == ["had it"]


def test_a_stream_that_nobody_advances_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_lock, "_LOOK_SECONDS", 0.001)
    monkeypatch.setattr(stream_lock, "PATIENCE_SECONDS", 0.02)
    lock = StreamLock(StopFlag(), lambda: None)
    errors: list[EngineBusyError] = []

    def take_a_turn() -> None:
        with (
            pytest.raises(EngineBusyError, match="in the middle of another stream") as raised,
            lock.turn(),
        ):
            pass
        errors.append(raised.value)

    with lock.turn():
        waiter = threading.Thread(target=take_a_turn)
        waiter.start()
        waiter.join(60)
        assert len(errors) == 1
        with pytest.raises(EngineBusyError), lock.turn():  # by who has it, at once
            pass


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
