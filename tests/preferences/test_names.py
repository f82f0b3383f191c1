"""The weight at the end of a preference, and names."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amulet_local.common.errors import InvalidParameterError
from amulet_local.preferences.names import (
    BUILT_IN_PREFERENCES,
    MAX_WEIGHT,
    WeightedText,
    did_you_mean,
    is_name,
    name_problem,
    weighted,
    weighted_label,
    word_problem,
)

names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
weights = st.integers(-MAX_WEIGHT * 100, MAX_WEIGHT * 100).map(lambda number: number / 100)


@pytest.mark.parametrize(
    ("text", "name", "weight"),
    [
        ("concise", "concise", 1),
        (" concise\n", "concise", 1),
        ("concise:0.7", "concise", 0.7),
        ("concise:2", "concise", 2),
        ("concise:+2", "concise", 2),
        ("concise:-.5", "concise", -0.5),
        ("concise:0", "concise", 0),
        ("concise : -2", "concise", -2),
        ("concise: 0.5 ", "concise", 0.5),
        ("my_own-1:0.25", "my_own-1", 0.25),
        ("in the style of a pirate:0.5", "in the style of a pirate", 0.5),
        ("in the style of a pirate:-1", "in the style of a pirate", -1),
        ("in the style of a pirate:+2", "in the style of a pirate", 2),
        ("in the style of a pirate:.5\n", "in the style of a pirate", 0.5),
        ("two: lines,\nlike a poem:0.5", "two: lines,\nlike a poem", 0.5),
        ("like this!:1.5", "like this!", 1.5),
        ("簡潔:0.5", "簡潔", 0.5),
    ],
)
def test_a_number_after_the_last_colon_is_the_weight(text: str, name: str, weight: float) -> None:
    assert weighted(text) == WeightedText(text=name, weight=weight)


@pytest.mark.parametrize(
    "text",
    [
        "for people who get up at 10:30",
        "for people who get up at 10:30.5",
        "in a ratio of 16:9",
        "as in John 3:16",
        "like the page at localhost:80",
        "as in chapter B:1.",
        "one part sugar to flour: 0.5",
        "like this :0.5",
        "like this::0.5",
        "like a list:",
        "Tone: friendly",
        "Tone: friendly and 2.5 times as long",
        "in the style of a pirate:1e3",
        "in the style of a pirate:nan",
        "in the style of a pirate:٠.٥",
        "no weight : -1 here",
        "短く：0.5",
    ],
)
def test_what_might_be_meant_otherwise_is_text(text: str) -> None:
    assert weighted(text) == WeightedText(text=text, weight=1)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "concise:",
            "concise :",
            "concise\n:",
            "concise:O.5",
            "concise:0,5",
            "concise: 0,5",
            "concise:nan",
            "concise:inf",
        ),
        *("concise:1e3", "concise:--1", "concise:1.", "concise:٣", "concise:1001", "a b:-1000.5"),
        *("http://example.org", ":0.5", " : 1", "concise:" + "9" * 5000),
    ],
)
def test_what_is_no_weight_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(InvalidParameterError) as error:
        weighted(text)
    assert len(str(error.value)) < 250
    assert "\n" not in str(error.value)


@given(names, weights)
def test_any_name_takes_any_weight(name: str, weight: float) -> None:
    assert weighted(f"{name}:{weight}") == WeightedText(text=name, weight=weight)
    assert weighted(f"{name}:{weight:.0f}").weight == float(f"{weight:.0f}")


@given(st.text(), weights)
def test_any_text_takes_a_weight_with_a_point_or_is_left_whole(text: str, weight: float) -> None:
    assume(not is_name(text.strip()))
    whole = f"{text}:{weight}"
    try:
        found = weighted(whole)
    except InvalidParameterError:
        return
    assert found in (
        WeightedText(text=text.lstrip(), weight=weight),
        WeightedText(text=whole.strip().partition(":")[0].rstrip(), weight=weight),
        WeightedText(text=whole),
    )


@given(st.text())
def test_text_without_a_colon_has_no_weight(text: str) -> None:
    text = text.replace(":", "")
    found = weighted(text)
    assert found.weight == 1
    assert found.text in (text, text.strip())


@given(st.text(alphabet=" :+-.0123456789ab\n", max_size=30))
def test_any_ending_is_understood_or_refused(text: str) -> None:
    try:
        found = weighted(text)
    except InvalidParameterError:
        return
    assert abs(found.weight) <= MAX_WEIGHT
    if found.weight == 1:
        assert found.text.strip() in text
    else:
        assert text.strip().startswith(found.text)


def test_a_long_text_takes_no_time() -> None:
    assert weighted("x:0.5 " * 100_000).weight == 0.5
    assert weighted("a: " * 300_000 + "!").weight == 1
    assert weighted(":" * 300_000).weight == 1


def test_labels_say_a_weight_that_isnt_1() -> None:
    assert weighted_label("formal", 1) == "formal"
    assert weighted_label("formal", -0.5) == "formal:-0.5"
    assert WeightedText(text="in rhyme", weight=2).label == "in rhyme:2"


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 64, "7"])
def test_names(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "x" * 65, "two words", "a.b", "é", "a:1", "\x1b[2J", "a\n", "\0", "\udc80", "Concise"],
)
def test_no_names(name: str) -> None:
    assert name_problem(name)


def test_the_closest_name_is_suggested_as_its_owner_spells_it() -> None:
    assert did_you_mean("TEECHER", [*BUILT_IN_PREFERENCES, "Teacher"]) == (
        "did you mean 'Teacher'? "
    )
    assert did_you_mean("x" * 10**6, BUILT_IN_PREFERENCES) == ""


@pytest.mark.parametrize(
    "word", ["forml", "fformal", "formall", "fromal", "Formal-", "ormal", "formals", "f0rmal"]
)
def test_a_slip_away_from_a_name_is_refused(word: str) -> None:
    problem = word_problem(word, ["concise", "formal"])
    assert problem is not None
    assert "did you mean 'formal'?" in problem


@pytest.mark.parametrize(
    "word", ["informal", "formally", "norm", "a", "easy-going", "ago", "famous"]
)
def test_another_word_is_a_text(word: str) -> None:
    assert word_problem(word, ["formal", "ado"]) is None


@pytest.mark.parametrize("word", ["teacher2", "my_style", "-", "a-", "7", "y" * 65])
def test_what_is_no_word_is_refused(word: str) -> None:
    assert "known: formal; or describe it in words" in str(word_problem(word, ["formal"]))
