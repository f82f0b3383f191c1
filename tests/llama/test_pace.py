"""Threads of a step: a machine that becomes busy and quiet again gets what is fastest."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local.llama.pace import Pace

Machine = Callable[[int], float]
"""Seconds of a step with so many threads."""


def run(pace: Pace, machine: Machine, n_steps: int, noise: random.Random) -> list[int]:
    """The threads of each step."""
    threads = []
    for _ in range(n_steps):
        threads.append(pace.n_threads)
        pace.took(machine(pace.n_threads) * noise.uniform(0.9, 1.15))
    return threads


def quiet(n_threads: int) -> float:
    return 0.004 + 0.008 / n_threads


def busy(n_cores: int, n_busy: int) -> Machine:
    """Threads that find no core of their own wait for each other at every barrier."""
    return lambda n: quiet(n) * (4.0 if n > n_cores - n_busy else 1.0)


def excess(threads: list[int], machine: Machine, n_cores: int) -> float:
    """Mean time of the steps over that with the number of threads that is fastest."""
    best = min(machine(n) for n in range(1, n_cores + 1))
    return fmean(machine(n) for n in threads) / best


@pytest.mark.parametrize("n_cores", [1, 2, 4, 8, 64])
def test_a_quiet_machine_gets_its_threads(n_cores: int) -> None:
    threads = run(Pace(n_cores), quiet, 400, random.Random(1))
    assert excess(threads, quiet, n_cores) < 1.05


@pytest.mark.parametrize(("n_cores", "n_busy"), [(2, 1), (4, 1), (8, 1), (8, 3), (16, 15)])
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_busy_machine_gets_threads_that_find_a_core(
    n_cores: int, n_busy: int, from_the_start: bool
) -> None:
    pace, noise = Pace(n_cores), random.Random(2)
    if not from_the_start:
        run(pace, quiet, 200, noise)
    machine = busy(n_cores, n_busy)
    threads = run(pace, machine, 400, noise)
    assert excess(threads, machine, n_cores) < 1.5
    assert threads.count(n_cores) < 40
    run(pace, quiet, 1000, noise)
    assert excess(run(pace, quiet, 500, noise), quiet, n_cores) < 1.1


def test_trials_cost_little_where_one_thread_is_slow() -> None:
    def sixteen_cores(n_threads: int) -> float:
        return 0.004 + 0.26 / n_threads

    threads = run(Pace(16), sixteen_cores, 48, random.Random(3))
    assert excess(threads, sixteen_cores, 16) < 1.1
    assert min(threads) > 3


def test_a_step_that_grows_with_the_context_is_no_busy_machine() -> None:
    pace = Pace(4)
    threads = []
    for n in range(1500):
        threads.append(pace.n_threads)
        pace.took(quiet(pace.n_threads) * (1 + n / 300))
    assert excess(threads, quiet, 4) < 1.05


@settings(max_examples=200)
@given(
    n_threads=st.integers(1, 300),
    seconds=st.lists(st.floats(0.0, 1e6, allow_subnormal=True), max_size=300),
)
def test_whatever_steps_take_the_threads_stay_within_their_number(
    n_threads: int, seconds: list[float]
) -> None:
    pace = Pace(n_threads)
    for value in seconds:
        assert 1 <= pace.n_threads <= n_threads
        pace.took(value)
