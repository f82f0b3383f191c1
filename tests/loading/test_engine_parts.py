"""An engine of ready-made parts: the same engine, with rows of another maker."""

from __future__ import annotations

import queue
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local import AmuletParams, Engine, SamplingParams, errors
from amulet_local.llama.rows import RowSet
from amulet_local.loading.engine_parts import EngineParts, load_parts
from amulet_local.params.runtime import RuntimeParams
from tests.limited import on_linux, run_limited

QUESTION = "How do I sleep better?"
SHORT = SamplingParams(max_tokens=6)


@pytest.fixture
def parts(tiny_path: Path) -> EngineParts:
    return load_parts(tiny_path, RuntimeParams(n_ctx=256, reproducible=True))


def test_engine_of_parts_answers_as_one_of_a_path(parts: EngineParts, tiny_engine: Engine) -> None:
    with Engine.from_parts(parts) as engine:
        answer = engine.generate(QUESTION, preference="concise", sampling=SHORT)
    assert (engine.n_ctx, engine.runtime.n_ctx) == (256, 256)
    expected = tiny_engine.generate(QUESTION, preference="concise", sampling=SHORT)
    assert answer.token_ids == expected.token_ids


def test_engine_and_pool_take_rows_of_the_given_maker(parts: EngineParts) -> None:
    steps: list[int] = []

    class CountedRows(RowSet):
        def step(self, token: int) -> None:
            steps.append(token)
            super().step(token)

    with Engine.from_parts(replace(parts, new_rows=CountedRows)) as engine:
        whole = engine.generate(QUESTION, sampling=SHORT)
        assert steps == list(whole.token_ids[:-1])
        pieces: queue.Queue[Any] = queue.Queue()
        steps.clear()
        with engine.pool(places=1, waiting=1, scheduler="interleaved") as pool:
            pool.submit(engine.request(QUESTION, sampling=SHORT), pieces.put)
            while (piece := pieces.get(timeout=60)).generation is None:
                pass
        assert steps == list(piece.generation.token_ids[:-1])


def test_noise_guard_gets_the_measurement_of_the_parts(parts: EngineParts) -> None:
    measured: list[Any] = []

    def measure(*given: Any) -> float:
        measured.append(given)
        return 0.5

    guarded = AmuletParams(noise_guard=1.0)
    with Engine.from_parts(replace(parts, measure_noise=measure)) as engine:
        engine.generate(QUESTION, preference="concise", preset="paper", sampling=SHORT)
        assert not measured
        engine.generate(QUESTION, preference="concise", amulet=guarded, sampling=SHORT)
        assert measured[0][:2] == (engine.model, parts.settings)


def test_maker_that_fails_leaves_no_model_behind(parts: EngineParts) -> None:
    def fail(*_: Any) -> RowSet:
        raise errors.ContextCreationError("as the test wants it")

    with pytest.raises(errors.ContextCreationError):
        Engine.from_parts(replace(parts, new_rows=fail))
    with pytest.raises(errors.EngineClosedError):
        parts.model.pointer  # noqa: B018


LOADS = """
import sys, amulet_local
with amulet_local.load(sys.argv[1], n_ctx=64, load_mode=sys.argv[2], isolate="never") as engine:
    print("; ".join(engine.warnings))
"""


@on_linux
def test_weights_that_cant_be_locked_are_warned_of_with_what_helps(tiny_path: Path) -> None:
    def warned(mode: str, limits: tuple[int, int]) -> str:
        return run_limited(LOADS, str(tiny_path), mode, locked_memory=limits)

    small = 64 << 10
    assert warned("mmap", (small, small)) == "\n"
    line = warned("mlock", (small, small))
    assert line.startswith("the weights aren't locked in memory, of which")
    assert "64 kB; from the next login on a line `YOUR_NAME - memlock unlimited` in" in line
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        line = warned("mlock", (small, resource.RLIM_INFINITY))
        assert "64 kB; `ulimit -l unlimited` before the command raises" in line
