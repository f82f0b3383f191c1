"""A small model of what llama_decodes cost on a machine, and what is chosen from it.

Knows nothing about models or about how costs are measured. What is measured is some contexts side
by side, which share the threads, each computing some columns: tokens of one sequence or of several,
which costs the same. Between the columns that were measured a cost is interpolated, beyond them the
last slope goes on. Schedule, guesses, width of batches and the server's scheduler follow from it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from amulet_local.llama.execution_plan import ExecutionPlan, Schedule

Decodes: TypeAlias = tuple[int, int]
"""Contexts side by side, and the columns that each of them computes."""

STEADY_SPREAD = 0.15
"""Largest spread of a cost that isn't measured again."""
PATIENCE_SECONDS = 3600.0
"""How long one with a larger spread is kept before it is looked whether a better one can be had."""

MARGIN = 0.05
"""A later candidate among the schedules has to be this much faster than an earlier one."""
CANDIDATES: tuple[Schedule, ...] = ("parallel", "serial", "batched")
"""Safe on a busy machine first: a parallel row has no barrier to wait at."""

GUESS_WIDTHS = (1, 8, 16, 4, 2)
"""Tokens of a row at once that guesses may make of one, first what says most: time may be short."""
BATCH_WIDTHS = (1, 4, 8, 16, 2, 32)
"""Columns of a batch that are looked at, in the same order."""
ENOUGH = 0.95
"""The narrowest batch is taken that makes this share of the tokens a second of the best: answers
that are under way longer wait for fewer others."""
WORTHWHILE = 1.1
"""Requests are computed together where that makes so many times the tokens a second."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some decodes take.

    Attributes:
        milliseconds: the median.
        spread: the median difference from it, as a share of it, or what other programs took of
            the processors, if that is more; 1 where it was measured once.
        measured_at: when, in seconds since the epoch.
    """

    milliseconds: float
    spread: float
    measured_at: float

    @property
    def is_settled(self) -> bool:
        """Whether it needn't be measured again at present."""
        age = time.time() - self.measured_at
        return self.spread <= STEADY_SPREAD or 0 <= age < PATIENCE_SECONDS


@dataclass(frozen=True, kw_only=True)
class ScheduleChoice:
    """Which schedule, and what of.

    Attributes:
        schedule: the choice.
        milliseconds: of a step of all rows, by schedule; of those whose cost is known.
        reason: a clause for the reader.
    """

    schedule: Schedule
    milliseconds: dict[Schedule, float]
    reason: str


