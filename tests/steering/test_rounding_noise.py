"""A model's rounding noise: what is measured, how often, and what is remembered of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import AmuletParams, Engine, SamplingParams, errors, load
from amulet_local.llama.context import Context, Span
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.steering import rounding_noise as measuring
from amulet_local.steering.rounding_noise import rounding_noise


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "noise.json"


def measured(engine: Engine, **settings: Any) -> float:
    return rounding_noise(engine.model, replace(engine._settings, **settings), engine._stop_flag)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Measurements give 0.25, 0.5, 0.75, ...; the list has those that were made."""
    made: list[float] = []

    def measure(*_: object) -> float:
        made.append(0.25 * (1 + len(made)))
        return made[-1]

    monkeypatch.setattr(measuring, "_measure", measure)
    return made


def test_noise_is_the_spread_of_the_best_logits_between_two_ways_to_compute_them(
    shallow_engine: Engine, cache: Path
) -> None:
    model = shallow_engine.model
    tokens = model.vocabulary.tokenize(measuring._TEXT, add_special=True, parse_special=False)
    settings = replace(shallow_engine._settings, n_ctx=64, n_batch=64, n_outputs=64, n_sequences=1)
    ways = []
    for at_once in (len(tokens), 1):
        context = Context(model, settings, StopFlag())
        rows = []
        for start in range(0, len(tokens), at_once):
            part = tokens[start : start + at_once]
            context.decode([Span(0, start, part, len(part))])
            rows += [context.logits(i).astype(np.float64) for i in range(len(part))]
        context.close()
        ways.append(np.stack(rows))
    together, one_by_one = ways
    best = np.argsort(-together, axis=1)[:, :20]
    difference = np.take_along_axis(together - one_by_one, best, axis=1)
    variance = (difference - difference.mean(axis=1, keepdims=True)) ** 2
    expected = np.sqrt(2 * variance.mean())
    assert 0.005 < expected < 0.5
    assert measured(shallow_engine) == pytest.approx(expected, rel=1e-3)


def test_exact_weights_have_far_less_noise_than_quantised_ones(
    shallow_engine: Engine, shallow_f32_path: Path, cache: Path
) -> None:
    quantised = measured(shallow_engine)
    with load(shallow_f32_path, n_ctx=64, cache_type_k="f32", cache_type_v="f32") as engine:
        assert 0 < 100 * measured(engine) < quantised


def test_a_measurement_is_made_once(
    shallow_engine: Engine, cache: Path, counted: list[float]
) -> None:
    assert [measured(shallow_engine) for _ in range(3)] == [0.25] * 3
    assert counted == [0.25]
    assert cache.stat().st_mode & 0o077 == 0


def test_other_settings_of_the_computation_are_measured_anew(
    shallow_engine: Engine, cache: Path, counted: list[float]
) -> None:
    ways: list[dict[str, str]] = [{}, {"flash_attention": "on"}, {"cache_type_k": "f32"}]
    for _ in range(2):
        assert [measured(shallow_engine, **way) for way in ways] == [0.25, 0.5, 0.75]


def entry(value: str) -> Callable[[str], str]:
    return lambda key: f"{{{json.dumps(key)}: {value}}}"


@pytest.mark.parametrize(
    "content",
    [
        lambda key: "",
        lambda key: "{",
        lambda key: "null",
        lambda key: "[1, 2]",
        lambda key: "[" * 100_000,
        lambda key: "\udcff",
        entry("null"),
        entry('"0.25"'),
        entry("NaN"),
        entry("Infinity"),
        entry("-0.1"),
        entry("true"),
        entry("1" + "0" * 400),
        entry("[0.25]"),
    ],
)
def test_a_damaged_file_is_measured_over(
    shallow_engine: Engine,
    cache: Path,
    counted: list[float],
    content: Callable[[str], str],
) -> None:
    measured(shallow_engine)
    (key,) = json.loads(cache.read_text())
    cache.write_text(content(key), encoding="utf-8", errors="surrogateescape")
    assert measured(shallow_engine) == 0.5
    assert measured(shallow_engine) == 0.5
    assert counted == [0.25, 0.5]


def test_without_a_folder_to_keep_it_in_the_noise_is_measured_each_time(
    shallow_engine: Engine,
    tmp_path: Path,
    counted: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "file"))
    assert [measured(shallow_engine) for _ in range(2)] == [0.25, 0.5]


def test_a_stopped_measurement_says_so_and_leaves_nothing_behind(
    shallow_engine: Engine, cache: Path
) -> None:
    flag = StopFlag()
    flag.set()
    with pytest.raises(StoppedError):
        rounding_noise(shallow_engine.model, shallow_engine._settings, flag)
    assert not cache.exists()


@pytest.mark.parametrize("failing_call", [1, 5])
def test_a_failed_measurement_is_typed(
    shallow_engine: Engine, cache: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    import llama_cpp

    real = llama_cpp.llama_decode
    calls: list[int] = []

    def sometimes(*arguments: Any) -> int:
        calls.append(1)
        return -3 if len(calls) == failing_call else real(*arguments)

    monkeypatch.setattr(llama_cpp, "llama_decode", sometimes)
    with pytest.raises(errors.DecodeError):
        measured(shallow_engine)
    assert not cache.exists()
    assert measured(shallow_engine) > 0


def test_only_the_noise_guard_asks_for_it(
    shallow_engine: Engine, cache: Path, counted: list[float]
) -> None:
    sampling = SamplingParams(max_tokens=2)
    for guard, n_made in ((0.0, 0), (1.0, 1), (2.0, 1)):
        shallow_engine.generate(
            "Hi", preference="concise", amulet=AmuletParams(noise_guard=guard), sampling=sampling
        )
        assert len(counted) == n_made


def test_cancelling_a_generation_that_measures_ends_it(
    shallow_engine: Engine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_TEXT", "word " * 400)
    real = Context.decode

    def cancelling(context: Context, spans: Any) -> None:
        shallow_engine.cancel()
        real(context, spans)

    with monkeypatch.context() as patch:
        patch.setattr(Context, "decode", cancelling)
        answer = shallow_engine.generate(
            "Hi", preference="concise", amulet=AmuletParams(noise_guard=1.0)
        )
    assert answer.finish_reason == "cancelled"
    assert answer.token_ids == ()
