"""This package's engine as something to be timed: the public calls only, on prompts of arbitrary
tokens, never ending early. Knows nothing about who compares what; lives in a child process.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any

from amulet_local.benchmark.outside import N_PROMPT, Spans, decode_spans
from amulet_local.benchmark.settings import SAMPLINGS
from amulet_local.benchmark.shapes import Shape, arbitrary_tokens
from amulet_local.common.results import Generation
from amulet_local.engine import Engine
from amulet_local.llama import library, memory
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams


class EngineSubject:
    """A loaded engine that answers without or with preferences.

    Attributes:
        facts: about the model and how its rows are computed.
    """

    def __init__(self, model: str, *, n_preferences: int, runtime: dict[str, Any]) -> None:
        self._engine = Engine(model, RuntimeParams(**runtime))
        self._n_preferences = n_preferences
        vocabulary = self._engine.model.vocabulary
        self._n_vocab = vocabulary.n_tokens
        vars(vocabulary)["end_tokens"] = frozenset()  # an answer has the length it is asked for
        self._flush = 0
        self.decode(4)  # compiles, measures the schedule, touches the weights
        self.facts = self._facts()

    def decode(self, n_tokens: int) -> float:
        """Seconds from the first token to `n_tokens` later, greedy."""
        return self._decode(n_tokens, {}).timings.decode_seconds

    def share_outside(self, n_tokens: int, sampling: str) -> float:
        """Share of a step in which no llama_decode runs, for one of SAMPLINGS."""
        self._decode(2, SAMPLINGS[sampling])
        with decode_spans(with_waits=self._offloads) as spans:
            self._decode(n_tokens, SAMPLINGS[sampling])
        n_rows = 1 + self._n_preferences
        calls = 1 if self._engine.plan.schedule == "batched" else n_rows
        if self._offloads:
            calls += n_rows
        return share_outside(spans[-n_tokens * calls :], calls)

    def first_tokens(self, shape: dict[str, Any]) -> list[float]:
        """Seconds to the first token of a question, and of the next with the same system text.

        Nothing of earlier calls is in memory when the first begins.
        """
        self._flush += 1
        unrelated = [[self._flush % 2 + row] for row in range(1 + self._n_preferences)]
        self._answer(unrelated[0], unrelated[1:], 1, {})
        seconds = []
        for variant in range(2):
            plain, preference = Shape(**shape).prompts(self._n_vocab, variant)
            answer = self._answer(plain, [preference] * self._n_preferences, 1, {})
            seconds.append(answer.timings.time_to_first_token_seconds)
        return seconds

    def peak_bytes(self, n_prompt: int) -> int:
        """Peak resident memory of this process, after a prompt of that length and 8 tokens."""
        prompts = [
            arbitrary_tokens(f"peak {row}", n_prompt, self._n_vocab)
            for row in range(1 + self._n_preferences)
        ]
        self._answer(prompts[0], prompts[1:], 8, {})
        return peak_bytes()

    @property
    def _offloads(self) -> bool:
        return self._engine.runtime.n_gpu_layers != 0 and library.supports_gpu_offload()

    def _decode(self, n_tokens: int, sampling: dict[str, Any]) -> Generation:
        prompt = arbitrary_tokens("decode", N_PROMPT, self._n_vocab)
        preferences = [
            [*prompt[:-8], *arbitrary_tokens(f"preference {k}", 8, self._n_vocab)]
            for k in range(self._n_preferences)
        ]
        return self._answer(prompt, preferences, n_tokens + 1, sampling)

    def _answer(
        self,
        plain: list[int],
        preferences: list[list[int]],
        n_tokens: int,
        sampling: dict[str, Any],
    ) -> Generation:
        return self._engine.generate_from_tokens(
            plain,
            preferences or None,
            weights=[1 / len(preferences)] * len(preferences) if preferences else None,
            sampling=SamplingParams(max_tokens=n_tokens, **sampling),
        )

    def _facts(self) -> dict[str, Any]:
        engine, plan = self._engine, self._engine.plan
        at_once = 1 + self._n_preferences if plan.schedule == "parallel" else 1
        per_row = plan.threads_per_row if at_once > 1 else None
        return {
            "schedule": plan.schedule,
            "n_threads": per_row or max(1, plan.n_threads // at_once),
            "n_threads_batch": plan.n_threads_batch,
            "n_preferences": self._n_preferences,
            "description": engine.model.description,
            "size_bytes": engine.model.size_bytes,
            "n_vocab": self._n_vocab,
            "kv_cache_bytes": memory.kv_cache_bytes(
                engine.model.header,
                engine.n_ctx,
                engine.runtime.cache_type_k,
                engine.runtime.cache_type_v,
            ),
        }


def share_outside(spans: Spans, calls_per_step: int) -> float:
    """Share of the time from the first step's begin to the last step's in which no call ran.

    Args:
        spans: (start, end) of the native calls of several steps; those of one step may overlap.
        calls_per_step: how many belong to a step.
    """
    spans = sorted(spans)
    first, last = spans[0][0], spans[-calls_per_step][0]
    busy, done = 0.0, first
    for start, end in spans[:-calls_per_step]:
        start, end = max(start, done), min(end, last)
        busy += max(0.0, end - start)
        done = max(done, end)
    return 1 - busy / (last - first)


def peak_bytes() -> int:
    """Peak resident memory of this process; on Linux of this program, not of the one before it
    in the same process, which ru_maxrss counts as well.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def machine_facts() -> dict[str, Any]:
    """What a process has to load llama.cpp for to know."""
    return {
        "llama_cpp": library.build_version(),
        "cpu_features": library.build_features(),
        "gpu_offload": library.supports_gpu_offload(),
        "usable_cores": library.usable_cores(),
        "logical_cores": os.cpu_count(),
    }
