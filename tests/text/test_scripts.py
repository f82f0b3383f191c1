"""Which scripts texts have and languages are written in, as Unicode's names of letters say."""

from __future__ import annotations

import re
import unicodedata

import pytest

from amulet_local.text.languages import mentioned
from amulet_local.text.scripts import (
    SCRIPTS,
    count_letters,
    letters_but_of,
    script_of,
    scripts_in,
)

UNICODE_NAMES = {
    "hangul": ("HANGUL",),
    "chinese": ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"),
}
"""First words of the letters' names, where they aren't the script's."""

ALSO_OF_OTHERS = {b"\xc2", b"\xe1", b"\xe3", b"\xef"}
"""First bytes of a script's rare letters that other letters or signs begin with as well."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_are_of_the_script_that_unicode_says(script: str) -> None:
    first_words = UNICODE_NAMES.get(script, (script.upper(),))
    letters = [
        letter
        for letter in map(chr, range(0x10000))
        if letter.isalpha() and scripts_in(letter) == {script}
    ]
    names = {unicodedata.name(letter).split()[0] for letter in letters}
    allowed = {*first_words, "COPTIC", "FEMININE", "MASCULINE"}
    assert names <= allowed
    assert names & set(first_words)


@pytest.mark.parametrize("script", SCRIPTS)
def test_letters_begin_with_the_bytes_that_are_said(script: str) -> None:
    first = {
        letter.encode()[:1]
        for letter in map(chr, range(0x80, 0x10000))
        if count_letters(letter, script) and unicodedata.category(letter) != "Cn"
    }
    assert first - ALSO_OF_OTHERS <= set(SCRIPTS[script].first_bytes)


def test_a_text_has_the_scripts_of_its_letters() -> None:
    assert scripts_in("Der Himmel ist蓝, 42 %") == {"latin", "chinese"}
    assert scripts_in("12 + 30 = 42 🎉") == frozenset()
    assert re.findall(letters_but_of("latin"), "ja, да, 是, é") == ["д", "а", "是"]


@pytest.mark.parametrize(
    ("language", "script"),
    [
        ("Russian", "cyrillic"),
        ("simplified Chinese", "chinese"),
        ("Japanese", "chinese"),
        ("Brazilian Portuguese", "latin"),
        ("Korean", "hangul"),
        ("Serbian", ""),
    ],
)
def test_a_language_has_a_script(language: str, script: str) -> None:
    assert script_of(language) == script


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("in Chinese with English words", {"chinese", "english"}),
        ("请用中文回答", {"chinese"}),
        ("한국어로 답해줘", {"korean"}),
        ("Отвечай по-русски.", {"russian"}),
        ("short and dry", set()),
    ],
)
def test_languages_are_found_in_a_text(text: str, languages: set[str]) -> None:
    assert mentioned(text) == languages
