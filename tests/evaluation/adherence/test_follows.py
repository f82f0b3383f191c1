"""The scorer `follows` on questions with their answers."""

from __future__ import annotations

import sys

import pytest

from amulet_local.common.errors import MissingExtraError
from amulet_local.evaluation.scorers import AnsweredQuestion, scorer_named


def score(text: str, *preferences: str, finish_reason: str = "stop") -> float | None:
    answer = AnsweredQuestion(
        question="Why is the sky blue?",
        preferences=preferences,
        text=text,
        finish_reason=finish_reason,
    )
    with scorer_named("follows") as scorer:
        return scorer.scores([answer])[0]


def test_a_preference_of_the_bank_is_scored_by_its_rule_in_any_wording() -> None:
    lower, usual = "the air scatters blue light more than red.", "The air scatters blue light."
    for wording in ("in lower case only", "without any capital letters"):
        for instruction in (wording, f"The answer should be like this: {wording}."):
            assert score(lower, instruction) == 1.0
            assert score(usual, instruction) == 0.0


def test_where_there_is_no_rule_there_is_no_score() -> None:
    assert score("It is.") is None
    assert score("It is.", "in an odd mood") is None
    assert score("It is.", "in lower case only", "in one sentence") is None


def test_an_answer_cut_off_before_it_can_be_told_has_no_score() -> None:
    assert score("The air scatters", "in one sentence", finish_reason="length") is None
    assert score("It is. So it", "in one sentence", finish_reason="length") == 0.0


def test_the_scorer_names_the_extra_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(MissingExtraError, match=r"py3langid.*amulet-local\[eval\]"):
        scorer_named("follows")
