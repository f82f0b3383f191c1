"""Many words are found as if each had been looked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.common.spellings import pattern_of

LETTERS = st.text("ab<|\n*", min_size=1, max_size=5)


@given(words=st.sets(LETTERS), text=st.text("ab<|\n*", max_size=12))
def test_at_each_place_the_longest_word_is_found(words: set[str], text: str) -> None:
    pattern = pattern_of(words)
    for place in range(len(text) + 1):
        there = [word for word in words if text.startswith(word, place)]
        found = pattern.match(text, place)
        assert (found[0] if found else "") == max(there, key=len, default="")


@pytest.mark.parametrize("n_words", [1, 30, 300])
def test_words_that_are_one_another_s_beginnings_nest_no_deeper_than_patterns_may(
    n_words: int,
) -> None:
    words = ["ab" * n for n in range(1, n_words + 1)]
    assert pattern_of(words).fullmatch("ab" * n_words)
    assert not pattern_of(words).fullmatch("ab" * n_words + "a")


def test_of_no_words_none_is_found() -> None:
    assert pattern_of([]).search("a") is None
