"""Takes turns: several ways of doing a thing, timed alternately, so that a machine whose speed
drifts slows all of them. Knows nothing about what is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Several measurements of one thing, in seconds unless said otherwise."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The ends of the middle half, in seconds; never outside what was measured."""
        if len(self.seconds) < 2:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """Width of the middle half over the median; 0 is steady."""
        low, high = self.quartiles
        return (high - low) / self.median if self.median else 0.0

    def as_json(self) -> dict[str, Any]:
        """Median, quartiles and every single measurement."""
        low, high = self.quartiles
        return {"median": self.median, "low": low, "high": high, "all": list(self.seconds)}


def alternate(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 1
) -> dict[str, Sample]:
    """Time each way `rounds` times, in turn, after one untimed call each.

    Args:
        ways: what to time, by name.
        rounds: timings per way.
        calls: calls per timing; the time is per call.
    """
    for call in ways.values():
        call()
    timings: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            start = time.perf_counter()
            for _ in range(calls):
                call()
            timings[name].append((time.perf_counter() - start) / calls)
    return {name: Sample(seconds=tuple(values)) for name, values in timings.items()}
