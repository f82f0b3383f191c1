"""Words as a text grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.words import KEPT_WORDS, GrowingWords, words_of


def grown(*pieces: str) -> GrowingWords:
    words = GrowingWords()
    for piece in pieces:
        words.push(piece)
    return words


@given(st.lists(st.sampled_from(["a", "B", "é", "1", " ", "-", "_", ".", "\n", "bc", " d"])))
def test_pieces_make_the_words_of_the_whole(pieces: list[str]) -> None:
    words, whole = grown(*pieces), words_of("".join(pieces))
    assert words.words == whole[-KEPT_WORDS:]
    assert words.n_words == len(whole)
    assert words.in_word == "".join(pieces)[-1:].isalnum()


@pytest.mark.parametrize("text", ["", " ", "- ", "Sure!", "Sure,", "Oh my, ", "Why not.\n\n", "A:"])
def test_a_phrase_begins(text: str) -> None:
    assert grown(text).begins_phrase


@pytest.mark.parametrize("text", ["Sure", "Salt, pepper and oil,", "Sure. And", "first-"])
def test_no_phrase_begins(text: str) -> None:
    assert not grown(text).begins_phrase


@pytest.mark.parametrize(
    "text",
    [
        "Sure, here's an answer",
        "Here’s a list",
        "Certainly! Let me explain it to you",
        "I'll now answer",
        "Here are some tips",
        "My answer",
    ],
)
def test_an_announcement_is_one_until_its_sentence_ends(text: str) -> None:
    assert grown(*text).announces
    assert not grown(*text, ":").announces
    assert not grown(*text, ". Salt").announces


@pytest.mark.parametrize("text", ["", "There are some tips", "Let me sleep", "Where I will go"])
def test_other_sentences_announce_nothing(text: str) -> None:
    assert not grown(*text).announces
