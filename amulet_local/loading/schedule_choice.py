"""Finds out which schedule computes rows fastest with a model on this machine, and remembers it.

Knows nothing about prompts or preferences. The measurement takes less than half a second: a few
decode steps of each schedule, in small contexts of their own on the loaded model. It is kept in the
user's cache folder, by model, adapters, llama.cpp build, threads, rows and cache types, if it was
steady.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from amulet_local.common import measurement_cache
from amulet_local.common.errors import BackendError
from amulet_local.llama import library
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.llama.model import Model
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag

BUDGET_SECONDS = 0.45
STEADY_SPREAD = 0.10
"""Largest spread (middle half over median) of a measurement that is kept."""
MARGIN = 0.05
"""A later candidate has to be this much faster than an earlier one."""

CANDIDATES: tuple[Schedule, ...] = ("parallel", "serial", "batched")
"""Safe on a busy machine first: a parallel row has no barrier to wait at."""


def candidates_for(
    n_rows: int, plan: ExecutionPlan, *, one_context: bool = True
) -> tuple[Schedule, ...]:
    """What to measure, in this order; for `reproducible` only those that are equal to the bit.

    Where not every row gets a thread, computing rows together is likelier to win than in turn.

    Args:
        one_context: whether all rows can be in one; rows with different adapters can't.
    """
    if not plan.reuse or not one_context:
        return CANDIDATES[:2]
    return CANDIDATES if n_rows <= plan.n_threads else (CANDIDATES[0], CANDIDATES[2], CANDIDATES[1])


_FILE = "schedules.json"
_N_STEPS = 5
_N_PROMPT = 4


@dataclass(frozen=True, kw_only=True)
class ScheduleChoice:
    """What was measured, or why not.

    Attributes:
        schedule: the choice.
        milliseconds: median of a step of all rows, by schedule; empty if nothing was measured.
        steady: whether what was measured has little spread.
        reason: a clause for the reader.
    """

    schedule: Schedule
    milliseconds: dict[str, float]
    steady: bool
    reason: str


def choose_schedule(
    model: Model,
    settings: ContextSettings,
    stop_flag: StopFlag,
    plan: ExecutionPlan,
    n_rows: int,
    *,
    retune: bool = False,
) -> ScheduleChoice:
    """The remembered choice, or a new measurement.

    Args:
        model: the loaded model, on the CPU.
        settings: of the contexts that will be used; the measurement's are smaller.
        stop_flag: ends it.
        plan: threads; its schedule is left out of account.
        n_rows: rows to step, at least 2.
        retune: measure again.

    Raises:
        BackendError: llama.cpp failed.
    """
    key = _key(model, settings, plan, n_rows)
    earlier = None if retune else remembered_choices().get(key)
    if earlier is not None:
        return earlier
    small = replace(settings, n_ctx=64, n_batch=32)
    measured = measure(
        lambda schedule: RowSet(model, small, stop_flag, replace(plan, schedule=schedule)),
        n_rows,
        candidates_for(n_rows, plan, one_context=not settings.plain_row_is_bare),
    )
    if measured.steady:
        measurement_cache.keep(_FILE, key, asdict(measured))
    return measured


def measure(
    make: Callable[[Schedule], RowSet], n_rows: int, candidates: Sequence[Schedule]
) -> ScheduleChoice:
    """Step each candidate a few times within the budget.

    Raises:
        BackendError: none of them works.
    """
    start = time.perf_counter()
    samples: dict[Schedule, list[float]] = {}
    failures: dict[Schedule, BackendError] = {}
    for position, schedule in enumerate(candidates):
        spent = time.perf_counter() - start
        if position and spent * (position + 1) / position > BUDGET_SECONDS:
            break
        rows = make(schedule)
        try:
            share = (BUDGET_SECONDS - spent) / (len(candidates) - position)
            samples[schedule] = _steps(rows, n_rows, share)
        except BackendError as error:  # a schedule that doesn't work here
            failures[schedule] = error
        finally:
            rows.close()
    if not samples:
        raise next(iter(failures.values()))
    return choose(samples, [name for name in candidates if name not in failures])


def choose(
    samples: Mapping[Schedule, list[float]], candidates: Sequence[Schedule]
) -> ScheduleChoice:
    """The fastest candidate, an earlier one where it is nearly as fast.

    Args:
        samples: seconds of single steps by schedule, at least one each, the first candidate's at
            least.
        candidates: all schedules that were to be measured, the safest first.
    """
    medians = {schedule: statistics.median(values) for schedule, values in samples.items()}
    best = next(iter(medians))
    for schedule, median in medians.items():
        if median < medians[best] * (1 - MARGIN):
            best = schedule
    complete = len(samples) == len(candidates)
    steady = all(_spread(values) < STEADY_SPREAD for values in samples.values())
    reason = "measured with this model"
    if not complete:
        reason = "a step takes too long to measure every schedule"
    if not steady:
        reason = "measured, but the machine was busy, so that it will be measured again"
    return ScheduleChoice(
        schedule=best,
        milliseconds={name: median * 1e3 for name, median in medians.items()},
        steady=steady,
        reason=reason,
    )


def remembered_choices() -> dict[str, ScheduleChoice]:
    """Everything in the cache file by key; what isn't sound is left out."""
    entries = measurement_cache.read(_FILE)
    return {key: _checked(entry) for key, entry in entries.items() if _is_sound(entry)}


def _steps(rows: RowSet, n_rows: int, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    rows.prefill([[1 + row, *range(2, _N_PROMPT)] for row in range(n_rows)])
    rows.step(1)
    values: list[float] = []
    while not values or (len(values) < _N_STEPS and time.perf_counter() < end):
        start = time.perf_counter()
        rows.step(1)
        for row in range(n_rows):
            rows.logits(row)
        values.append(time.perf_counter() - start)
    return values


def _spread(values: list[float]) -> float:
    if len(values) < 4:
        return float("inf")
    low, median, high = statistics.quantiles(values, n=4)
    return (high - low) / median


def _key(model: Model, settings: ContextSettings, plan: ExecutionPlan, n_rows: int) -> str:
    return "; ".join(
        [
            model.path.name,
            model.identity,
            f"llama.cpp {library.build_version()}",
            f"{plan.n_threads} threads, {plan.threads_per_row or 'even'} per row",
            f"{n_rows} rows{'' if plan.reuse else ', reproducible'}",
            f"{settings.cache_type_k}/{settings.cache_type_v}, fa {settings.flash_attention}",
            *([] if settings.adapters is None else [settings.adapters.fingerprint]),
        ]
    )


def _is_sound(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and entry.get("schedule") in CANDIDATES
        and isinstance(entry.get("milliseconds"), dict)
        and all(isinstance(value, int | float) for value in entry["milliseconds"].values())
    )


def _checked(entry: dict[str, Any]) -> ScheduleChoice:
    return ScheduleChoice(
        schedule=entry["schedule"],
        milliseconds={str(name): float(ms) for name, ms in entry["milliseconds"].items()},
        steady=True,
        reason=str(entry.get("reason", "measured earlier")),
    )
