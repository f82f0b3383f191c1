"""What a wish has in quotation marks is to be said, unless the marks are around the wish itself, or
around what an answer is to be like."""

from __future__ import annotations

import pytest

from amulet_local.text.quotations import to_say, without_said


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ('begin with "Sure"', ["Sure"]),
        ("begin with “Arr, matey”", ["Arr, matey"]),
        ("beginne mit „Na gut“ und ende mit „Punkt“", ["Na gut", "Punkt"]),
        ("dis «bien sûr»", ["bien sûr"]),
        ("wrap the answer in <<quick end>>", ["quick end"]),
        ("never say 'no way'", ["no way"]),
        ('"Arr" after each sentence', ["Arr"]),
        ('"Arr, matey" after each sentence', ["Arr, matey"]),
        ('"Yes"', ["Yes"]),
        ('with words such as "quick" and "be good"', ["quick", "be good"]),
        ("say ‘Arr, matey’ first", ["Arr, matey"]),
        ("begin with ‘don’t panic’, then go on", ["don’t panic"]),
        ("beginne mit ‚Na gut‘", ["Na gut"]),
        ('beginne mit „Na gut"', ["Na gut"]),
        ("säg ”hej du” först", ["hej du"]),
        ("sag »na gut« zuerst", ["na gut"]),
        ("「なるほど」で始める", ["なるほど"]),
        ('say something like "Arr, matey"', ["Arr, matey"]),
        ('end as "The Great Captain"', ["The Great Captain"]),
        ('mention one of the "big three"', ["big three"]),
        ('be brief and begin with "Sure thing"', ["Sure thing"]),
    ],
)
def test_words_that_a_wish_asks_for_are_to_be_said(wish: str, said: list[str]) -> None:
    assert to_say(wish) == said
    assert all(text not in part for text in said for part in without_said(wish))


@pytest.mark.parametrize(
    "wish",
    [
        '"like a pirate" and short',
        '"like a pirate", short',
        '"like a pirate"',
        "„wie ein Pirat“ und kurz",
        " 'like a pirate'.",
        "'drunk Viking' please",
        "don't use the dogs' names",
        "don’t use the dogs’ names",
        "‘cheerful gardener’ voice, short",
        "be a „grumpy old sailor“",
        "be „very grumpy“",
        "talk like a “bored teenager”",
        "sprich wie ein „mürrischer alter Seemann“",
        "habla como un «viejo marinero gruñón»",
        "parle comme un « vieux marin »",
        "im Stil von „Meister Yoda“",
        'in the style of "Dr. Seuss"',
        "「関西弁」のように",
        "像「老船长」一样",
        "用「鲁迅」的风格",
    ],
)
def test_marks_around_a_wish_itself_ask_for_nothing(wish: str) -> None:
    assert (to_say(wish), without_said(wish)) == ([], [wish])


def test_after_a_quoted_wish_words_may_be_asked_for() -> None:
    assert to_say('"like a pirate", ending with "Arr"') == ["Arr"]


def test_what_an_answer_is_to_be_like_stands_beside_what_it_is_to_say() -> None:
    wish = 'begin with "Sure" and be a "grumpy sailor"'
    assert to_say(wish) == ["Sure"]
    assert without_said(wish) == ["begin with ", ' and be a "grumpy sailor"']
