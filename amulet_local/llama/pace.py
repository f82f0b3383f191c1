"""How many threads take a step, judged by how long steps take.

Knows nothing about llama.cpp. Its threads meet after each operation of the graph; where another
program keeps a core busy, all of them wait for the one that shares that core, and fewer threads
are faster. Nobody says when a core becomes busy, so the steps themselves are the measurement: a
few are taken with fewer threads when they become slow, and now and then one with more. Such trials
are short where they fail: with one thread of sixteen a step takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

TRIAL_STEPS = 4
"""Steps that a number of threads is judged by."""
FAILED_STEPS = 2
"""Steps after which a number of threads has failed, if all of them took WORSE times as long."""
WORSE, FAR_WORSE = 1.25, 1.7
"""So many times the usual duration: that of a number of threads that has failed, and of one below
which no other is tried, since fewer threads have more to compute each."""
SLOW = 1.6
"""So many times its usual duration makes a step slow."""
GAIN = 0.95
"""Another number of threads has to need at most this share of the time."""
FIRST_PAUSE, LONGEST_PAUSE = 32, 512
"""Steps with fewer threads before more are tried again; doubled each time they are no faster."""
_GROWTH = 1.005
"""The usual duration may grow by so much a step, as it does with the length of the context."""


class Pace:
    """Chooses the threads of steps that otherwise cost the same each."""

    def __init__(self, n_threads: int) -> None:
        """Begin with trials, because the machine may be busy from the start.

        Args:
            n_threads: of a quiet machine; at least 1.
        """
        self._levels = _levels(n_threads)
        self._level = 0
        self._usual: float | None = None
        self._times: list[float] = []
        self._trials: list[int] = []
        self._found: dict[int, float] = {}
        self._pause = FIRST_PAUSE
        self._steps = 0

    @property
    def n_threads(self) -> int:
        """Threads for the next step."""
        return self._levels[self._trials[0] if self._trials else self._level]

    def took(self, seconds: float) -> None:
        """Note how long a step with `n_threads` took."""
        self._times.append(seconds)
        del self._times[:-TRIAL_STEPS]
        if self._trials:
            self._go_on_trying()
        elif len(self._times) == TRIAL_STEPS:
            self._watch(median(self._times))

    def _watch(self, now: float) -> None:
        self._steps += 1
        if self._usual is None or now > SLOW * self._usual:
            self._try(now, range(self._level + 1, len(self._levels)))
        elif self._level > 0 and self._steps >= self._pause:
            self._try(now, [self._level - 1])
        else:
            self._usual = min(now, self._usual * _GROWTH)

    def _try(self, now: float, levels: Iterable[int]) -> None:
        self._usual = now
        self._steps = 0
        self._trials = list(levels)
        self._found.clear()
        self._times.clear()

    def _go_on_trying(self) -> None:
        assert self._usual is not None
        least = min(self._times)
        failed = len(self._times) >= FAILED_STEPS and least > WORSE * self._usual
        if not failed and len(self._times) < TRIAL_STEPS:
            return
        self._found[self._trials.pop(0)] = median(self._times)
        if failed and least > FAR_WORSE * self._usual:
            self._trials.clear()
        self._times.clear()
        if not self._trials:
            self._judge()

    def _judge(self) -> None:
        assert self._usual is not None
        best = min(self._found, key=self._found.__getitem__)
        if self._found[best] <= GAIN * self._usual:
            self._level, self._usual, self._pause = best, self._found[best], FIRST_PAUSE
        else:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)


def _levels(n_threads: int) -> list[int]:
    """All threads, one fewer, and then half as many each time: [8, 7, 3, 1]."""
    levels = [n_threads]
    while levels[-1] > 1:
        levels.append(levels[-1] // 2 if len(levels) > 1 else n_threads - 1)
    return levels
