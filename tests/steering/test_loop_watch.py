"""The watch: which tokens it refuses, by definition, and when it lowers the strength."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local import AmuletParams
from amulet_local.steering.guards.base import Surroundings
from amulet_local.steering.guards.loop_watch import (
    APART,
    COLLAPSED_SHARE,
    MAX_PERIOD,
    NEAR,
    RECENT,
    STANDSTILL,
    STRAY_TOKENS,
    STRAYS,
    STRICTNESS,
    UNSURE_NATS,
    WINDOW,
    LoopWatch,
    TokenRole,
    Watch,
)
from amulet_local.steering.text_so_far import TextSoFar
from tests.scripted import ScriptedVocabulary

FIRST_STRETCH, ALLOWED_COPIES = STRICTNESS[0]

tokens_of_few = st.lists(st.integers(0, 2), max_size=70)
looping = st.builds(
    lambda head, stretch, n, tail: head + stretch * n + tail,
    st.lists(st.integers(0, 9), max_size=8),
    st.lists(st.integers(0, 9), min_size=1, max_size=16),
    st.integers(1, 5),
    st.lists(st.integers(0, 9), max_size=20),
)


def text(seed: int, length: int) -> list[int]:
    return random.Random(seed).sample(range(1000, 9000), length)


def refused_by_definition(tokens: list[int], n_loops: int) -> list[int]:
    """What followed the last n tokens k times already, or ended two copies of a short stretch."""
    refused = set()
    for (n, k), most in ((STRICTNESS[0], len(tokens)), (STRICTNESS[min(n_loops, 2)], NEAR)):
        followers: Counter[int] = Counter()
        for end in range(n, len(tokens)):  # an earlier place, after tokens[:end]
            period = len(tokens) - end
            if period <= most and tokens[end - n : end] == tokens[-n:]:
                followers[tokens[end]] += 1
                copies = end >= period and tokens[end - period : end] == tokens[end:]
                if period <= MAX_PERIOD and copies:
                    refused.add(tokens[end])
        refused |= {token for token, count in followers.items() if count >= k}
    return sorted(refused)


@given(tokens_of_few | looping)
def test_refused_tokens_are_those_of_the_definition(tokens: list[int]) -> None:
    watch = Watch()
    loops, last_refused = [], -APART
    for end, token in enumerate(tokens, start=1):
        watch.accept(token)
        loops = [loop for loop in loops if loop > end - RECENT]
        expected = refused_by_definition(tokens[:end], len(loops))
        assert watch.refused() == expected
        if expected:
            if end - last_refused > APART:
                loops.append(end)
            last_refused = end
        assert watch.factor == 0.5 ** len(loops)


@pytest.mark.parametrize("period", [FIRST_STRETCH, 20, MAX_PERIOD])
def test_a_third_copy_is_refused(period: int) -> None:
    stretch = text(period, period)
    watch = Watch()
    for token in [*stretch, *stretch[:-1]]:
        watch.accept(token)
        assert watch.refused() == []
    watch.accept(stretch[-1])
    assert watch.refused() == stretch[:1]
    assert watch.factor == 0.5
    watch.accept(5)
    assert watch.refused() == []
    assert watch.factor == 0.5


def test_a_single_token_may_be_said_as_often_as_a_stretch_is_long() -> None:
    watch = Watch()
    for _ in range(FIRST_STRETCH):
        watch.accept(7)
        assert watch.refused() == []
    watch.accept(7)
    assert watch.refused() == [7]


def test_the_items_of_a_list_are_copies_whatever_their_numbers() -> None:
    dot, *item = text(5, FIRST_STRETCH - 1)
    watch = Watch()
    for number in (1, 2):
        for token in (number, dot, *item):
            assert token not in watch.refused()
            watch.accept(token, TokenRole(is_list_mark=token == dot))
    watch.accept(3)
    assert watch.refused() == []
    watch.accept(dot, TokenRole(is_list_mark=True))
    assert watch.refused() == item[:1]


def test_numbers_that_are_no_list_s_are_told_apart() -> None:
    stretch = text(6, FIRST_STRETCH - 1)
    watch = Watch()
    for number in range(9):
        for token in (number, *stretch):
            watch.accept(token)
            assert watch.refused() == []


def test_text_that_never_repeats_is_left_alone() -> None:
    watch = Watch()
    for token in text(1, 2000):
        watch.accept(token)
        assert watch.refused() == []
    assert watch.factor == 1.0
    assert watch.warnings == ()


def test_a_phrase_may_come_back_between_other_words_and_not_once_too_often() -> None:
    *phrase, last = text(2, FIRST_STRETCH + 1)
    watch = Watch()
    for copy in range(ALLOWED_COPIES + 1):
        for token in [*text(10 + copy, 90), *phrase]:
            watch.accept(token)
        assert watch.refused() == ([last] if copy == ALLOWED_COPIES else [])
        watch.accept(last)


def looped(n_loops: int) -> Watch:
    """A watch that has just seen so many loops."""
    watch = Watch()
    for seed in range(n_loops):
        for token in [*text(seed, FIRST_STRETCH) * 2, *text(50 + seed, APART + 1)]:
            watch.accept(token)
    assert watch.factor == 0.5**n_loops
    return watch


@pytest.mark.parametrize("n_loops", [1, 2])
def test_the_watch_is_stricter_soon_after_a_loop_about_what_is_near(n_loops: int) -> None:
    stretch, copies = STRICTNESS[n_loops]
    *phrase, last = text(90, stretch + 1)
    for apart, is_refused in ((NEAR // 2, True), (NEAR, False)):
        watch = looped(n_loops)
        for i in range(copies):
            for token in (*phrase, last, *text(91 + i, apart)):
                watch.accept(token)
        for token in phrase:
            watch.accept(token)
        assert (last in watch.refused()) == is_refused


def test_a_loop_counts_for_a_while() -> None:
    watch = looped(2)
    for token in text(70, RECENT):
        watch.accept(token)
    assert watch.factor == 1.0
    assert "2 times" in watch.warnings[0]


def test_what_is_refused_again_at_once_is_one_loop() -> None:
    stretch = text(1, 20)
    watch = Watch()
    for token in [*stretch * 2, 1, *stretch[1:], 2]:
        watch.accept(token)
    assert watch.factor == 0.25
    for token in stretch[2:]:
        watch.accept(token)
    assert watch.factor == 0.25


def test_code_may_repeat_itself() -> None:
    watch = Watch()
    for token in text(1, 20) * 4:
        watch.accept(token, TokenRole(is_word=True, may_repeat=True))
        assert watch.refused() == []
    assert watch.warnings == ()


def test_collapse_needs_a_full_window_of_a_sure_row_beside_an_unsure_reference() -> None:
    low, unsure = COLLAPSED_SHARE * UNSURE_NATS * 0.99, UNSURE_NATS
    watch = Watch()
    for n in range(1, 3 * WINDOW + 1):
        watch.note_entropies(low, unsure)
        assert watch.factor == 0.5 ** (n // WINDOW)


@pytest.mark.parametrize(
    ("realigned", "reference"),
    [
        (COLLAPSED_SHARE * UNSURE_NATS * 1.01, UNSURE_NATS),
        (0.0, UNSURE_NATS * 0.99),
        (1.0, 1.0),
    ],
)
def test_a_row_that_has_a_choice_or_needs_none_is_left_alone(
    realigned: float, reference: float
) -> None:
    watch = Watch()
    for _ in range(5 * WINDOW):
        watch.note_entropies(realigned, reference)
    assert watch.factor == 1.0
    assert watch.warnings == ()


def test_the_mean_over_the_window_counts_not_a_single_token() -> None:
    watch = Watch()
    for n in range(10 * WINDOW):
        watch.note_entropies(1.0 if n % WINDOW == 3 else 0.0, 0.6)
    assert watch.factor == 1.0


@given(st.lists(st.floats(-2, 2), max_size=80), st.booleans())
def test_an_answer_strays_between_the_two_means(surprises: list[float], is_drawn: bool) -> None:
    """Against the definition, with the mean of the last tokens computed anew each time."""
    watch = Watch(is_drawn=is_drawn)
    from_nats, until_nats = STRAYS[is_drawn]
    strays, n_strays = False, 0
    for n, surprise in enumerate(surprises, start=1):
        watch.note_surprise(surprise)
        if n >= STRAY_TOKENS:
            mean = sum(surprises[n - STRAY_TOKENS : n]) / STRAY_TOKENS
            n_strays += not strays and mean > from_nats
            strays = mean > (until_nats if strays else from_nats)
        assert watch.factor == (0.0 if strays else 0.5**n_strays)


def test_a_fourth_copy_of_a_word_is_refused_and_of_anything_else_isnt() -> None:
    words, marks = Watch(), Watch()
    for _ in range(3):
        assert words.refused() == marks.refused() == []
        words.accept(5, TokenRole(is_word=True))
        marks.accept(5)
    assert words.refused() == [5]
    assert marks.refused() == []
    assert words.factor == 0.5
    words.accept(6, TokenRole(is_word=True))
    assert words.refused() == []


def test_warnings_say_what_was_done_and_how_often() -> None:
    looped, collapsed, both = Watch(), Watch(), Watch()
    for watch in (looped, both):
        for token in text(3, FIRST_STRETCH) * 2:
            watch.accept(token)
    for watch, times in ((collapsed, 2), (both, 1)):
        for _ in range(times * WINDOW):
            watch.note_entropies(0.0, 1.0)
    (warning,) = looped.warnings
    assert "repeat itself (once); the repetition was broken off" in warning
    (warning,) = collapsed.warnings
    assert "choice of words (2 times); the strength was lowered" in warning
    (warning,) = both.warnings
    assert "repeat itself (once) and stopped having a choice of words (once)" in warning


PIECES = [" **", " Ocean", " ocean", "ocean", "Ocean", " Oc", " oceans", " waves", "s"]


@pytest.mark.parametrize(
    ("end", "refused"),
    [
        ("in the", {" Ocean", " ocean", "ocean", "Ocean", " Oc", "O"}),
        ("in the ", {" Ocean", " ocean", "ocean", "Ocean", " Oc", "O", "o"}),
    ],
)
def test_a_word_that_goes_on_with_a_loop_is_refused_in_any_case(
    end: str, refused: set[str]
) -> None:
    assert refused_pieces(" Ocean", end) == refused


def test_what_lays_out_a_word_may_come_where_the_word_may_not() -> None:
    assert refused_pieces(" **", "5.") == set()
    assert refused_pieces(" **", "** **") == {" **"}


@pytest.mark.parametrize(
    ("end", "more", "ends"),
    [
        ("No!!!!!!!!", {"!", "?", "!!", "! Oh"}, True),
        ("¡¡¡", {"!", "¡¡¡"}, True),
        ("A" + 12 * "r", {"r", "R", "rr"}, True),
        ("No!!!", {"!", "?"}, False),
        ("Arrrr", {"r", "rr"}, False),
        ("`A" + 12 * "r", {"r", "rr"}, False),
    ],
)
def test_a_row_of_marks_or_of_one_letter_comes_to_an_end(
    end: str, more: set[str], ends: bool
) -> None:
    vocabulary: Any = ScriptedVocabulary(["!!", "! Oh", "¡¡¡", "rr"])
    around = Surroundings(amulet=AmuletParams(watch=True), text=TextSoFar(), vocabulary=vocabulary)
    guard = LoopWatch(around)
    for token in vocabulary.tokenize(end, add_special=False, parse_special=False):
        around.text.push(token, vocabulary.pieces[token].decode())
        guard.accept(token, None)
    tokens: Any = guard.refused(None)  # type: ignore[arg-type]
    refused = {vocabulary.pieces[token].decode("utf-8", "ignore") for token in tokens}
    assert more.issubset(refused) == ends


def test_a_word_that_has_begun_is_ended() -> None:
    assert refused_pieces("s", "wave") == set()
    assert refused_pieces("s", "a ") == {"s", "S"}
    assert refused_pieces("s", "海") == {"s", "S"}


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        ("The boat sails.", {"the"}),
        ("The boat sails. It", set()),
        ("The boat sails. It sinks!", {"the", "it"}),
        ("* boat\n", {"boat"}),
        ("* boat\n*", {"boat"}),
        ("1. boat\n2.", {"boat"}),
        ("`boat`. `", set()),
    ],
)
def test_the_guard_sees_where_a_sentence_a_line_and_an_item_begin(
    behind: str, words: set[str]
) -> None:
    vocabulary: Any = ScriptedVocabulary(["The", " boat", "boat", " It", " sails", " sinks"])
    around = Surroundings(amulet=AmuletParams(watch=True), text=TextSoFar(), vocabulary=vocabulary)
    guard = LoopWatch(around)
    marks = vocabulary.tokenize("+-=/&%#~<>", add_special=False, parse_special=False)
    said = vocabulary.tokenize(behind, add_special=False, parse_special=False)
    for token in (*marks * 2, *said):
        around.text.push(token, vocabulary.pieces[token].decode())
        guard.accept(token, None)
    refused: Any = guard.refused(None)  # type: ignore[arg-type]
    whole = {vocabulary.pieces[token].decode().strip().lower() for token in refused}
    assert {word for word in whole if len(word) > 1} == words


def refused_pieces(repeated: str, end: str) -> set[str]:
    """What may not come behind a text that ends so, where this piece would go on with a loop."""
    vocabulary: Any = ScriptedVocabulary(PIECES)
    token = vocabulary.pieces.index(repeated.encode())
    around = Surroundings(amulet=AmuletParams(watch=True), text=TextSoFar(), vocabulary=vocabulary)
    guard = LoopWatch(around)
    for said in [token, *range(100, 100 + FIRST_STRETCH)] * 2:
        around.text.push(said, "")
        guard.accept(said, None)
    around.text.push(0, end)
    refused: Any = guard.refused(None)  # type: ignore[arg-type]
    return {vocabulary.pieces[token].decode() for token in refused}


def test_behind_a_sentence_that_was_said_again_the_next_one_is_another() -> None:
    n, copies = STANDSTILL
    assert copies == 1
    *sentence, last = text(1, n + 1)
    for ends_sentence in (True, False):
        watch = Watch()
        for token in (*sentence, last, *text(2, NEAR), *sentence[:-1]):
            watch.accept(token, TokenRole(ends_sentence=ends_sentence))
            assert watch.refused() == []
        watch.accept(sentence[-1], TokenRole(ends_sentence=ends_sentence))
        assert watch.refused() == ([last] if ends_sentence else [])


def test_soon_after_a_loop_a_sentence_begins_with_another_word() -> None:
    watch = looped(1)
    the, boat = 7, 8
    for token, said in (
        (the, TokenRole(opens=True)),
        *((token, TokenRole()) for token in text(80, 20)),
        (boat, TokenRole(opens=True)),
        (9, TokenRole(may_open=True, ends_sentence=True)),
    ):
        assert watch.refused() == []
        watch.accept(token, said)
    assert watch.refused() == [the, boat]
    for token in text(81, NEAR):
        watch.accept(token)
    watch.accept(9, TokenRole(may_open=True))
    assert watch.refused() == []
    for token in text(82, RECENT):
        watch.accept(token, TokenRole(opens=True))
    watch.accept(9, TokenRole(may_open=True))
    assert watch.refused() == []


def test_the_number_of_an_item_is_no_word_that_it_begins_with() -> None:
    watch = looped(1)
    for token, said in (
        (1, TokenRole(opens=True)),
        (2, TokenRole(is_list_mark=True, may_open=True)),
        (3, TokenRole(opens=True)),
        (4, TokenRole(may_open=True)),
    ):
        watch.accept(token, said)
    assert watch.refused() == [3]
