"""What several tokens at once cost: measured, remembered with its spread, replaced by better."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from amulet_local.common import measurement_cache
from amulet_local.loading import step_costs
from amulet_local.loading.step_costs import StepCosts, measure, remembered_of
from tests.scripted import scripted_engine

NOW = time.time()
GOOD = StepCosts(milliseconds={1: 5.0, 8: 12.0}, spread=0.02, measured_at=NOW)


class SlowRows:
    """Rows that take so long for n tokens."""

    n_outputs = 16

    def __init__(self, seconds: dict[int, float]) -> None:
        self._seconds = seconds
        self.dropped: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> None:
        """Nothing."""

    def extend(self, tokens: Sequence[int]) -> None:
        """Take as long as is said."""
        time.sleep(self._seconds[len(tokens)])

    def drop(self, n_tokens: int) -> bool:
        """Note it."""
        self.dropped.append(n_tokens)
        return True


def test_each_width_is_timed_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "BUDGET_SECONDS", 30.0)
    seconds = {1: 0.02, 2: 0.05, 4: 0.08, 8: 0.12, 16: 0.16}
    rows: Any = SlowRows(seconds)
    costs = measure(rows, 2)
    assert costs is not None
    for width, least in seconds.items():
        assert costs.milliseconds[width] >= 1e3 * least
    assert set(costs.milliseconds) == set(seconds)
    assert sorted(set(rows.dropped)) == sorted(seconds)


def test_where_time_is_short_some_widths_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_costs, "BUDGET_SECONDS", 0.01)
    rows: Any = SlowRows(dict.fromkeys(step_costs.WIDTHS, 0.02))
    assert measure(rows, 2) is None  # one width alone says nothing
    monkeypatch.setattr(step_costs, "BUDGET_SECONDS", 0.03)
    costs = measure(rows, 2)
    assert costs is not None
    assert set(costs.milliseconds) == {1, 8}
    assert costs.spread == 1.0


@pytest.mark.parametrize(
    ("kept", "measured", "wanted"),
    [
        (None, {"spread": 0.5}, 0.5),
        ({"spread": 0.02, "measured_at": NOW - 10**7}, {"spread": 0.01}, 0.02),
        ({"spread": 0.5, "measured_at": NOW - 60}, {"spread": 0.1}, 0.5),
        ({"spread": 0.5, "measured_at": NOW - 7200}, {"spread": 0.1}, 0.1),
        ({"spread": 0.5, "measured_at": NOW - 7200}, {"spread": 0.9}, 0.5),
    ],
    ids=["first", "steady", "unsteady but new", "better", "worse"],
)
def test_better_values_take_the_place_of_worse(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, kept: Any, measured: Any, wanted: float
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(step_costs, "measure", lambda *_: replace(GOOD, **measured))
    with scripted_engine() as engine:
        shared = engine._shared
        key = step_costs._key(shared.parts.model, shared.parts.settings, shared.rows.plan, 2)
        if kept is not None:
            entry = {"milliseconds": {"1": 5.0, "8": 12.0}, **kept}
            measurement_cache.keep("step_costs.json", key, entry)
        found = step_costs.step_costs(shared.parts, shared.stop_flag, shared.rows.plan, 2)
        assert found is not None
        assert found.spread == wanted
        assert remembered_of("scripted.gguf")[key].spread == wanted


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"milliseconds": {"2": 3.0}, "spread": 0.1, "measured_at": 1.0},
        {"milliseconds": {"1": 0.0}, "spread": 0.1, "measured_at": 1.0},
        {"milliseconds": {"1": 1.0, "7": 2.0}, "spread": 0.1, "measured_at": 1.0},
        {"milliseconds": {"x": 1.0}, "spread": 0.1, "measured_at": 1.0},
        {"milliseconds": {"1": 1.0}, "spread": "low", "measured_at": 1.0},
    ],
)
def test_an_unsound_entry_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, entry: Any
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    measurement_cache.keep("step_costs.json", "m.gguf; x", entry)
    assert remembered_of("m.gguf") == {}
