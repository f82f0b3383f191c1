"""A model's guess at what a change of an answer shows joins the bank if it is a new one."""

from __future__ import annotations

import pytest

from amulet_local.grammar.gbnf import parse
from amulet_local.preferences.preference import Preference
from amulet_local.profile.candidates import (
    GRAMMAR,
    MAX_CHARACTERS,
    MOST_PREFERENCES,
    proposed,
)
from amulet_local.profile.contents import bank_of

BANK = bank_of(None)


def answered(text: str, before: str = "Hi!", after: str = "Hi.") -> Preference | None:
    """What is proposed where the model says this."""
    return proposed(lambda question, grammar: text, before, after, BANK)


def test_what_the_model_says_is_a_preference_without_weight() -> None:
    found = answered("without  exclamation marks")
    assert found == Preference(text="without exclamation marks")


@pytest.mark.parametrize("text", ["", "in the", "formal", "more formal", "be concise"])
def test_what_says_nothing_new_is_none(text: str) -> None:
    assert answered(text) is None


def test_a_full_bank_gets_no_more() -> None:
    bank = [Preference(text=f"number {n}") for n in range(MOST_PREFERENCES)]
    assert proposed(lambda question, grammar: "like a pirate", "a", "b", bank) is None


def test_the_model_is_shown_both_texts_but_not_all_of_long_ones() -> None:
    asked: list[str] = []

    def ask(question: str, grammar: str) -> str:
        asked.append(question)
        return "short"

    proposed(ask, "zebra " * 5000, "okapi", BANK)
    assert "okapi" in asked[0]
    assert 5 < asked[0].count("zebra") <= MAX_CHARACTERS / 6


def test_the_grammar_is_one() -> None:
    assert parse(GRAMMAR)
