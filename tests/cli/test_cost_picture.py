"""The picture of what decodes cost, and `doctor --measure`."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local.cli.cost_picture import picture
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.loading import approved_files, cost_meter
from amulet_local.loading.costs import Cost, Costs, Decodes
from tests.cli.conftest import CallCli

PLAN = ExecutionPlan(schedule="parallel", n_threads=2, n_threads_batch=2)


def costs(milliseconds: dict[Decodes, float], spread: float = 0.02) -> Costs:
    return Costs(
        {
            decodes: Cost(milliseconds=ms, spread=spread, measured_at=1.0)
            for decodes, ms in milliseconds.items()
        }
    )


KNOWN = costs({(1, 1): 10, (1, 2): 18, (1, 8): 40, (2, 1): 12, (2, 8): 60})


def test_bars_are_as_long_as_tokens_a_second() -> None:
    lines = [line for line in picture("m.gguf", KNOWN, PLAN) if line.endswith("#")]
    rates = [1 / 10, 2 / 18, 8 / 40]
    assert [line.count("#") / 40 for line in lines] == pytest.approx(
        [rate / rates[-1] for rate in rates], abs=1 / 40
    )
    assert [line.split()[:2] for line in lines] == [["1", "10.0"], ["2", "18.0"], ["8", "40.0"]]


def test_it_says_what_was_chosen_and_of_what() -> None:
    text = "\n".join(picture("m.gguf", KNOWN, PLAN))
    assert "schedule parallel, of parallel 12.0 ms, batched 18.0 ms, serial 20.0 ms" in text
    assert "requests at once: together" in text
    assert "8 at once 2.00" in text
    assert "batch: 8 rows" in text
    assert "8 cost 5.0 steps" in text
    assert "busy" not in text


def test_where_batches_dont_pay_requests_take_turns() -> None:
    text = "\n".join(picture("m.gguf", costs({(1, 1): 10, (1, 8): 80}, spread=0.5), PLAN))
    assert "requests at once: in turn" in text
    assert "measured on a busy machine" in text


def test_nothing_known_is_no_picture() -> None:
    assert picture("m.gguf", costs({(2, 1): 12}), PLAN) == []


def test_doctor_measures_and_draws(
    call: CallCli, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cost_meter, "ALL_WIDTHS", (1, 2, 8))
    monkeypatch.setattr(cost_meter, "ALL_SECONDS", 0.5)
    approved_files.approve(tiny_path)  # else it is measured in a child, which has the usual widths
    said = call("doctor", "-m", tiny_path).out
    assert "--measure: now" in said
    assert "#" not in said.replace("llama-cpp-python #", "")
    said = call("doctor", "-m", tiny_path, "--measure").out
    assert "tokens/s" in said
    assert "#" in said
    assert "--measure: better" not in said, "it was measured just now"
    assert "requests at once" in call("doctor", "-m", tiny_path).out
