"""A model's guess at what a change of an answer shows joins the bank if it is a new one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from amulet_local.isolation.load import load
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference
from amulet_local.profile.candidates import (
    LEAST_GAIN,
    MAX_CHARACTERS,
    MOST_PREFERENCES,
    SpeaksFor,
    proposed,
)
from amulet_local.profile.contents import bank_of

BANK = bank_of(None)


def gain(of: float) -> SpeaksFor:
    """A change that speaks for every guess by so much."""
    return lambda preference: of


def answered(text: str, by: float = 2 * LEAST_GAIN) -> Preference | None:
    """What is proposed where the model says this, and the change speaks for it by so much."""
    return proposed(lambda question, sampling: text, gain(by), "Hi!", "Hi.", BANK)


def test_what_the_model_says_is_a_preference_without_weight() -> None:
    found = answered("without  exclamation marks")
    assert found == Preference(text="without exclamation marks")


@pytest.mark.parametrize(
    "text", ["", "in the", "the user changed it", "formal", "more formal", "be concise"]
)
def test_what_says_nothing_new_is_none(text: str) -> None:
    assert answered(text) is None


def test_a_full_bank_gets_no_more() -> None:
    bank = [Preference(text=f"number {n}") for n in range(MOST_PREFERENCES)]
    assert proposed(lambda question, sampling: "like a pirate", gain(1), "a", "b", bank) is None


@pytest.mark.parametrize("by", [-1.0, 0.0, 0.9 * LEAST_GAIN])
def test_a_guess_that_the_change_does_not_speak_for_is_none(by: float) -> None:
    assert answered("short and direct", by) is None


def test_the_model_is_shown_both_texts_but_not_all_of_long_ones() -> None:
    asked: list[str] = []

    def ask(question: str, sampling: SamplingParams) -> str:
        asked.append(question)
        return "short"

    proposed(ask, gain(1), "zebra " * 5000, "okapi", BANK)
    assert "okapi" in asked[0]
    assert 5 < asked[0].count("zebra") <= MAX_CHARACTERS / 6


def test_the_model_answers_in_a_few_plain_words(tiny_path: Path) -> None:
    made: list[str] = []

    def ask(question: str, sampling: SamplingParams) -> str:
        made.append(engine.generate(question, method="base", sampling=sampling).text)
        return made[-1]

    with load(tiny_path) as engine:
        proposed(ask, gain(1), "Hi there, how are you!", "Hi.", BANK)
    assert re.fullmatch(r"[a-z-]+( [a-z-]+){0,7}", made[0])
