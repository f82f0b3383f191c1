"""Nouns that people type for a preference."""

from __future__ import annotations

import pytest

from amulet_local.preferences.styles import as_manner


@pytest.mark.parametrize(
    ("text", "manner"),
    [
        ("robot", "in the style of a robot"),
        ("angry chef", "in the style of an angry chef"),
        ("stand-up comedian", "in the style of a stand-up comedian"),
        ("Robot", "in the style of a robot"),
        ("poker player", "in the style of a poker player"),
        ("sea shanty", "in the style of sea shanty"),
        ("old man from Texas", "in the style of an old man from Texas"),
        ("valley girl, like totally", "in the style of a valley girl, like totally"),
    ],
)
def test_a_person_or_a_kind_of_text_is_whose_style_it_is(text: str, manner: str) -> None:
    assert as_manner(text) == manner


@pytest.mark.parametrize("text", ["Yoda", "Sherlock Holmes", "Star Wars", "film noir", "poetry"])
def test_a_name_and_what_there_is_one_of_have_no_article(text: str) -> None:
    assert as_manner(text) == f"in the style of {text}"


@pytest.mark.parametrize(
    "text",
    ["gen z slang", "legalese", "simple words", "third person", "broken English", "FAQ style"],
)
def test_what_an_answer_is_written_in(text: str) -> None:
    assert as_manner(text) == f"in {text}"


def test_what_there_are_several_of_has_an_article() -> None:
    assert as_manner("friendly tone") == "in a friendly tone"
    assert as_manner("Irish accent") == "in an Irish accent"


@pytest.mark.parametrize(
    "text", ["emojis!!", "dad jokes", "lots of colour", "corporate buzzwords everywhere"]
)
def test_what_an_answer_has_in_it(text: str) -> None:
    assert as_manner(text) == f"with {text}"


@pytest.mark.parametrize(
    "text",
    [
        *("short", "Funny", "very short", "long and detailed", "poetic", "Shakespearean"),
        *("formel", "kurz und knapp", "courtes réponses", "easy-going", "straight to the point"),
        *("kurz und auf Deutsch", "breve y en español", "very German"),
        *("three sentences max", "20 words or fewer", "all lowercase", "...", "§ 5"),
    ],
)
def test_an_adjective_or_a_limit_is_no_noun(text: str) -> None:
    assert as_manner(text) == ""
