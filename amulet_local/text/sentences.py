"""Where sentences end, and how many end. Knows nothing about languages without these marks."""

from __future__ import annotations

import re

_MARK = r"[.!?…。！？]"
_CLOSING = r"[\"'”’»)*_`\]]*"
_END = re.compile(rf"{_MARK}{_CLOSING}\s*$|```\s*$")

_ENDS_WITHIN = re.compile(rf"(?:(?<=\s)|^)([^\s。！？]*?)[.!?…]+{_CLOSING}(?=\s|$)|[。！？]+")
_ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "fig", "approx", "dept"),
        *("z.b", "d.h", "bzw", "nr", "ca", "sr", "sra", "p.ej", "p.ex", "a.m", "p.m", "u.s"),
    )
)
_NUMBER_OF_A_LINE = re.compile(r"(?:^|\n)[ \t]*[*_]*\d+$")


def ends_sentence(text: str) -> bool:
    """Whether it ends with a mark, perhaps a closing one after it, or with a block of code."""
    return _END.search(text) is not None


def count_sentences(text: str) -> int:
    """How many sentences have ended; the full stop of "Dr.", "J." and of a line's number ends none.

    A mark ends a sentence where a space or the text's end follows.
    """
    n = 0
    for found in _ENDS_WITHIN.finditer(text):
        word = found[1]
        if word is None:
            n += 1
            continue
        is_full_stop = (
            text[found.end(1)] == "." and text[found.end(1) : found.end()].count(".") == 1
        )
        bare = word.lstrip("(\"'“‘*_[").lower()
        is_initial = len(bare) == 1 and bare.isalpha() and bare != "i" and word[-1:].isupper()
        is_short = bare in _ABBREVIATIONS or is_initial
        is_number = _NUMBER_OF_A_LINE.search(text[: found.end(1)]) is not None
        if not (is_full_stop and (is_short or is_number)):
            n += 1
    return n


def last_sentence(text: str) -> str:
    """What comes after the last mark or line that ended a sentence."""
    return re.split(rf"{_MARK}{_CLOSING}\s|\n", text)[-1]
