"""Log-probabilities of a given answer under each row and under their combination.

Knows nothing about chat templates; takes prompts and an answer as token ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amulet_local.generation import Request
from amulet_local.llama.rows import RowSet
from amulet_local.optimizer.realigner import Logits, Realigner
from amulet_local.results import Score


def score(request: Request, answer: Sequence[int], rows: RowSet, realigner: Realigner) -> Score:
    """Teacher-forced log-probabilities of `answer` after the request's prompts.

    Raises:
        BackendError: llama.cpp failed. The rows are empty and usable.
    """
    plan = request.plan
    by_row: list[list[float]] = [[] for _ in range(plan.n_rows)]
    realigned: list[float] = []

    def record(token: int, logits: Sequence[Logits]) -> None:
        for values, row in zip(by_row, logits, strict=True):
            values.append(log_probability(row, token))
        combined = realigner.combine(*plan.pair(logits, realigner), plan.guidance_scale)
        realigned.append(log_probability(combined, token))

    rows.prefill(request.prompts)
    record(answer[0], [rows.logits(row) for row in range(plan.n_rows)])
    done = 1
    while done < len(answer):
        given = answer[done - 1 : min(len(answer) - 1, done - 1 + rows.n_outputs)]
        positions = rows.extend(given)
        for offset, logits in enumerate(positions):
            record(answer[done + offset], logits)
        done += len(given)
    return Score(
        token_ids=tuple(answer),
        plain=tuple(by_row[0]),
        preferences=tuple(tuple(values) for values in by_row[1:]),
        realigned=tuple(realigned),
        guidance_scale=plan.guidance_scale,
    )


def log_probability(logits: Logits, token: int) -> float:
    """log softmax(logits)[token], computed in float64.

    Args:
        logits: float32, shape (V,).
    """
    wide = logits.astype(np.float64)
    largest = wide.max()
    return float(wide[token] - largest - np.log(np.exp(wide - largest).sum()))
