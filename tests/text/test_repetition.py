"""Loops in a sequence of tokens, against their definition."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.repetition import (
    MAX_PERIOD,
    MIN_REPEATED_TOKENS,
    loops,
    repeated_share,
    repeated_tail,
)

few_tokens = st.lists(st.integers(0, 2), max_size=40)
looping = st.builds(
    lambda head, stretch, n: head + stretch * n,
    st.lists(st.integers(0, 5), max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.integers(1, 20),
)


def text(seed: int, length: int) -> list[int]:
    return [random.Random(seed).randrange(10**6) + i * 10**6 for i in range(length)]


def tail_by_definition(tokens: list[int]) -> int:
    """The smallest period p whose last max(2 p, 16) tokens equal those p places before."""
    for period in range(1, MAX_PERIOD + 1):
        span = max(2 * period, 16)
        if len(tokens) >= span + period and tokens[-span:] == tokens[-span - period : -period]:
            return period
    return 0


@given(few_tokens | looping)
def test_period_of_the_tail_is_that_of_the_definition(tokens: list[int]) -> None:
    assert repeated_tail(tokens) == tail_by_definition(tokens)


@given(few_tokens | looping)
def test_a_loop_anywhere_is_one_at_the_end_of_some_beginning(tokens: list[int]) -> None:
    ends = range(len(tokens) + 1)
    assert loops(tokens) == any(tail_by_definition(tokens[:end]) for end in ends)


@pytest.mark.parametrize("period", [1, 3, 8, 20, MAX_PERIOD])
def test_three_copies_are_a_loop_wherever_they_stand(period: int) -> None:
    stretch = text(period, period)
    copies = max(3, MIN_REPEATED_TOKENS // period + 2)
    for before, after in ((0, 0), (30, 0), (0, 30), (5, 5)):
        tokens = text(1, before) + stretch * copies + text(2, after)
        assert loops(tokens)
        assert repeated_tail(tokens) == (0 if after else period)
    assert not loops(text(1, 30) + stretch * 2 + text(2, 30))


@pytest.mark.parametrize("period", [1, 3, 8, 20, MAX_PERIOD])
def test_a_loop_begins_with_the_last_token_that_it_takes(period: int) -> None:
    stretch = text(period, period)
    tokens = (stretch * 20)[: period + max(2 * period, MIN_REPEATED_TOKENS)]
    assert repeated_tail(tokens) == period
    assert repeated_tail([-1, *tokens[1:]]) == 0


def test_a_stretch_longer_than_the_longest_is_no_loop() -> None:
    assert not loops(text(1, MAX_PERIOD + 1) * 4)


def test_a_short_stammer_is_no_loop() -> None:
    assert not loops([7] * MIN_REPEATED_TOKENS)
    assert loops([7] * (MIN_REPEATED_TOKENS + 1))


@given(few_tokens | looping, st.integers(1, 9))
def test_repeated_share_counts_tokens_of_stretches_that_stood_before(
    tokens: list[int], stretch: int
) -> None:
    starts = range(len(tokens) - stretch + 1)
    again = [
        start
        for start in starts
        if any(tokens[i : i + stretch] == tokens[start : start + stretch] for i in range(start))
    ]
    covered = {start + i for start in again for i in range(stretch)}
    assert repeated_share(tokens, stretch) == len(covered) / max(len(tokens), 1)
