"""The scripts that languages are written in, and which of them a text has.

Knows nothing about tokens. Japanese and Chinese count as one script, whose letters they share.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Script(NamedTuple):
    """A script.

    Attributes:
        in_words: what its letters are called.
        ranges: of its letters, as they stand between the brackets of a regular expression.
        first_bytes: with which its letters begin in UTF-8.
    """

    in_words: str
    ranges: str
    first_bytes: tuple[bytes, ...]


def _script(in_words: str, ranges: str, first_bytes: str) -> Script:
    leads = tuple(bytes.fromhex(byte) for byte in first_bytes.split())
    return Script(in_words, ranges, leads)


SCRIPTS = {
    "latin": _script("Latin letters", "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿ", "c3 c4 c5 c6 c7 c8 c9"),
    "greek": _script("Greek letters", "\u0370-\u03ff\u1f00-\u1fff", "cd ce cf"),
    "cyrillic": _script("Cyrillic letters", "\u0400-\u052f", "d0 d1 d2 d3 d4"),
    "hebrew": _script("Hebrew letters", "\u0590-\u05ff", "d6 d7"),
    "arabic": _script("Arabic letters", "\u0600-\u06ff\u0750-\u077f", "d8 d9 da db dd"),
    "devanagari": _script("Devanagari letters", "\u0900-\u097f", "e0"),
    "bengali": _script("Bengali letters", "\u0980-\u09ff", "e0"),
    "gurmukhi": _script("Gurmukhi letters", "\u0a00-\u0a7f", "e0"),
    "gujarati": _script("Gujarati letters", "\u0a80-\u0aff", "e0"),
    "tamil": _script("Tamil letters", "\u0b80-\u0bff", "e0"),
    "telugu": _script("Telugu letters", "\u0c00-\u0c7f", "e0"),
    "thai": _script("Thai letters", "\u0e00-\u0e7f", "e0"),
    "hangul": _script("Korean letters", "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af", "ea eb ec ed"),
    "chinese": _script(
        "Chinese or Japanese characters",
        "\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff",
        "e3 e4 e5 e6 e7 e8 e9",
    ),
}
"""By their names."""

_OF_LANGUAGES = {
    **dict.fromkeys(("russian", "ukrainian", "bulgarian"), "cyrillic"),
    **dict.fromkeys(("arabic", "persian", "urdu"), "arabic"),
    **dict.fromkeys(("hindi", "marathi"), "devanagari"),
    **dict.fromkeys(("chinese", "mandarin", "japanese"), "chinese"),
    "bengali": "bengali",
    "greek": "greek",
    "gujarati": "gujarati",
    "hebrew": "hebrew",
    "korean": "hangul",
    "punjabi": "gurmukhi",
    "tamil": "tamil",
    "telugu": "telugu",
    "thai": "thai",
}

_LETTERS = {name: re.compile(f"[{script.ranges}]") for name, script in SCRIPTS.items()}


def script_of(language: str) -> str:
    """The name of the script in which a language is written; Serbian has two, and is in neither.

    Args:
        language: its English name, in any case, with a variety before it ("simplified Chinese").

    Returns:
        A key of SCRIPTS, "latin" where no other is known.
    """
    name = language.lower().split()[-1]
    return "" if name == "serbian" else _OF_LANGUAGES.get(name, "latin")


def scripts_in(text: str) -> frozenset[str]:
    """The names of the scripts of which a text has letters."""
    return frozenset(name for name, letter in _LETTERS.items() if letter.search(text))


def count_letters(text: str, script: str) -> int:
    """How many letters of a script a text has."""
    return len(_LETTERS[script].findall(text))


def letters_but_of(*scripts: str) -> str:
    """A pattern of one letter of any script but these."""
    return f"[{''.join(script.ranges for name, script in SCRIPTS.items() if name not in scripts)}]"
