"""The model of costs, and what is chosen from it; no model of language is needed."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.llama.execution_plan import ExecutionPlan, Schedule
from amulet_local.loading.costs import (
    CANDIDATES,
    Cost,
    Costs,
    Decodes,
    candidates_for,
    decodes_of,
    needed,
)

NOW = time.time()


def costs(milliseconds: dict[Decodes, float], spread: float = 0.02) -> Costs:
    return Costs(
        {
            decodes: Cost(milliseconds=ms, spread=spread, measured_at=NOW)
            for decodes, ms in milliseconds.items()
        }
    )


def of_schedules(parallel: float, serial: float, batched: float, spread: float = 0.02) -> Costs:
    return costs({(2, 1): parallel, (1, 1): serial / 2, (1, 2): batched}, spread)


def test_the_fastest_schedule_is_chosen() -> None:
    choice = of_schedules(9, 14, 7).schedule(2, CANDIDATES)
    assert choice.schedule == "batched"
    assert choice.milliseconds == {"parallel": 9, "serial": 14, "batched": 7}


def test_a_safer_schedule_is_kept_where_another_is_hardly_faster() -> None:
    assert of_schedules(10, 9.7, 9.6).schedule(2, CANDIDATES).schedule == "parallel"


def test_of_an_incomplete_measurement_the_fastest_is_taken() -> None:
    choice = costs({(2, 1): 300, (1, 1): 50}).schedule(2, CANDIDATES)
    assert choice.schedule == "serial"
    assert "too long" in choice.reason


def test_a_busy_machines_choice_says_that_it_is_one() -> None:
    assert "busy" in of_schedules(9, 14, 7, spread=0.4).schedule(2, CANDIDATES).reason
    assert "busy" not in of_schedules(9, 14, 7).schedule(2, CANDIDATES).reason


def test_nothing_known_is_the_safest_schedule() -> None:
    assert costs({}).schedule(2, CANDIDATES).schedule == "parallel"


def test_more_rows_than_threads_are_tried_together_before_in_turn() -> None:
    plan = ExecutionPlan(schedule="parallel", n_threads=2, n_threads_batch=2)
    assert candidates_for(2, plan) == ("parallel", "serial", "batched")
    assert candidates_for(3, plan) == ("parallel", "batched", "serial")
    assert candidates_for(3, replace(plan, reuse=False)) == ("parallel", "serial")


def test_between_two_widths_costs_are_interpolated_and_beyond_them_the_slope_goes_on() -> None:
    known = costs({(1, 1): 10, (1, 4): 16, (1, 8): 20})
    assert [known.milliseconds(1, n) for n in (1, 2, 4, 6, 8, 12)] == [10, 12, 16, 18, 20, 24]
    assert known.milliseconds(2, 1) is None


def test_one_known_width_says_nothing_of_others() -> None:
    assert costs({(1, 1): 10}).milliseconds(1, 1) == 10
    assert costs({(1, 1): 10}).milliseconds(1, 2) is None


@given(st.dictionaries(st.integers(1, 32), st.floats(0.1, 1e3), min_size=2), st.integers(1, 64))
def test_a_cost_is_never_below_that_of_the_narrowest(
    milliseconds: dict[int, float], n_columns: int
) -> None:
    known = costs({(1, n): ms for n, ms in milliseconds.items()})
    cost = known.milliseconds(1, n_columns)
    assert cost is not None
    assert cost >= milliseconds[min(milliseconds)]
    for n, ms in milliseconds.items():
        if ms >= milliseconds[min(milliseconds)]:
            assert known.milliseconds(1, n) == pytest.approx(ms)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("parallel", ((2, 4), 1)), ("batched", ((1, 8), 1)), ("serial", ((1, 4), 2))],
)
def test_a_step_of_two_rows_with_four_tokens_is_these_decodes(
    schedule: Schedule, expected: tuple[Decodes, int]
) -> None:
    assert decodes_of(schedule, 2, 4) == expected


def test_a_single_row_has_no_side_by_side() -> None:
    assert {decodes_of(schedule, 1, 1) for schedule in CANDIDATES} == {((1, 1), 1)}


def test_each_decode_is_needed_once() -> None:
    assert needed(CANDIDATES, 2, (1,)) == [(2, 1), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("milliseconds", "width"),
    [
        ({1: 10, 2: 20, 4: 40}, 1),
        ({1: 10, 2: 12, 4: 15, 8: 31, 16: 70}, 4),
        ({1: 10, 2: 20, 4: 30, 8: 45, 16: 60, 32: 119}, 16),
        ({}, 1),
    ],
)
def test_the_narrowest_of_the_best_widths_is_taken(
    milliseconds: dict[int, float], width: int
) -> None:
    assert costs({(1, n): ms for n, ms in milliseconds.items()}).batch_width() == width


def test_requests_are_computed_together_where_that_makes_more_tokens() -> None:
    repacked = costs({(1, 1): 10, (1, 4): 15, (1, 8): 25})
    assert repacked.gain_together(4) == pytest.approx(40 / 15)
    assert repacked.pays_together(4)
    assert not costs({(1, 1): 10, (1, 4): 39, (1, 8): 78}).pays_together(4)
    assert not costs({(1, 1): 10}).pays_together(4)


def test_guesses_are_priced_by_the_schedule_of_the_rows() -> None:
    known = costs({(2, 1): 10, (2, 8): 45, (1, 1): 6, (1, 16): 40})
    parallel = known.guesses("parallel", 2)
    batched = known.guesses("batched", 2)
    assert parallel is not None
    assert batched is not None
    assert parallel[1] == 10
    assert parallel[8] == 45
    assert batched[8] == 40
    assert costs({(2, 1): 10}).guesses("parallel", 2) is None


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [(0.02, 0.5, "old"), (0.5, 0.02, "new"), (0.1, 0.1, "old")],
    ids=["worse", "better", "no better"],
)
def test_steadier_costs_take_the_place_of_others(old: float, new: float, kept: str) -> None:
    before = Costs({(1, 1): Cost(milliseconds=5, spread=old, measured_at=1.0)})
    found = {(1, 1): Cost(milliseconds=7, spread=new, measured_at=NOW)}
    after = before.with_(found).known[1, 1]
    assert after.milliseconds == (5 if kept == "old" else 7)
    assert after.measured_at == NOW
    assert before.with_(found, replaces=True).known[1, 1] == found[1, 1]


def test_a_shaky_cost_is_settled_for_an_hour_and_a_steady_one_for_good() -> None:
    for spread, age, settled in ((0.5, 60, True), (0.5, 7200, False), (0.02, 10**8, True)):
        cost = Cost(milliseconds=1, spread=spread, measured_at=time.time() - age)
        assert cost.is_settled is settled
