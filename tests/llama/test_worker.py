"""The worker thread: results, exceptions, and an interrupted wait."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from amulet_local.llama.worker import Worker, run_together


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    made = [Worker("first"), Worker("second")]
    yield made
    for worker in made:
        worker.close()


def never() -> None:
    raise AssertionError("nothing was interrupted")


def test_tasks_run_at_the_same_time_and_results_keep_their_order(workers: list[Worker]) -> None:
    meeting = threading.Barrier(2, timeout=10)
    tasks = [lambda: (meeting.wait(), "a")[1], lambda: (meeting.wait(), "b")[1]]
    assert run_together(workers, tasks, never) == ["a", "b"]


def test_exception_reaches_the_caller_after_all_tasks_ended(workers: list[Worker]) -> None:
    ended = threading.Event()

    def fail() -> None:
        raise KeyError("first")

    def slow() -> None:
        time.sleep(0.05)
        ended.set()

    for first_here in (False, True):
        ended.clear()
        with pytest.raises(KeyError, match="first"):
            run_together(workers, [fail, slow], never, first_here=first_here)
        assert ended.is_set()
        assert run_together(workers, [lambda: 1, lambda: 2], never) == [1, 2]


def test_the_first_task_may_run_in_the_callers_thread(workers: list[Worker]) -> None:
    tasks = [threading.get_ident, threading.get_ident]
    here, there = run_together(workers[:1], tasks, never, first_here=True)
    assert here == threading.get_ident() != there


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal to this process")
def test_ctrl_c_reaches_a_waiting_main_thread_and_stops_the_task(workers: list[Worker]) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_together(workers[:1], [lambda: stop.wait(20)], stop.set)
    timer.join()
    assert stop.is_set()
    assert run_together(workers, [lambda: 1, lambda: 2], never) == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals to this process")
@pytest.mark.parametrize("first_here", [False, True])
@pytest.mark.lengthy
def test_no_outcome_is_lost_however_an_interrupt_falls(
    workers: list[Worker], first_here: bool
) -> None:
    """Interrupts at any bytecode of the hand-over, thousands of them, and no wait that hangs."""
    armed = [False]
    interrupts = 0

    def interrupt(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    end = time.monotonic() + 3
    gc.disable()  # an interrupt in the collector's callbacks would be theirs, and reach nobody
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0017)
        while time.monotonic() < end:
            try:
                armed[0] = True
                done = run_together(
                    workers, [lambda: 1, lambda: 2], lambda: None, first_here=first_here
                )
                assert done == [1, 2]
                armed[0] = False
            except KeyboardInterrupt:
                interrupts += 1
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        gc.enable()
    assert interrupts > 20
    assert run_together(workers, [lambda: 1, lambda: 2], never) == [1, 2]
