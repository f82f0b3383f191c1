"""What decodes cost: measured on rows within a budget, remembered, measured again where shaky."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from amulet_local import load
from amulet_local.common import measurement_cache
from amulet_local.loading import cost_meter
from amulet_local.loading.cost_meter import CostMeter, remembered_of, time_rows
from amulet_local.loading.costs import BATCH_WIDTHS, Cost, Decodes
from tests.scripted import scripted_engine


class SlowRows:
    """Rows that take so long for n tokens."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self._seconds = seconds
        self.dropped: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> None:
        """Nothing."""

    def step(self, token: int) -> None:
        """Take as long as one takes."""
        time.sleep(self._seconds[1])

    def extend(self, tokens: Sequence[int]) -> None:
        """Take as long as is said."""
        time.sleep(self._seconds[len(tokens)])

    def logits(self, row: int) -> None:
        """Nothing."""

    def drop(self, n_tokens: int) -> bool:
        """Note it."""
        self.dropped.append(n_tokens)
        return True


def test_each_width_is_timed_and_taken_back() -> None:
    seconds = {1: 0.01, 2: 0.02, 8: 0.05}
    rows: Any = SlowRows(seconds)
    found = time_rows(rows, 2, seconds, 60.0)
    assert set(found) == {(2, 1), (2, 2), (2, 8)}
    for width, least in seconds.items():
        assert found[2, width].milliseconds >= 1e3 * least
        assert found[2, width].spread < 1
    assert sorted(set(rows.dropped)) == sorted(seconds)


def test_where_there_is_no_time_the_first_width_is_measured_once() -> None:
    rows: Any = SlowRows({1: 0.0, 8: 0.0})
    found = time_rows(rows, 1, (8, 1), 0.0)
    assert set(found) == {(1, 8)}
    assert found[1, 8].spread == 1.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "costs.json"


Measured = Callable[[Sequence[Decodes]], dict[Decodes, Cost]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[Decodes]]:
    """What is measured, instead of measuring it: 5 ms each, steady."""
    asked: list[list[Decodes]] = []

    def measure(_parts: Any, _flag: Any, wanted: Sequence[Decodes], _s: float) -> Any:
        asked.append([*wanted])
        return {
            item: Cost(milliseconds=5.0, spread=0.02, measured_at=time.time()) for item in wanted
        }

    monkeypatch.setattr(cost_meter, "measure", measure)
    monkeypatch.setattr(cost_meter, "BATCH_SECONDS", 1.0)
    return asked


def meter_of(engine: Any) -> CostMeter:
    """A meter as a new process has it."""
    return CostMeter(engine._shared.parts, engine._shared.stop_flag)


def test_what_is_known_serves_every_choice_and_every_process(
    cache: Path, asked: list[list[Decodes]]
) -> None:
    with scripted_engine() as engine:
        meter = meter_of(engine)
        meter.schedule(2)
        assert [sorted(wanted) for wanted in asked] == [[(1, 1), (1, 2), (2, 1)]]
        meter.know_batches()
        assert asked[1] == [(1, n) for n in BATCH_WIDTHS if n > 2]
        meter.schedule(2)
        meter_of(engine).know_batches()
        assert len(asked) == 2
        assert cache.stat().st_mode & 0o077 == 0
        (known,) = remembered_of("scripted.gguf").values()
        assert set(known.known) == {(2, 1), *((1, n) for n in BATCH_WIDTHS)}


def test_retune_and_measuring_all_measure_what_is_known(
    cache: Path, asked: list[list[Decodes]]
) -> None:
    with scripted_engine() as engine:
        meter_of(engine).schedule(2)
        meter_of(engine).know_all()
        assert (1, 1) in asked[-1]
        assert (2, 1) in asked[-1]
    with scripted_engine(retune=True) as engine:
        n = len(asked)
        meter_of(engine).schedule(2)
        assert len(asked) == n + 1


def test_a_shaky_cost_is_measured_again_after_a_while_and_kept_if_no_better(
    cache: Path, asked: list[list[Decodes]]
) -> None:
    with scripted_engine() as engine:
        key = cost_meter._key(engine._shared.parts)
        old = {"milliseconds": 3.0, "spread": 0.5, "measured_at": time.time() - 7200}
        measurement_cache.keep("costs.json", key, {"2 x 1": old})
        meter = meter_of(engine)
        meter.schedule(2)
        assert (2, 1) in asked[0]
        assert meter.costs.known[2, 1].milliseconds == 5.0


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"1": {"milliseconds": 1, "spread": 0.1, "measured_at": 1}},
        {"1 x 1": {"milliseconds": 0, "spread": 0.1, "measured_at": 1}},
        {"1 x 1": {"milliseconds": "rm -rf", "spread": 0.1, "measured_at": 1}},
        {"1 x 1": {"milliseconds": 1}},
        {"0 x 1": {"milliseconds": 1, "spread": 0.1, "measured_at": 1}},
        {"1 x 1": [1, 2, 3]},
    ],
)
def test_an_unsound_entry_counts_as_none(cache: Path, entry: Any) -> None:
    measurement_cache.keep("costs.json", "m.gguf; x", entry)
    assert remembered_of("m.gguf") == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"a": 1}'])
def test_a_damaged_file_is_as_good_as_none(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    assert remembered_of("a") == {}


def test_auto_measures_when_the_first_preference_is_asked_for(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        meter = engine._shared.meter
        engine.generate_from_tokens([5, 6, 7])
        assert meter.costs.known == {}
        answer = engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert answer.token_ids
        choice = meter.schedule_choices[2]
        assert engine.plan.schedule == choice.schedule
        assert choice.milliseconds["parallel"] > 0
        assert "2 x 1" in next(iter(json.loads(cache.read_text()).values()))


def test_reproducible_never_chooses_batched(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, reproducible=True, isolate="never") as engine:
        engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert "batched" not in engine._shared.meter.schedule_choices[2].milliseconds


def test_a_schedule_that_is_named_is_not_measured(tiny_path: Path, cache: Path) -> None:
    with load(tiny_path, n_ctx=256, schedule="batched", isolate="never") as engine:
        engine.generate_from_tokens([5, 6, 7], [5, 6, 8])
        assert engine.plan.schedule == "batched"
        assert engine._shared.meter.schedule_choices == {}


def test_everything_is_measured_on_a_model_when_asked_for(
    tiny_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_meter, "ALL_WIDTHS", (1, 4))
    monkeypatch.setattr(cost_meter, "ALL_SECONDS", 1e9)
    with load(tiny_path, n_ctx=256, isolate="never") as engine:
        known = engine.measure_costs().known
    assert {(1, 1), (1, 4), (2, 1), (2, 16), (3, 2)} <= set(known)
