"""What languages are called."""

from __future__ import annotations

import pytest

from amulet_local.text.languages import in_itself, named


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("French", "French"),
        ("in french", "French"),
        ("en français", "French"),
        ("auf Französisch", "French"),
        ("auf Deutsch", "German"),
        ("en alemán", "German"),
        ("in het Nederlands", "Dutch"),
        ("på svenska", "Swedish"),
        ("po polsku", "Polish"),
        ("по-русски", "Russian"),
        ("на русском языке", "Russian"),
        ("українською", "Ukrainian"),
        ("magyarul", "Hungarian"),
        ("eesti keeles", "Estonian"),
        ("bahasa Indonesia", "Indonesian"),
        ("Tiếng Việt", "Vietnamese"),
        ("हिंदी", "Hindi"),
        ("用中文", "Chinese"),
        ("日本語で", "Japanese"),
        ("한국어로", "Korean"),
        ("עברית", "Hebrew"),
    ],
)
def test_a_language_is_known_by_what_it_is_called(text: str, language: str) -> None:
    assert named(text) == language


@pytest.mark.parametrize(
    "text", ["", "in", "auf", "kurz", "in rhyme", "French and short", "like a German", "用", "で"]
)
def test_any_other_text_names_none(text: str) -> None:
    assert named(text) is None


def test_a_wish_for_a_language_is_said_in_it_once() -> None:
    assert in_itself(["german", "or", "deutsch"]) == ["auf deutsch"]
    assert in_itself(["welsh", "short"]) == []
