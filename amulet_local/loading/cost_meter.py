"""Finds out what llama_decodes cost with a model on this machine, and remembers it.

Knows nothing about what is chosen from the costs (costs.py). A measurement takes a few computations
of each kind, in small contexts of their own on the loaded model, by as many threads as will be
used, within a budget. Costs are kept in the user's cache folder with their spread; a steadier one
takes the place of one that was measured on a busy machine.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, replace
from typing import Any

from amulet_local.common import measurement_cache
from amulet_local.common.errors import BackendError
from amulet_local.common.processor_time import OthersShare
from amulet_local.llama import library, tiled_products
from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.costs import (
    BATCH_WIDTHS,
    GUESS_WIDTHS,
    Cost,
    Costs,
    Decodes,
    ScheduleChoice,
    candidates_for,
    needed,
)
from amulet_local.loading.engine_parts import EngineParts

SCHEDULE_SECONDS = 0.45
GUESSES_SECONDS = 0.8
BATCH_SECONDS = 3.0
"""Budgets of what is measured when it is first asked for: for a schedule, guesses, a batch."""

ALL_SECONDS = 8.0
"""For everything, where somebody asks for that."""
ALL_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Columns of one decode that are measured then."""

_N_SAMPLES = 5
_N_PROMPT = 3
_MOST_COLUMNS = 32
_FILE = "costs.json"


class CostMeter:
    """What is known of a loaded model's costs, and what is chosen from it.

    Attributes:
        costs: what is known.
        schedule_choices: what was chosen, by the number of rows.
    """

    def __init__(self, parts: EngineParts, stop_flag: StopFlag) -> None:
        """Nothing is measured yet.

        Args:
            parts: the engine's, on the CPU; contexts of the measurements are smaller.
            stop_flag: ends a measurement.
        """
        self._parts = parts
        self._stop_flag = stop_flag
        self._key = _key(parts)
        self.costs = remembered(self._key)
        self.schedule_choices: dict[int, ScheduleChoice] = {}
        self._looked: set[Decodes] = set()

    def schedule(self, n_rows: int) -> ScheduleChoice:
        """The schedule for so many rows.

        Raises:
            BackendError: llama.cpp failed.
            StoppedError: the stop flag was set.
        """
        if n_rows not in self.schedule_choices:
            candidates = candidates_for(
                n_rows,
                self._parts.plan,
                one_context=not self._parts.settings.plain_row_is_bare,
            )
            self.know(needed(candidates, n_rows, (1,)), SCHEDULE_SECONDS)
            self.schedule_choices[n_rows] = self.costs.schedule(n_rows, candidates)
        return self.schedule_choices[n_rows]

    def guesses(self, plan: ExecutionPlan, n_rows: int) -> Mapping[int, float] | None:
        """What a step takes, by the tokens of each row; None if there was no time to find out.

        Args:
            plan: of the rows; its schedule counts.

        Raises:
            As `schedule`.
        """
        self.know(needed((plan.schedule,), n_rows, GUESS_WIDTHS), GUESSES_SECONDS)
        return self.costs.guesses(plan.schedule, n_rows)

    def know_batches(self, seconds: float | None = None) -> Costs:
        """The costs, those of batches among them.

        Args:
            seconds: a budget that is smaller than usual.

        Raises:
            As `schedule`.
        """
        limit = BATCH_SECONDS if seconds is None else min(seconds, BATCH_SECONDS)
        self.know([(1, width) for width in BATCH_WIDTHS], limit)
        return self.costs

    def relative_cost(self, n_columns: int) -> float:
        """What one decode of so many columns takes, in any unit; by their number if unknown."""
        return self.costs.milliseconds(1, n_columns) or float(n_columns)

    def know_all(self) -> Costs:
        """Measure once more everything that choices rest on, within some seconds.

        Raises:
            As `schedule`.
        """
        together = [(1, n) for n in ALL_WIDTHS]
        apart = [(n_rows, n) for n_rows in (2, 3) for n in sorted(GUESS_WIDTHS)]
        self._measure([*together, *apart], ALL_SECONDS)
        return self.costs

    def know(self, wanted: Sequence[Decodes], seconds: float) -> None:
        """Measure what isn't known well, as far as the time goes; once in a process.

        Args:
            wanted: what says most comes first.

        Raises:
            As `schedule`.
        """
        unknown = [decodes for decodes in wanted if decodes not in self._looked]
        self._looked.update(wanted)
        if not self._parts.runtime.retune:
            known = self.costs.known
            unknown = [item for item in unknown if not (item in known and known[item].is_settled)]
        if unknown and seconds > 0:
            self._measure(unknown, seconds)

    def _measure(self, wanted: Sequence[Decodes], seconds: float) -> None:
        retune = self._parts.runtime.retune
        measured = measure(self._parts, self._stop_flag, wanted, seconds)
        self.costs = self.costs.with_(measured, replaces=retune)
        kept = {f"{n} x {columns}": asdict(cost) for (n, columns), cost in self.costs.known.items()}
        measurement_cache.keep(_FILE, self._key, kept)


