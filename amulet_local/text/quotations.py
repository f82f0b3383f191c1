"""What a wish has in quotation marks: what the answer is to say, or the wish itself, quoted.

Knows nothing about tokens or prompts. 'begin with "Sure"' asks for words, which an answer may say;
'"like a pirate" and short' asks for none, though somebody put marks around it, and neither does
'be a "grumpy old sailor"', which says what to be like.
"""

from __future__ import annotations

import re

from amulet_local.text.words import ARTICLES, LIKENESS, words_of

_QUOTATION = re.compile(
    r"\"[^\"\n]*\"|“[^”\n]*”|„[^“”\"\n]*[“”\"]|”[^”\n]*”|«[^»\n]*»|»[^«\n]*«|<<[^>\n]*>>"
    r"|‹[^›\n]*›|›[^‹\n]*‹|「[^」\n]*」|『[^』\n]*』"
    r"|(?<!\w)(?:'[^'\n]*'|‘[^‘\n]*?’|‚[^‘’\n]*[‘’])(?!\w)"
)
_JOINED = re.compile(
    r"\s*(?:[.,;&+!]|(?:please|pls|bitte|and|but|und|aber|et|mais|y|e|och|i|style|voice|tone|stil)\b|$)",
    re.I,
)
"""What comes between two wishes, or after the last one; or says of a likeness that it is one."""
_ARTICLE = f"(?:{'|'.join(sorted(ARTICLES))})"
_LIKE = re.compile(
    rf"\b(?:(?:sound|{'|'.join(sorted(LIKENESS))})\s+{_ARTICLE}"
    rf"|(?:be|sei|wees|sé|seja|sii|sois|soyez)(?:\s+{_ARTICLE})?"
    rf"|(?:style|manner|voice|stil|art|estilo|façon|stile)\s+(?:of|von|de|di)(?:\s+{_ARTICLE})?)\s+$",
    re.I,
)
"""What comes before the words that an answer is to be like."""
_LIKENED = re.compile(
    r"の?(?:ように|みたいに|風に|調で|口調で)|(?:一样|那样|似的|的(?:风格|口吻|语气|方式))"
)
"""What comes behind them in a script without spaces."""
_MARKS = "\"“”„«»<>'‘’‚‹›「」『』"


def to_say(wish: str) -> list[str]:
    """The texts that a wish asks to have said, without their marks."""
    return [found[0].strip(_MARKS) for found in _to_say(wish)]


def quoted_in(text: str) -> list[str]:
    """The texts in quotation marks, without these."""
    return [found[0].strip(_MARKS) for found in _QUOTATION.finditer(text)]


def without_said(wish: str) -> list[str]:
    """The parts of a wish around the texts that it asks to have said."""
    parts, start = [], 0
    for found in _to_say(wish):
        parts.append(wish[start : found.start()])
        start = found.end()
    return [*parts, wish[start:]]


def _to_say(wish: str) -> list[re.Match[str]]:
    found = list(_QUOTATION.finditer(wish))
    if found and _is_wish_itself(found[0], wish):
        found = found[1:]
    return [quoted for quoted in found if not _is_likeness(quoted, wish)]


def _is_wish_itself(quoted: re.Match[str], wish: str) -> bool:
    """Whether marks stand around several words that begin a wish, and another wish or none follows.

    Nothing asks for these words to be said, as it would before them ('say "Arr"') or after them
    ('"Arr" after each sentence').
    """
    begins = not wish[: quoted.start()].strip()
    return begins and _has_several_words(quoted) and bool(_JOINED.match(wish, quoted.end()))


def _is_likeness(quoted: re.Match[str], wish: str) -> bool:
    """Whether marks stand around words that an answer is to be like, not to say.

    One word alone may be said ('be "brave"'), but where what follows it is that alone.
    """
    if _LIKENED.match(wish, quoted.end()):
        return True
    before = wish[: quoted.start()]
    return _has_several_words(quoted) and _LIKE.search(before) is not None


def _has_several_words(quoted: re.Match[str]) -> bool:
    return len(words_of(quoted[0])) > 1
