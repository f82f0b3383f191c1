"""How rows are computed: which at once, by how many threads, and what they keep.

Knows nothing about llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["parallel", "serial", "batched"]
"""How rows are computed.

parallel: a context and a thread of its own for each row, the cores split between them.
serial: a context for each row, one after the other, each with all cores.
batched: one context with a sequence for each row, all in one llama_decode.
"""


@dataclass(frozen=True, kw_only=True)
class ExecutionPlan:
    """How rows are computed.

    Attributes:
        schedule: see Schedule.
        n_threads: threads of a step, all rows together.
        n_threads_batch: threads in prefill, all rows together.
        threads_per_row: threads of a step for each row of a `parallel` schedule; None splits
            n_threads evenly.
        reuse: whether rows keep what fits from the generation before, and share prefixes.
        paced: whether steps take fewer threads while other programs keep cores busy.
        exact_reuse: keep only what would be computed in the same chunks again, so that the results
            are the same to the bit as without it. For `parallel` and `serial`.
    """

    schedule: Schedule
    n_threads: int
    n_threads_batch: int
    threads_per_row: int | None = None
    reuse: bool = True
    paced: bool = False
    exact_reuse: bool = False
