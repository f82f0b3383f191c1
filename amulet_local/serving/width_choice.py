"""Finds out how many rows a llama_decode computes best on this machine, and remembers it.

Knows nothing about requests. One llama_decode of many columns costs less than as many of one, up to
a width that depends on the model's quantisation and on the machine. The measurement takes some
steps of each width in a small context of its own on the loaded model, and is kept in the user's
cache folder if it was steady.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import replace

from amulet_local.common import measurement_cache
from amulet_local.llama import library
from amulet_local.llama.context import Context, ContextSettings
from amulet_local.llama.model import Model
from amulet_local.llama.sequences import Part, Sequences
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.loading.shared_rows import SharedRows

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Rows of a llama_decode that are measured."""

ENOUGH = 0.95
"""The narrowest width is taken that makes this share of what the best one makes: answers that are
under way longer wait for fewer others."""

STEADY_SPREAD = 0.10
"""Largest spread (all over the median) of a measurement that is kept."""

BUDGET_SECONDS = 3.0
_N_STEPS = 5
_FILE = "widths.json"


def best_width(shared: SharedRows, *, retune: bool = False) -> int:
    """How many rows a llama_decode should have: the remembered width, or a new measurement.

    Args:
        shared: of the engine, whose turn it is.
        retune: measure again.

    Raises:
        BackendError: llama.cpp failed.
    """
    model, settings = shared.parts.model, shared.parts.settings
    n_threads = shared.rows.plan.n_threads
    key = _key(model, settings, n_threads)
    kept = None if retune else measurement_cache.read(_FILE).get(key)
    if kept in WIDTHS:
        assert isinstance(kept, int)
        return kept
    samples = measure(model, settings, shared.stop_flag, n_threads)
    width = choose({n: statistics.median(values) for n, values in samples.items()})
    if all(_spread(values) < STEADY_SPREAD for values in samples.values()):
        measurement_cache.keep(_FILE, key, width)
    return width


def measure(
    model: Model, settings: ContextSettings, stop_flag: StopFlag, n_threads: int
) -> dict[int, list[float]]:
    """Seconds of single steps by width, narrow ones first, as far as the time goes.

    Raises:
        BackendError: llama.cpp failed.
    """
    widest = WIDTHS[-1]
    small = replace(settings, n_ctx=64, n_batch=64, n_sequences=widest, n_outputs=widest)
    sequences = Sequences(Context(model, small, stop_flag), can_drop=model.can_drop_tokens)
    samples: dict[int, list[float]] = {}
    end = time.perf_counter() + BUDGET_SECONDS
    try:
        sequences.context.set_threads(n_threads, n_threads)
        for width in WIDTHS:
            for step in range(_N_STEPS + 1):
                start = time.perf_counter()
                outputs = sequences.decode([Part(n, (1 + n + step,)) for n in range(width)])
                for output in outputs:
                    sequences.logits(output)
                if step:  # the first one of a width makes its graph
                    samples.setdefault(width, []).append(time.perf_counter() - start)
            if time.perf_counter() > end:
                break
    finally:
        sequences.close()
    return samples


def choose(seconds: Mapping[int, float]) -> int:
    """The narrowest width that makes nearly as many tokens a second as the best.

    Args:
        seconds: of a step, by width.
    """
    best = max(width / took for width, took in seconds.items())
    return min(width for width, took in seconds.items() if width / took >= ENOUGH * best)


def _spread(values: list[float]) -> float:
    return (max(values) - min(values)) / statistics.median(values)


def _key(model: Model, settings: ContextSettings, n_threads: int) -> str:
    return "; ".join(
        [
            model.path.name,
            model.identity,
            f"llama.cpp {library.build_version()}",
            f"{n_threads} threads",
            f"{settings.cache_type_k}/{settings.cache_type_v}, fa {settings.flash_attention}",
            *([] if settings.adapters is None else [settings.adapters.fingerprint]),
        ]
    )