def measure(
    parts: EngineParts, stop_flag: StopFlag, wanted: Sequence[Decodes], seconds: float
) -> dict[Decodes, Cost]:
    """Time these decodes, the first in any case and others while there is time.

    A machine that is busy all the time gives steady costs, which are wrong all the same: a spread
    is at least the share of the processors that other programs took.

    Raises:
        BackendError: llama.cpp failed, with every number of contexts.
        StoppedError: the stop flag was set.
    """
    start = time.perf_counter()
    others = OthersShare()
    groups = list(dict.fromkeys(n_contexts for n_contexts, _ in wanted))
    found: dict[Decodes, Cost] = {}
    failures: list[BackendError] = []
    for position, n_contexts in enumerate(groups):
        spent = time.perf_counter() - start
        if position and spent * (position + 1) / position > seconds:
            break
        share = (seconds - spent) / (len(groups) - position)
        columns = [width for n, width in wanted if n == n_contexts]
        try:
            rows = _rows(parts, stop_flag, n_contexts)
            try:
                found.update(time_rows(rows, n_contexts, columns, share))
            finally:
                rows.close()
        except BackendError as error:  # so many contexts don't work here
            failures.append(error)
    if not found and failures:
        raise failures[0]
    share = others.so_far()
    return {
        decodes: replace(cost, spread=max(cost.spread, share)) for decodes, cost in found.items()
    }


def _rows(parts: EngineParts, stop_flag: StopFlag, n_contexts: int) -> RowSet:
    small = replace(parts.settings, n_ctx=64, n_batch=_MOST_COLUMNS, n_outputs=_MOST_COLUMNS)
    schedule: Schedule = "parallel" if n_contexts > 1 else "serial"
    plan = replace(parts.plan, schedule=schedule, paced=False, exact_reuse=False)
    return parts.new_rows(parts.model, small, stop_flag, plan)


def time_rows(
    rows: RowSet, n_contexts: int, columns: Iterable[int], seconds: float
) -> dict[Decodes, Cost]:
    """Time computations of so many columns of every row, in turns, as far as the time goes."""
    end = time.perf_counter() + seconds
    prompts = [[1 + row, *range(2, 1 + _N_PROMPT)] for row in range(n_contexts)]
    rows.prefill(prompts)
    rows.step(1)  # makes the graph
    samples: dict[int, list[float]] = {}
    for _ in range(_N_SAMPLES):
        for width in columns:
            if samples and time.perf_counter() > end:
                continue
            start = time.perf_counter()
            if width == 1:
                rows.step(1)
                for row in range(n_contexts):
                    rows.logits(row)
            else:
                rows.extend([1] * width)
            samples.setdefault(width, []).append(time.perf_counter() - start)
            if not rows.drop(width):
                rows.prefill(prompts)
    return {(n_contexts, width): _cost(values) for width, values in samples.items()}


def _cost(values: Sequence[float]) -> Cost:
    median = statistics.median(values)
    spread = statistics.median(abs(value - median) for value in values) / median
    return Cost(
        milliseconds=median * 1e3,
        spread=spread if len(values) > 1 else 1.0,
        measured_at=time.time(),
    )


def remembered(key: str) -> Costs:
    """What the cache file has under this key."""
    return _checked(measurement_cache.read(_FILE).get(key))


def remembered_of(name: str) -> Mapping[str, Costs]:
    """Everything in the cache file about models of this file name, by key; the latest last."""
    entries = measurement_cache.read(_FILE)
    found = {key: _checked(entry) for key, entry in entries.items() if key.startswith(f"{name}; ")}
    return {key: costs for key, costs in found.items() if costs.known}


def _checked(entry: Any) -> Costs:
    """The sound ones of an entry's costs."""
    known: dict[Decodes, Cost] = {}
    for name, values in entry.items() if isinstance(entry, dict) else ():
        try:
            n_contexts, columns = (int(part) for part in name.split(" x "))
            cost = Cost(**{field: float(value) for field, value in values.items()})
        except (AttributeError, TypeError, ValueError):
            continue
        is_sound = cost.milliseconds > 0 and all(map(math.isfinite, astuple(cost)))
        if n_contexts > 0 and 0 < columns <= _MOST_COLUMNS and is_sound:
            known[n_contexts, columns] = cost
    return Costs(known)


def _key(parts: EngineParts) -> str:
    settings, plan = parts.settings, parts.plan
    return "; ".join(
        [
            parts.model.path.name,
            parts.model.identity,
            f"llama.cpp {library.build_version()}",
            f"{plan.n_threads} threads, {plan.n_threads_batch} for several, "
            f"{plan.threads_per_row or 'even'} per row",
            f"{settings.cache_type_k}/{settings.cache_type_v}, fa {settings.flash_attention}",
            *(["no tiles"] if tiled_products.are_off() else []),
            *([] if settings.adapters is None else [settings.adapters.fingerprint]),
        ]
    )