@dataclass(frozen=True)
class Costs:
    """What is known of a model on a machine.

    Attributes:
        known: costs, by decodes.
    """

    known: Mapping[Decodes, Cost]

    def milliseconds(self, n_contexts: int, n_columns: int) -> float | None:
        """What so many contexts with so many columns each take; None if nothing says so."""
        points = sorted(
            (columns, cost.milliseconds)
            for (contexts, columns), cost in self.known.items()
            if contexts == n_contexts
        )
        if not points or (len(points) == 1 and points[0][0] != n_columns):
            return None
        if len(points) == 1:
            return points[0][1]
        above = next((i for i, point in enumerate(points) if point[0] >= n_columns), -1)
        (left, less), (right, more) = points[above - 1 if above else 0], points[above or 1]
        return max(less + (more - less) * (n_columns - left) / (right - left), points[0][1])

    def step(self, schedule: Schedule, n_rows: int, n_tokens: int = 1) -> float | None:
        """What a step of some rows takes, in milliseconds, each with so many tokens."""
        decodes, times = decodes_of(schedule, n_rows, n_tokens)
        one = self.milliseconds(*decodes)
        return None if one is None else times * one

    def schedule(self, n_rows: int, candidates: Sequence[Schedule]) -> ScheduleChoice:
        """The fastest schedule, an earlier candidate where that is nearly as fast.

        Args:
            candidates: the safest first; its cost is known.
        """
        steps = {name: ms for name in candidates if (ms := self.step(name, n_rows)) is not None}
        best = next(iter(steps), candidates[0])
        for name, ms in steps.items():
            if ms < steps[best] * (1 - MARGIN):
                best = name
        reason = "measured with this model"
        if len(steps) < len(candidates):
            reason = "a step takes too long to measure every schedule"
        elif any(self._is_shaky(name, n_rows) for name in steps):
            reason = "measured on a busy machine, so that it will be measured again"
        return ScheduleChoice(schedule=best, milliseconds=steps, reason=reason)

    def _is_shaky(self, schedule: Schedule, n_rows: int) -> bool:
        cost = self.known.get(decodes_of(schedule, n_rows, 1)[0])
        return cost is not None and cost.spread > STEADY_SPREAD

    def guesses(self, schedule: Schedule, n_rows: int) -> dict[int, float] | None:
        """What a step takes, by the tokens of each row; None where only one token's is known."""
        found = {n: ms for n in GUESS_WIDTHS if (ms := self.step(schedule, n_rows, n)) is not None}
        return found if 1 in found and len(found) > 1 else None

    def batch_width(self) -> int:
        """The narrowest batch that makes nearly as many tokens a second as the best."""
        rates = {n: n / cost.milliseconds for n, cost in self._of_one_context().items()}
        best = max(rates.values(), default=0.0)
        return min((n for n, rate in rates.items() if rate >= ENOUGH * best), default=1)

    def gain_together(self, n_columns: int) -> float:
        """How many times the tokens a second one decode of so many columns makes; 1 if unknown."""
        one, all_ = self.milliseconds(1, 1), self.milliseconds(1, n_columns)
        return 1.0 if one is None or all_ is None else n_columns * one / all_

    def pays_together(self, n_columns: int) -> bool:
        """Whether so many requests are better computed together than in turn."""
        return self.gain_together(n_columns) >= WORTHWHILE

    def _of_one_context(self) -> dict[int, Cost]:
        return {columns: cost for (contexts, columns), cost in self.known.items() if contexts == 1}

    def with_(self, measured: Mapping[Decodes, Cost], *, replaces: bool = False) -> Costs:
        """These and what was measured; of two costs the steadier one, or the new one."""
        known = dict(self.known)
        for decodes, cost in measured.items():
            old = known.get(decodes)
            if old is not None and old.spread <= cost.spread and not replaces:
                cost = Cost(
                    milliseconds=old.milliseconds,
                    spread=old.spread,
                    measured_at=cost.measured_at,
                )
            known[decodes] = cost
        return Costs(known)


def decodes_of(schedule: Schedule, n_rows: int, n_tokens: int) -> tuple[Decodes, int]:
    """The decodes that a step of some rows consists of, and how often they come in turn."""
    if schedule == "parallel" and n_rows > 1:
        return (n_rows, n_tokens), 1
    if schedule == "batched":
        return (1, n_rows * n_tokens), 1
    return (1, n_tokens), n_rows


def candidates_for(
    n_rows: int, plan: ExecutionPlan, *, one_context: bool = True
) -> tuple[Schedule, ...]:
    """Schedules to choose from; for `reproducible` only those that are equal to the bit.

    Where not every row gets a thread, computing rows together is likelier to win than in turn.

    Args:
        one_context: whether all rows can be in one; rows with different adapters can't.
    """
    if not plan.reuse or not one_context:
        return CANDIDATES[:2]
    return CANDIDATES if n_rows <= plan.n_threads else (CANDIDATES[0], CANDIDATES[2], CANDIDATES[1])


def needed(schedules: Iterable[Schedule], n_rows: int, widths: Iterable[int]) -> list[Decodes]:
    """The decodes whose costs say what these schedules take with so many tokens of each row."""
    pairs = [(schedule, n) for schedule in schedules for n in widths]
    return list(dict.fromkeys(decodes_of(name, n_rows, n)[0] for name, n in pairs))
