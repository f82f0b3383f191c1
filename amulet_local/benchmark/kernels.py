"""Times what the optimizer does with a step's rows, beside the published loop.

Knows nothing about models: rows of random logits, one core, medians of alternating turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from amulet_local.benchmark.measure import alternate
from amulet_local.optimizer import kernels
from amulet_local.optimizer.compiled import loaded
from amulet_local.optimizer.iterative import iterate
from amulet_local.optimizer.realigner import Realigner
from amulet_local.params.amulet import AmuletParams
from amulet_local.steering.presets import PRESETS
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering

VOCABULARY_SIZES = (32_000, 49_152, 128_256, 151_936)
"""Llama 2, SmolLM2, Llama 3, Qwen 2.5."""


@dataclass(frozen=True, kw_only=True)
class KernelTimes:
    """Medians for one vocabulary size, in microseconds.

    Attributes:
        n_vocab: V.
        greedy: combination and argmax, with checks for NaN and infinities.
        sampling: the same with the candidates for llama.cpp's samplers written.
        guarded: `greedy` with all that the preset `balanced` does before it.
        compiled_greedy, compiled_guarded: the same by Numba's passes, which take over in a process
            that goes on.
        loop: the published 60 iterations, last position only.
    """

    n_vocab: int
    greedy: float
    sampling: float
    guarded: float
    compiled_greedy: float
    compiled_guarded: float
    loop: float


def measure_kernels(n_vocab: int, *, rounds: int = 200) -> KernelTimes:
    """Time the kernels on random rows of `n_vocab` logits, Numba's compiled anew the first time."""
    rng = np.random.default_rng(0)
    plain = (4 * rng.normal(size=n_vocab)).astype(np.float32)
    preference = plain + rng.normal(size=n_vocab).astype(np.float32)
    scale = AmuletParams().guidance_scale
    realigner = Realigner(n_vocab)
    steering = Steering(
        RowPlan(has_plain=True, weights=(1.0,)),
        PRESETS["balanced"].amulet,
        realigner,
        end_tokens=(2,),
    )

    numbas = _compiled_passes()

    def compiled(timed: Callable[[], object]) -> Callable[[], object]:
        def with_numbas() -> object:
            kernels.use(numbas)
            try:
                return timed()
            finally:
                kernels.use(kernels.NUMPYS)

        return with_numbas

    def greedy() -> int:
        return realigner.greedy(plain, preference, scale)

    def guarded() -> int:
        steering.combine([plain, preference])
        return steering.likeliest()

    fast = alternate(
        {
            "greedy": greedy,
            "sampling": lambda: realigner.fill_candidates(plain, preference, scale),
            "guarded": guarded,
            "compiled_greedy": compiled(greedy),
            "compiled_guarded": compiled(guarded),
        },
        rounds=rounds,
        calls=5,
    )
    slow = alternate({"loop": lambda: iterate(plain, preference)}, rounds=max(3, rounds // 50))
    medians = {name: sample.median * 1e6 for name, sample in {**fast, **slow}.items()}
    return KernelTimes(n_vocab=n_vocab, **medians)


@lru_cache(maxsize=1)
def _compiled_passes() -> kernels.Passes:
    with tempfile.TemporaryDirectory() as folder:
        return loaded(Path(folder))


def kernel_table(rows: list[KernelTimes]) -> str:
    """The figures as a table for the terminal."""
    lines = [
        "Microseconds per token, medians, one core",
        "",
        f"{'':>8} {'NumPy:':>8} {'':>9} {'':>9}   {'Numba:':>8}",
        f"{'V':>8} {'greedy':>8} {'sampling':>9} {'balanced':>9}   {'greedy':>8} {'balanced':>9} "
        f"{'60-step loop':>13}   {'loop/greedy':>12}",
    ]
    lines += [
        f"{row.n_vocab:>8,} {row.greedy:>8.1f} {row.sampling:>9.1f} {row.guarded:>9.1f}   "
        f"{row.compiled_greedy:>8.1f} {row.compiled_guarded:>9.1f} "
        f"{row.loop:>13,.0f}   {row.loop / row.greedy:>11,.0f}x"
        for row in rows
    ]
    return "\n".join(lines)
