"""Emojis by the package `emoji`, which has Unicode's list, and at the end of a text."""

from __future__ import annotations

import emoji
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local.text.emojis import emojis_of, without_emojis_at_end


def test_each_emoji_of_unicode_is_one() -> None:
    full = [
        text
        for text, data in emoji.EMOJI_DATA.items()
        if data["status"] == emoji.STATUS["fully_qualified"]
    ]
    assert len(full) > 3000
    assert [text for text in full if emojis_of(text) != [text]] == []
    assert emojis_of(" ".join(full)) == full


def test_plain_text_has_none() -> None:
    text = "".join(map(chr, [*range(0x2190), *range(0x3400, 0xA000)])) + "→ ↔ ▶ ● ■ ─ “” :-)"
    assert emojis_of(text) == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Sleep well! 😴🌙 \n", "Sleep well!"),
        ("Sleep 😴 well", "Sleep 😴 well"),
        ("👨‍👩‍👧 👍🏽", ""),
        ("Sleep well ❤️", "Sleep well"),
        ("", ""),
    ],
)
def test_emojis_at_the_end_are_taken_off(text: str, left: str) -> None:
    assert without_emojis_at_end(text) == left


@given(st.text(alphabet="a .😴\u200d\ufe0f❤🇫🇷"))
def test_what_is_taken_off_is_at_the_end_and_all_of_it(text: str) -> None:
    left = without_emojis_at_end(text)
    assert text.startswith(left)
    assert without_emojis_at_end(left) == left
