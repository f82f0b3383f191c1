"""Measures a model's rounding noise: what its logits change by when nothing but rounding differs.

Knows nothing about preferences. On quantised weights llama.cpp rounds activations to 8 bits, and
another order of the same sums gives other logits. A fixed text is computed twice, all tokens at
once and one after the other, and the logits are compared. Kept in the user's cache folder by model,
adapters and llama.cpp build.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from amulet_local.common import measurement_cache
from amulet_local.llama import library
from amulet_local.llama.context import Context, ContextSettings, Logits, Span
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker, run_together

TOP = 20
"""Logits compared at each token: the largest, where a choice is made."""

_FILE = "noise.json"
_TEXT = (
    "The lake was calm that morning. A heron stood in the shallow water and waited, while two "
    "children on the bank counted boats and argued about which of them would win the race."
)


def rounding_noise(model: Model, settings: ContextSettings, stop_flag: StopFlag) -> float:
    """Standard deviation of the rounding noise in the difference of two rows, in logits.

    That of one row's logits, centred at each token, times sqrt(2): the rows' noise is independent.

    Args:
        model: the loaded model.
        settings: of the contexts in use; the measurement's are smaller.
        stop_flag: ends it.

    Raises:
        BackendError: llama.cpp failed.
        StoppedError: the stop flag was set.
    """
    key = (
        f"{model.identity}; llama.cpp {library.build_version()}; fa {settings.flash_attention}; "
        f"{settings.cache_type_k}/{settings.cache_type_v}"
    )
    if settings.adapters is not None:
        key += f"; {settings.adapters.fingerprint}"
    kept = measurement_cache.read(_FILE).get(key)
    if isinstance(kept, float) and 0 <= kept < math.inf:
        return kept
    tokens = model.vocabulary.tokenize(_TEXT, add_special=True, parse_special=False)
    measured: float
    worker = Worker("amulet-noise")  # OpenMP would keep threads for the caller's, who lasts
    try:
        task = partial(_measure, model, settings, stop_flag, tokens)
        [measured] = run_together([worker], [task], stop_flag.set)
    finally:
        worker.close()
    measurement_cache.keep(_FILE, key, measured)
    return measured


def _measure(
    model: Model, settings: ContextSettings, stop_flag: StopFlag, tokens: Sequence[int]
) -> float:
    n = len(tokens)
    small = replace(settings, n_ctx=n, n_batch=n, n_outputs=n, n_sequences=2)
    context = Context(model, small, stop_flag)
    context.set_threads(library.usable_cores(), library.usable_cores())
    try:
        context.decode([Span(0, 0, tokens, n)])
        at_once = [context.logits(index).copy() for index in range(n)]
        squares = []
        for position, token in enumerate(tokens):
            context.decode([Span(1, position, [token], 1)])
            squares.append(_spread(at_once[position], context.logits()))
    finally:
        context.close()
    return math.sqrt(2 * math.fsum(squares) / n)


def _spread(left: Logits, right: Logits) -> float:
    """Variance of the difference over the TOP largest logits of `left`."""
    top = np.argpartition(left, -TOP)[-TOP:]
    return float((left[top].astype(np.float64) - right[top]).var())
