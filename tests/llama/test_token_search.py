"""Tokens are found by their text, as looking at each of them finds them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local import Engine
from amulet_local.llama.token_search import EDGE, TokenSearch, union
from amulet_local.steering.guards.form.holds import AT_LINE_BEGIN, PATTERNS

PIECES = st.lists(st.sampled_from(["a", ",", ", ", "b,", "\n", "\n\n-", "é", "", "1", " "]))


def each(pieces: list[bytes], pattern: str) -> list[int]:
    """The tokens with this in their text, looked at one by one."""
    texts = [f"{EDGE}{piece.decode('utf-8', 'ignore')}{EDGE}" for piece in pieces]
    return [token for token, text in enumerate(texts) if re.search(pattern, text)]


@pytest.mark.parametrize("pattern", [",", r"\n", rf"(?<={EDGE})[^\W\d]", rf"[ ,](?={EDGE})", r"\d"])
@given(texts=PIECES)
@settings(max_examples=60, deadline=None)
def test_a_pattern_finds_what_looking_at_each_token_finds(pattern: str, texts: list[str]) -> None:
    pieces = [text.encode() for text in texts]
    assert TokenSearch(pieces).having(pattern).tolist() == each(pieces, pattern)


def test_a_part_of_a_character_has_no_text_but_bytes() -> None:
    smile, dash = "\U0001f600".encode(), "\u2014".encode()
    search = TokenSearch([smile[:2], b"ok", b" " + smile, b"\0", b"a" + smile[:3], dash[:1], dash])
    assert search.having(r"[^\0]").tolist() == [1, 2, 4, 6]
    assert search.ending((smile[:2],)).tolist() == [0, 4]
    assert search.ending((dash[:1],)).tolist() == [5]


def test_a_text_begins_with_the_longest_token_first() -> None:
    search = TokenSearch([b"I", b" I", b"I hope", b"I hopes", b"", b"I"])
    assert search.beginnings(b"I hope so") == [2, 0, 5]
    assert search.beginnings("über".encode()) == []


def test_of_a_real_vocabulary_every_token_is_found(shared_engine: Engine) -> None:
    vocabulary = shared_engine.model.vocabulary
    pieces = [vocabulary.piece(token) for token in range(vocabulary.n_tokens)]
    assert vocabulary.token_search.having(",").tolist() == each(pieces, ",")


@pytest.mark.parametrize("pattern", [*PATTERNS.values(), *AT_LINE_BEGIN.values()])
def test_what_a_form_is_without_is_found_in_texts_alone(
    shared_engine: Engine, pattern: str
) -> None:
    vocabulary = shared_engine.model.vocabulary
    found = vocabulary.token_search.having(pattern)
    assert all(vocabulary.piece(int(token)) for token in found)


def test_a_union_has_each_token_once_in_order() -> None:
    found = union([[5, 1], np.array([1, 3], dtype=np.int32), ()])
    assert (found.tolist(), found.dtype) == ([1, 3, 5], np.int32)
    assert union([]).tolist() == []
