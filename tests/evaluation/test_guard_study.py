"""The study of guards: it goes on where it was stopped, and its tables are sums of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, load
from amulet_local.common.errors import PromptTooLongError
from amulet_local.common.results import Generation
from amulet_local.evaluation import guard_study
from amulet_local.evaluation.guard_study import (
    POINTS,
    Stage,
    answer,
    figures,
    markdown,
    read_rows,
    run,
    table,
)
from amulet_local.evaluation.pairs import pair_ask
from amulet_local.preferences.preference import resolve
from amulet_local.steering.presets import PRESETS


def row(**changes: Any) -> dict[str, Any]:
    return {
        "point": "paper",
        "preference": "concise",
        "question": "Why?",
        "n_tokens": 10,
        "margin": 0.1,
        "fluency": -1.0,
        **dict.fromkeys(guard_study.SIGNS, False),
        **changes,
    }


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    folder = tmp_path / "questions"
    folder.mkdir()
    for number, name in enumerate(guard_study.SETS):
        entries = [{"index": i, "question": f" Set {number}, number {i}? "} for i in range(30)]
        entries.insert(1, {"index": 99, "question": "long " * 100})
        (folder / f"{name}.json").write_text(json.dumps(entries))
    return folder


def test_screening_and_confirmation_share_no_question(questions: Path) -> None:
    parts = guard_study.stages(questions)
    assert len(parts["screen"].questions) == 16
    assert len(parts["confirm"].questions) == 40
    assert len(parts["confirm"].preferences) == 8
    assert not set(parts["screen"].questions) & set(parts["confirm"].questions)
    assert parts["screen"].questions[:2] == ("Set 0, number 0?", "Set 0, number 1?")


def test_every_preset_is_a_point_that_is_screened_and_confirmed() -> None:
    confirmed = [guard_study.POINTS[name] for name in guard_study.CONFIRMED]
    assert all(
        any(
            (point.amulet, point.placement) == (preset.amulet, preset.placement)
            for point in confirmed
        )
        for preset in PRESETS.values()
    )


def test_figures_are_per_token_and_broken_answers_count_once() -> None:
    rows = [
        row(n_tokens=30, margin=0.2, fluency=-2.0, loops=True, recites=True),
        row(n_tokens=10, margin=0.6, fluency=-1.0),
    ]
    result = figures(rows)
    assert result["margin"] == pytest.approx((30 * 0.2 + 10 * 0.6) / 40)
    assert result["fluency"] == pytest.approx(-70 / 40)
    assert (result["loops"], result["recites"], result["broken"]) == (0.5, 0.5, 0.5)
    assert (result["answers"], result["tokens"]) == (2, 20)


def test_the_report_has_a_table_for_each_precision_and_one_for_all(tmp_path: Path) -> None:
    stage = Stage(name="screen", points=("paper",), preferences=("concise",), questions=("Why?",))
    for precision, margin in (("Q8_0", 0.1), ("Q4_1", 0.3)):
        path = tmp_path / f"screen-{precision}.jsonl"
        path.write_text(json.dumps(row(margin=margin)) + "\n")
    text = markdown(table(stage, tmp_path))
    assert [line for line in text.splitlines() if line.startswith("**")] == [
        "**all**, 2 answers a point",
        "**Q8_0**, 1 answers a point",
        "**Q4_1**, 1 answers a point",
    ]
    assert "| paper | +0.200 | -1.000 |" in text


QUESTIONS = ("Why is the sky blue?", "What is yeast?")


@pytest.fixture(scope="module")
def engine(tiny_path: Path) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=guard_study.N_CTX, n_threads=1) as engine:
        yield engine


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_study, "MAX_TOKENS", 6)
    monkeypatch.setattr(guard_study, "N_PLACES", 2)


@pytest.mark.usefixtures("brief")
def test_a_row_is_what_the_point_answers_and_what_that_is_worth(engine: Engine) -> None:
    point, stored = POINTS["scale 1.5, guarded, user"], []
    answer(engine, point, "concise", QUESTIONS, stored.append)
    assert sorted(row["question"] for row in stored) == sorted(QUESTIONS)
    preference = resolve("concise")[0]
    rows = {row["question"]: row for row in stored}
    asks = [
        pair_ask(preference, text, amulet=point.amulet, placement=point.placement, max_tokens=6)
        for text in QUESTIONS
    ]
    outcomes = engine.answer_all(asks, at_once=2)
    for question, outcome in zip(QUESTIONS, outcomes, strict=True):
        row = rows[question]
        assert isinstance(outcome, Generation)
        assert (row["text"], row["n_tokens"]) == (outcome.text, len(outcome.token_ids))
        assert row["finish_reason"] == outcome.finish_reason
        score = engine.score(
            question,
            outcome.token_ids,
            preference=preference,
            amulet=point.amulet,
            placement=point.placement,
        )
        # several prompts at once are computed in other pieces, and rounded otherwise
        assert row["fluency"] == pytest.approx(score.fluency, rel=0.01, abs=0.05)
        assert row["margin"] == pytest.approx(score.margins[0], rel=0.01, abs=0.05)


@pytest.mark.usefixtures("brief")
def test_a_question_that_cant_be_answered_ends_the_study_and_says_why(engine: Engine) -> None:
    too_long = "long " * guard_study.N_CTX
    with pytest.raises(PromptTooLongError):
        answer(engine, POINTS["paper"], "concise", (*QUESTIONS, too_long), [].append)


@pytest.mark.lengthy
@pytest.mark.usefixtures("brief")
def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    stage = Stage(
        name="screen",
        points=("preference prompt", "KL 0.4, guarded"),
        preferences=("concise",),
        questions=("Why is the sky blue?", "What is yeast?"),
    )
    path = tmp_path / "screen-Q4_1.jsonl"
    run(stage, ["Q4_1"], tmp_path, 2)
    whole = read_rows(path)
    assert len(whole) == 4
    assert all(0 < item["n_tokens"] <= 6 for item in whole)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:40])
    run(stage, ["Q4_1"], tmp_path, 2)
    again = read_rows(path)

    def key(item: dict[str, Any]) -> tuple[str, str]:
        return item["point"], item["question"]

    assert sorted(map(key, again)) == sorted(map(key, whole))
    run(stage, ["Q4_1"], tmp_path, 2)
    assert read_rows(path) == again
