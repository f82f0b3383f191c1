"""Where sentences end."""

from __future__ import annotations

import pytest

from amulet_local.text.sentences import ends_sentence


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
