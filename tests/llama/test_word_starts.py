"""Which tokens begin a word."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from hypothesis import given
from hypothesis import strategies as st

from amulet_local.llama.word_starts import WordStarts

PIECES = (
    *(b"like", b" Li", b".LIKE", b" l", b"like this", b" likes", b"ike", b" (like) ", b" ", b""),
    *(b"\xc3", b" \xc3", b"\xc3\xbc", b" \xc3\x9cber", b"\xf0", b"\xe5\xa5\xbd", b"li\xc3"),
)


def begun(word: str) -> tuple[set[bytes], set[bytes]]:
    after_mark, bare, _ = WordStarts(PIECES).of(word)
    return {PIECES[token] for token in after_mark}, {PIECES[token] for token in bare}


def test_a_word_begins_with_all_of_it_or_a_part_in_any_case() -> None:
    assert begun("like") == ({b" Li", b".LIKE", b" l", b" (like) "}, {b"like", b"like this"})


def test_a_letter_of_several_bytes_begins_with_some_of_them() -> None:
    assert begun("über") == ({b" \xc3", " Über".encode()}, {b"\xc3", b"\xc3\xbc"})
    assert begun("好") == (set(), {"好".encode()})


def test_half_a_letter_within_a_word_has_to_be_the_words_own() -> None:
    assert b"li\xc3" in begun("lié")[1]
    assert b"li\xc3" not in begun("like")[1] | begun("li")[1]


@given(
    st.lists(st.text(" .aAbBéÉ“\u212a-", min_size=1, max_size=5), max_size=30),
    st.lists(st.text("abék", min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_tokens_are_those_whose_first_word_is_a_beginning(
    pieces: list[str], words: list[str]
) -> None:
    """Whatever words were asked for before."""
    starts = WordStarts([piece.encode() for piece in pieces])
    for word in words:
        found = starts.of(word)
        expected: tuple[list[int], list[int]] = ([], [])
        for token, piece in enumerate(pieces):
            first = re.match(r"([ .“-]*)([abék]+)(.*)", piece.lower())
            if first is not None:
                marks, begun_word, rest = first.groups()
                if begun_word == word or (not rest and word.startswith(begun_word)):
                    expected[not marks].append(token)
        assert (sorted(found[0]), sorted(found[1])) == expected


@given(st.permutations(["patient", "patience", "pat", "über", "übermut"]))
def test_words_of_one_root_are_found_whatever_was_asked_for_before(words: list[str]) -> None:
    pieces = (b"patience", b" Patiently", b"pat", " übermütig".encode(), "“patients".encode())
    starts = WordStarts(pieces)
    found = {word: starts.related(word) for word in words}
    assert found["patient"] == ([1, 4], [0]) == found["patience"]
    assert found["übermut"] == ([3], [])
    assert found["pat"] == found["über"] == ([], [])


def test_threads_that_ask_at_once_get_all_of_it() -> None:
    pieces = [f" a{number:05}".encode() for number in range(20_000)]
    for _ in range(5):
        starts, start = WordStarts(pieces), Barrier(4)

        def ask(starts: WordStarts = starts, start: Barrier = start) -> list[int]:
            start.wait()
            return starts.saying("a19999")

        with ThreadPoolExecutor(4) as threads:
            answers = [threads.submit(ask) for _ in range(4)]
            assert [answer.result() for answer in answers] == [[19_999]] * 4


def test_another_word_may_be_glued_to_one_if_it_is_whole_or_has_a_capital_letter() -> None:
    pieces = (b"british", b"British", b"Brit", b"b", b" British", b"\xc3", b"british, ")
    assert sorted(WordStarts(pieces).of("british")[2]) == [0, 1, 2, 6]


def test_a_token_says_a_word_if_all_of_that_is_its_first_one() -> None:
    pieces = (b"sorry", b" Sorry", b"sor", b"sorry, but", b"sorrys", b" so sorry", b"'")
    assert sorted(WordStarts(pieces).saying("sorry")) == [0, 1, 3]
