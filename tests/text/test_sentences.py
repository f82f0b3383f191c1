"""Where sentences end."""

from __future__ import annotations

import pytest

from amulet_local.text.sentences import count_sentences, ends_sentence


@pytest.mark.parametrize(
    "text",
    [
        "Yes.",
        "Yes!\n",
        "Really?  ",
        "So …",
        'He said "go."',
        "(See above.)",
        "*Done.*",
        "`x`.",
        "**Sleep!**\n\n",
        "これです。",
        "```\nx\n```",
        "```\nx\n```\n",
        "[a.]",
    ],
)
def test_a_mark_ends_a_sentence_with_whatever_closes_after_it(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text", ["", " ", "Yes", "Yes,", "1. Sleep", "e.g. this", "a:", "`x`", "```\nx\n``` y", "Mr. A"]
)
def test_without_one_it_goes_on(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("", 0),
        ("One", 0),
        ("One.", 1),
        ("One. Two! Three?", 3),
        ("One... Two?!", 2),
        ("It costs 3.5 euros.", 1),
        ("Dr. J. Smith, e.g., said so. He left.", 2),
        ("So did I. And you?", 2),
        ("1. First.\n2. Second.", 2),
        ('He said "No." Then he left.', 2),
        ("See example.com now.", 1),
        ("Endlich. Usw.", 2),
        ("終わり。次！", 2),
    ],
)
def test_sentences_are_counted_where_they_end(text: str, n: int) -> None:
    assert count_sentences(text) == n
