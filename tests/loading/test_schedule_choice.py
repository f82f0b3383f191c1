"""Which schedule is chosen, and what is remembered of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from amulet_local import Engine, RuntimeParams, load
from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.loading import schedule_choice
from amulet_local.loading.schedule_choice import (
    CANDIDATES,
    ScheduleChoice,
    candidates_for,
    choose,
    remembered_choices,
)


def steps(**milliseconds: float) -> dict[Schedule, list[float]]:
    return {name: [value / 1e3] * 9 for name, value in milliseconds.items()}  # type: ignore[misc]


def test_fastest_schedule_is_chosen() -> None:
    choice = choose(steps(parallel=9, serial=14, batched=7), CANDIDATES)
    assert choice.schedule == "batched"
    assert choice.steady
    assert choice.milliseconds == pytest.approx({"parallel": 9, "serial": 14, "batched": 7})


def test_a_safer_schedule_is_kept_where_another_is_hardly_faster() -> None:
    assert choose(steps(parallel=10, serial=9.7, batched=9.6), CANDIDATES).schedule == "parallel"


def test_an_incomplete_measurement_takes_the_fastest_of_what_was_measured() -> None:
    choice = choose(steps(parallel=300, serial=100), CANDIDATES)
    assert choice.schedule == "serial"
    assert "too long" in choice.reason


def test_more_rows_than_threads_are_tried_together_before_in_turn() -> None:
    plan = ExecutionPlan(schedule="parallel", n_threads=2, n_threads_batch=2)
    assert candidates_for(2, plan) == ("parallel", "serial", "batched")
    assert candidates_for(3, plan) == ("parallel", "batched", "serial")
    assert candidates_for(3, replace(plan, reuse=False)) == ("parallel", "serial")


def test_a_noisy_measurement_is_used_but_not_kept() -> None:
    samples = steps(parallel=9, serial=14, batched=7)
    samples["serial"] = [0.010, 0.030, 0.012, 0.025, 0.014, 0.020]
    choice = choose(samples, CANDIDATES)
    assert choice.schedule == "batched"
    assert not choice.steady


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "schedules.json"


def tuned(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, measured: ScheduleChoice, **options: bool
) -> ScheduleChoice:
    with monkeypatch.context() as patch:
        patch.setattr(schedule_choice, "measure", lambda *_: measured)
        return schedule_choice.choose_schedule(
            engine.model, engine._settings, engine._stop_flag, engine.plan, 2, **options
        )


STEADY = ScheduleChoice(schedule="batched", milliseconds={"batched": 5.0}, steady=True, reason="")
OTHER = ScheduleChoice(schedule="serial", milliseconds={"serial": 4.0}, steady=True, reason="")


def test_a_steady_measurement_is_remembered_until_it_is_asked_for_again(
    tiny_engine: Engine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuned(tiny_engine, monkeypatch, STEADY).schedule == "batched"
    assert cache.stat().st_mode & 0o077 == 0
    assert tuned(tiny_engine, monkeypatch, OTHER).schedule == "batched"
    assert tuned(tiny_engine, monkeypatch, OTHER, retune=True).schedule == "serial"
    assert tuned(tiny_engine, monkeypatch, STEADY).schedule == "serial"
    assert [entry.schedule for entry in remembered_choices().values()] == ["serial"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"a": 1}',
        '{"a": {"schedule": "rm -rf", "milliseconds": {}}}',
        '{"a": {"schedule": "serial", "milliseconds": {"serial": "x"}}}',
    ],
)
def test_a_damaged_file_is_as_good_as_none(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    assert remembered_choices() == {}


def test_auto_measures_when_the_first_preference_is_asked_for(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        engine.generate_from_tokens([5, 6, 7])
        assert engine._shared.schedule_choices == {}
        answer = engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert answer.token_ids
        choice = engine._shared.schedule_choices[2]
        assert engine.plan.schedule == choice.schedule
        assert choice.milliseconds["parallel"] > 0
        if choice.steady:
            stored = json.loads(cache.read_text())
            assert [entry["schedule"] for entry in stored.values()] == [choice.schedule]


def test_reproducible_never_chooses_batched(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, reproducible=True, isolate="never") as engine:
        engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert "batched" not in engine._shared.schedule_choices[2].milliseconds


def test_a_schedule_that_is_named_is_not_measured(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, schedule="batched", isolate="never") as engine:
        engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert engine.plan.schedule == "batched"
        assert engine._shared.schedule_choices == {}
    assert RuntimeParams().schedule == "auto"
