"""Finds out what computing several tokens of each row at once costs here, and remembers it.

Knows nothing about what the tokens are for. One llama_decode of n tokens costs less than n of one,
by how much depends on the model's quantisation and on the machine. The measurement takes a few
computations of each width, in small contexts of their own on the loaded model, on as many rows and
by as many threads as will be used. It is kept in the user's cache folder with its spread; a
steadier one takes the place of one that was measured on a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from amulet_local.common import measurement_cache
from amulet_local.llama import library
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.engine_parts import EngineParts

WIDTHS = (1, 8, 16, 4, 2)
"""Tokens of a row at once that are measured, first what says most: time may be short."""

NO_COSTS = dict.fromkeys(WIDTHS, 1.0)
"""As if more tokens cost nothing."""

BUDGET_SECONDS = 0.8
STEADY_SPREAD = 0.15
"""Largest spread of a measurement that isn't made again."""
PATIENCE_SECONDS = 3600.0
"""How long one with a larger spread is kept before it is looked whether a better one can be had."""

_N_SAMPLES = 5
_FILE = "step_costs.json"


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """What computing so many tokens of every row takes.

    Attributes:
        milliseconds: medians, by tokens of a row; 1 is among them.
        spread: the largest median difference from a median, as a share of it; 1 where something
            was measured only once.
        measured_at: when, in seconds since the epoch.
    """

    milliseconds: dict[int, float]
    spread: float
    measured_at: float

    @property
    def is_settled(self) -> bool:
        """Whether it needn't be measured again at present."""
        age = time.time() - self.measured_at
        return self.spread <= STEADY_SPREAD or 0 <= age < PATIENCE_SECONDS


def step_costs(
    parts: EngineParts, stop_flag: StopFlag, plan: ExecutionPlan, n_rows: int
) -> StepCosts | None:
    """What is remembered, or a new measurement; None if there was no time for any.

    Args:
        parts: the engine's; contexts of the measurement are smaller.
        plan: schedule and threads.

    Raises:
        BackendError: llama.cpp failed.
        StoppedError: the stop flag was set.
    """
    model, settings, retune = parts.model, parts.settings, parts.runtime.retune
    key = _key(model, settings, plan, n_rows)
    kept = remembered(key)
    if kept is not None and kept.is_settled and not retune:
        return kept
    small = replace(settings, n_ctx=64, n_batch=32)
    rows = parts.new_rows(model, small, stop_flag, replace(plan, paced=False))
    try:
        costs = measure(rows, n_rows)
    finally:
        rows.close()
    if costs is None:
        return kept
    if kept is not None and kept.spread <= costs.spread and not retune:
        costs = replace(kept, measured_at=costs.measured_at)
    measurement_cache.keep(_FILE, key, asdict(costs))
    return costs


def measure(rows: RowSet, n_rows: int) -> StepCosts | None:
    """Time computations of each width, in the order of WIDTHS, as far as the time goes."""
    end = time.perf_counter() + BUDGET_SECONDS
    prompts = [[1 + row, 2, 3] for row in range(n_rows)]
    rows.prefill(prompts)
    samples: dict[int, list[float]] = {}
    for _ in range(_N_SAMPLES):
        for width in WIDTHS:
            if width > rows.n_outputs or (samples and time.perf_counter() > end):
                continue
            start = time.perf_counter()
            rows.extend([1] * width)
            took = time.perf_counter() - start
            rows.drop(width)
            samples.setdefault(width, []).append(took)
    if len(samples) < 2:
        return None
    medians = {width: statistics.median(values) for width, values in samples.items()}
    spreads = [
        statistics.median(abs(value - medians[width]) for value in values) / medians[width]
        for width, values in samples.items()
        if len(values) > 1
    ]
    return StepCosts(
        milliseconds={width: seconds * 1e3 for width, seconds in medians.items()},
        spread=max(spreads) if len(spreads) == len(samples) else 1.0,
        measured_at=time.time(),
    )


def remembered(key: str) -> StepCosts | None:
    """What the cache file has; None where that isn't sound."""
    return _checked(measurement_cache.read(_FILE).get(key))


def remembered_of(name: str) -> Mapping[str, StepCosts]:
    """Everything in the cache file about models of this file name, by key."""
    entries = measurement_cache.read(_FILE)
    found = {key: _checked(entry) for key, entry in entries.items() if key.startswith(f"{name}; ")}
    return {key: costs for key, costs in found.items() if costs is not None}


def _checked(entry: Any) -> StepCosts | None:
    try:
        milliseconds = {int(n): float(ms) for n, ms in entry["milliseconds"].items()}
        costs = StepCosts(
            milliseconds=milliseconds,
            spread=float(entry["spread"]),
            measured_at=float(entry["measured_at"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    is_sound = 1 in milliseconds and set(milliseconds) <= set(WIDTHS)
    return costs if is_sound and all(ms > 0 for ms in milliseconds.values()) else None


def _key(model: Model, settings: ContextSettings, plan: ExecutionPlan, n_rows: int) -> str:
    return "; ".join(
        [
            model.path.name,
            model.identity,
            f"llama.cpp {library.build_version()}",
            f"{plan.schedule}, {plan.n_threads} threads, {plan.n_threads_batch} for several, "
            f"{plan.threads_per_row or 'even'} per row",
            f"{n_rows} rows",
            f"{settings.cache_type_k}/{settings.cache_type_v}, fa {settings.flash_attention}",
            *([] if settings.adapters is None else [settings.adapters.fingerprint]),
        ]
    )
