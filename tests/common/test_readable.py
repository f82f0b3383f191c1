"""Figures as people read them. What `visible` does is tested with the terminal."""

from __future__ import annotations

import math

import pytest

from amulet_local.common.readable import duration, factor, percent, speed, strip, times_likelier


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (1.0, "100.0%"),
        (0.3821, "38.2%"),
        (0.01, "1.0%"),
        (0.0034, "0.34%"),
        (0.0000123, "0.0012%"),
        (0.000009, "<0.001%"),
    ],
)
def test_percentages_have_two_or_three_digits(share: float, shown: str) -> None:
    assert percent(math.log(share)) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        *((1, "x1.0"), (8.44, "x8.4"), (12.3, "x12"), (1262, "x1,262"), (0.5, "x0.5")),
        *((0.012, "x0.012"), (45_000, "x45 thousand"), (1.9e6, "x1.9 million")),
        *((2e7, "x20 million"), (1e-6, "/1.0 million"), (1e16, ">x1 quadrillion")),
    ],
)
def test_factors_have_two_digits_or_are_whole(ratio: float, shown: str) -> None:
    assert factor(math.log(ratio)) == shown


def test_what_is_impossible_or_unknown_is_said() -> None:
    assert percent(None) == factor(None) == "-"
    assert percent(-math.inf) == "0%"
    assert factor(-math.inf) == "x0"
    assert factor(math.inf) == "from 0%"
    assert factor(math.log(2), "×") == "×2.0"
    assert factor(math.log(1e-6), "×") == "÷1.0 million"


def test_the_strip_has_the_largest_value_at_full_height() -> None:
    assert strip([0.0, 0.5, 1.0]) == "▁▅█"
    assert strip([0.0, 5.0, 10.0], ascii_only=True) == "047"
    assert strip([0.0, 0.0]) == "▁▁"
    assert strip([]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "1 s"), (89.4, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")],
)
def test_times_have_the_unit_that_a_person_would_use(value: float, text: str) -> None:
    assert duration(value) == text


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "as likely as plain"),
        (1.5, "1.5 times likelier than plain"),
        (1 / 12, "12 times less likely than plain"),
        (1234, "1,234 times likelier than plain"),
        (45_000, "45 thousand times likelier than plain"),
        (1.2e6, "1.2 million times likelier than plain"),
        (2e-10, "5.0 billion times less likely than plain"),
        (1e30, "over a quadrillion times likelier than plain"),
    ],
)
def test_a_factor_in_words(ratio: float, words: str) -> None:
    assert times_likelier(math.log(ratio)) == words


@pytest.mark.parametrize(
    ("tokens_per_second", "shown"),
    [(0.5, "0.5"), (48.94, "48.9"), (999.4, "999"), (1550.2, "1550")],
)
def test_a_speed_has_three_digits_or_all_before_the_point(
    tokens_per_second: float, shown: str
) -> None:
    assert speed(tokens_per_second) == shown
