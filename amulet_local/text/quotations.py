"""What a wish has in quotation marks: what the answer is to say, or the wish itself, quoted.

Knows nothing about tokens or prompts. 'begin with "Sure"' asks for words, which an answer may say;
'"like a pirate" and short' asks for none, though somebody put marks around it.
"""

from __future__ import annotations

import re

_QUOTATION = re.compile(
    r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|<<[^>\n]*>>|(?<!\w)'[^'\n]*'(?!\w)"
)
_JOINED = re.compile(r"\s*(?:[.,;&+!]|(?:and|but|und|aber|et|mais|y|e|och|i)\b|$)", re.I)
"""What comes between two wishes, or after the last one."""
_MARKS = "\"“”„«»<>'"


def to_say(wish: str) -> list[str]:
    """The texts that a wish asks to have said, without their marks."""
    return [found[0].strip(_MARKS) for found in _to_say(wish)]


def without_said(wish: str) -> list[str]:
    """The parts of a wish around the texts that it asks to have said."""
    parts, start = [], 0
    for found in _to_say(wish):
        parts.append(wish[start : found.start()])
        start = found.end()
    return [*parts, wish[start:]]


def _to_say(wish: str) -> list[re.Match[str]]:
    found = list(_QUOTATION.finditer(wish))
    return found[1:] if found and _is_wish_itself(found[0], wish) else found


def _is_wish_itself(quoted: re.Match[str], wish: str) -> bool:
    """Whether marks stand around several words that begin a wish, and another wish or none follows.

    Nothing asks for these words to be said, as it would before them ('say "Arr"') or after them
    ('"Arr" after each sentence').
    """
    begins = not wish[: quoted.start()].strip()
    return begins and len(quoted[0].split()) > 1 and bool(_JOINED.match(wish, quoted.end()))
