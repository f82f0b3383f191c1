"""Texts that an answer begins or ends with, and words and letters that it doesn't have.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from amulet_local.preferences.form.form import Form
from amulet_local.preferences.form.quoted import QUOTED

_BARE = r"[^\W_]+(?=\s*(?:[,;.!]|$))"
_OR = r"(?:,? (?:or|and|nor)|,)"
_NAMED = r"(?:the )?(?:exact )?(?:words?|phrase|sentence|text|line)[: ]+"
_BE = r"(?:must|should|has to|have to) be"
_ANSWER = (
    r"(?: (?:it|(?:the|your|each|every|an|all|my) (?:answers?|repl(?:y|ies)|responses?|text)))?"
)
_SAID = rf"(?P<said>(?:{_NAMED})?{QUOTED}|{_NAMED}{_BARE})"

_OPENING = re.compile(
    rf"\b(?:(?:start|begin|open)(?:s|ing|ning)?{_ANSWER} (?:with|by saying|using|in)|"
    rf"the first words? {_BE}) {_SAID}",
    re.I,
)
_CLOSING = re.compile(
    rf"\b(?:(?:(?:end|finish)(?:s|ing)?|(?:clos|conclud)(?:e|es|ing)|sign(?:s|ing)? off)"
    rf"{_ANSWER} (?:with|by saying|using|in|on)|the last words? {_BE}) {_SAID}"
    r"(?:,? (?:and|with) nothing (?:else )?after (?:it|that))?",
    re.I,
)
_LAST_WORDS = re.compile(
    rf"\b(?:with )?(?P<said>{QUOTED}) (?:as (?:its|the|your) (?:very )?last "
    r"(?:words?|sentence|line)|at the (?:very )?end)",
    re.I,
)
_NEVER = (
    r"\b(?:without|not|never|don't|no|avoid|avoids|avoiding|skip|omit|leave out|leaving out|ban|"
    r"drop)(?: (?:ever|using|use|say|saying|write|writing|mention|mentioning|include|including|"
    r"the use of|use of|once|anywhere|to|of|any))*"
)
_LIST = rf"{QUOTED}(?:{_OR} (?:the words? )?{QUOTED})*"
_BARE_LIST = rf"[^\W_]+(?:{_OR} [^\W_]+)*(?=\s*(?:[,;.!]|$))"
_NO_WORDS = re.compile(
    rf"{_NEVER} (?P<said>(?:(?:the |these )?(?:single )?words?[: ]+)?{_LIST}|"
    rf"the words? {_BARE_LIST})",
    re.I,
)
_MUST_NOT = re.compile(
    rf"\bthe words? (?P<said>{_LIST}|[^\W_]+) (?:must not|may not|mustn't|should not|shouldn't|"
    r"can't|cannot|must never|should never|is|are) (?:appear|occur|be used|be in|come up|banned|"
    r"forbidden|not allowed)\b[^,;.]*",
    re.I,
)
_LETTER = r"(?:\"[^\W\d_]\"|'[^\W\d_]'|\b[^\W\d_]\b)"
_AT_THE_TOP = re.compile(
    rf"\bwith (?P<said>{QUOTED}|[A-Z]\w+(?: [A-Z]\w+){{0,4}}) (?:at the (?:very )?(?:top|beginning|"
    r"start)|as (?:its|the|your) first (?:words?|line))"
)
_NO_LETTERS = re.compile(
    rf"{_NEVER}(?: a)?(?: single)? (?:the )?letters?[: ]+"
    rf"(?P<said>{_LETTER}(?:{_OR} (?:the letter )?{_LETTER})*)(?!['\w])",
    re.I,
)
_TIMES = {"once": 1, "twice": 2, "two": 2, "three": 3, "four": 4, "five": 5}
_OFTEN = (
    r"(?: (?:at least |exactly )?(?P<times>once|twice|(?:\d{1,2}|two|three|four|five) times)"
    r"(?: or more)?)?"
)
_MENTION = re.compile(
    r"\b(?:with|using|use|include|including|contain|containing|mention|mentioning|say|sneak|put|"
    r"slip|throw in|work in|weave in)(?: always| often)?"
    r"(?: both| all)?(?: of)?(?: the)? (?:words?|phrases?|keywords?)[: ]+"
    rf"(?P<said>{_LIST}|[^\W_]+(?:{_OR} [^\W_]+)*?){_OFTEN}"
    r"(?=\s*(?:[,;.!]|$)|\s+(?:in(?: (?:it|the|your|somewhere))?(?=[,;.! ]|$)|somewhere|anywhere|"
    r"at the|but|and(?! [^\W_]+$))\b)",
    re.I,
)
_SAY = re.compile(
    rf"\b(?:(?:say|use|include|mention)(?: the)? (?P<said>{QUOTED})(?= all the time| a lot| often| "
    r"constantly| in (?:every|each|your)| every time| somewhere| sometimes| always)|"
    rf"(?:call|address) me (?:as )?(?P<name>{QUOTED}|[^\W_]+)"
    r"(?= *(?:$|[,;.!]|in (?:every|each|your)|every|always|please|all the time)))",
    re.I,
)
_OF_A_PART = re.compile(
    r"\b(?:each|every|lines?|steps?|sentences?|paragraphs?|points?|items?)\b[^,;.]*$", re.I
)


def said_texts(text: str) -> tuple[Form, str]:
    """What a wish says of texts, and what is left of the wish.

    Args:
        text: the wish, in English, with plain quotation marks.
    """
    form = Form()
    for pattern, read in _READERS:
        found = pattern.search(text)
        if found is not None and not _OF_A_PART.search(text[: found.start()]):
            form = form.with_also(read(found["said"]))
            text = f"{text[: found.start()]}, {text[found.end() :]}"
    for pattern in (_MENTION, _SAY):
        found = pattern.search(text)
        if found is not None and not _OF_A_PART.search(text[: found.start()]):
            form = form.with_also(_mentions(found.groupdict()))
            text = f"{text[: found.start()]}, {text[found.end() :]}"
    return form, text


def _mentions(found: dict[str, str | None]) -> Form:
    times = (found.get("times") or "once").split()[0].lower()
    n = int(times) if times.isdigit() else _TIMES[times]
    texts = _texts(found["said"] or found["name"] or "")
    return Form(mentions=tuple((text, n) for text in texts))


def _texts(said: str) -> list[str]:
    """What stands in quotation marks, or else behind "the words"."""
    quoted = [found[0][1:-1].strip() for found in re.finditer(QUOTED, said)]
    return quoted or re.split(rf"{_OR} ", re.sub(rf"^{_NAMED}", "", said, flags=re.I))


def _words(said: str) -> Form:
    words = {text.strip(" .,!?").lower() for text in _texts(said)}
    return Form(without_words=frozenset(word for word in words if word and " " not in word))


def _letters(said: str) -> Form:
    named = re.sub(r"\b(?:letters?|and|or|nor|the)\b", "", said, flags=re.I)
    return Form(without_letters=frozenset(re.findall(r"\b[^\W\d_]\b", named.lower())))


_READERS: tuple[tuple[re.Pattern[str], Callable[[str], Form]], ...] = (
    (_OPENING, lambda said: Form(opening=_texts(said)[0])),
    (_AT_THE_TOP, lambda said: Form(opening=_texts(said)[0])),
    (_CLOSING, lambda said: Form(closing=_texts(said)[0])),
    (_LAST_WORDS, lambda said: Form(closing=_texts(said)[0])),
    (_NO_LETTERS, _letters),
    (_NO_WORDS, _words),
    (_MUST_NOT, _words),
)
