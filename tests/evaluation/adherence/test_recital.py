"""What counts as reciting an instruction, and as an opening about the answer itself."""

from __future__ import annotations

import pytest

from amulet_local.evaluation.adherence.recital import opens_about_itself, recites
from tests.evaluation.adherence.examples import PLAIN, QUESTION, TRUE

JOKE = "for a ten-year-old, with a funny joke"


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (JOKE, "For a ten-Year-Old, with a funny joke: why did the pillow laugh?"),
        (JOKE, "Go to bed early. That is my tip for a ten-year-old, with a smile."),
        ("in the style of a pirate", "Here is an answer in the style of a pirate: Arr!"),
        ("in Spanish", "**In Spanish:** El cielo es azul."),
        ("in one sentence", "In one sentence: go to bed."),
        (f"The answer should be like this: {JOKE}.", "The answer should be like this: sleep."),
    ],
)
def test_words_in_a_row_of_the_instruction_are_a_recital(instruction: str, text: str) -> None:
    assert recites(instruction, QUESTION, text)


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        (JOKE, PLAIN),
        (JOKE, "Why did the ten-year-old pillow laugh? It heard a funny joke!"),
        ("in Spanish", "El cielo es azul."),
        ("formal", "It is formal."),
        ('with "I hope that helps." as its last words', "Sleep. I hope that helps."),
        ("", PLAIN),
    ],
)
def test_following_is_no_recital(instruction: str, text: str) -> None:
    assert not recites(instruction, QUESTION, text)


def test_marks_around_a_wish_itself_hide_no_recital() -> None:
    for wording in ('"like a pirate" and short', 'Answer "like a pirate" and short.'):
        assert recites(wording, QUESTION, "Like a pirate and short: arr.")


def test_what_the_question_says_may_be_said() -> None:
    text = "A lullaby for a ten-year-old, with a moon."
    assert recites(JOKE, QUESTION, text)
    assert not recites(JOKE, "What suits for a ten-year-old, with a cold?", text)


def test_answers_that_follow_the_bank_recite_none_of_its_wordings() -> None:
    from amulet_local.evaluation.adherence.bank import BANK

    for item in BANK:
        for wording in item.wordings:
            assert not any(recites(wording, QUESTION, text) for text in TRUE[item.name])


@pytest.mark.parametrize(
    "text",
    [
        "Here is an answer in the style of a pirate: Arr!",
        "Sure! Here's a poem about sleep:\n\nThe moon",
        "Certainly, I will answer like a cowboy. Howdy!",
        "**Answer:** Go to bed.",
        "My answer in lower case: go to bed.",
    ],
)
def test_an_opening_about_the_answer_is_seen(text: str) -> None:
    assert opens_about_itself(text)


@pytest.mark.parametrize(
    "text", [PLAIN, "Here is the thing: sleep early.", "I will sleep better.", "Sure, try tea.", ""]
)
def test_an_opening_about_the_question_is_none(text: str) -> None:
    assert not opens_about_itself(text)
