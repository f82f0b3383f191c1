"""How many words, sentences, characters, paragraphs or items an answer has.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re

from amulet_local.preferences.form.form import Count, Form

EXACT_WORDS = 12
"""Up to which an answer of "exactly so many words" has no fewer; longer ones can't be met so."""

SHORT_WORDS, VERY_SHORT_WORDS = 40, 20
"""Of an answer that is to be short, and very short, where nobody says how many."""


def _counted(words: str, first: int, step: int) -> dict[str, int]:
    """Each of these words with its number."""
    return {word: first + step * i for i, word in enumerate(words.split())}


_NUMBERS = {
    **dict.fromkeys(("a", "an", "one", "single"), 1),
    **_counted("two three four five six seven eight nine ten eleven twelve", 2, 1),
    **_counted("thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 13, 1),
    **_counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10),
}
_TIMES = {"dozen": 12, "hundred": 100}
_WORD = "|".join(sorted([*_NUMBERS, *_TIMES], key=len, reverse=True))
NUMBER = rf"(?:\d{{1,6}}|(?:{_WORD})(?:[- ](?:{_WORD})){{0,3}})"

_UNITS = {
    "words": "words?",
    "sentences": "sentences?",
    "characters": "characters?|chars",
    "emojis": "emojis?",
    "paragraphs": "paragraphs?",
    "lines": "lines?",
    "items": "(?:bullet|list|numbered)[- ](?:points?|items?|entries)|bullets?|items|points",
}
_UNIT = "|".join(f"(?P<{name}>{pattern})" for name, pattern in _UNITS.items())
_LOOKS = r"(?:(?:short|brief|long|simple|little|tiny|clear|concise|plain|numbered|crisp) )*"

_AT_MOST = (
    r"at (?:the )?(?:very )?most|(?:no|not) (?:more|longer) than|"
    r"not? (?:over|above|exceeding|beyond)|never (?:exceed|longer than|over)|"
    r"never (?:read |write |want |use )?more than|"
    r"(?:not|don't|mustn't) (?:exceed|go over|go beyond|use more than|write more than)|"
    r"not exceeding|without exceeding|up to|(?:a )?max(?:imum)?\.?(?: of)?|"
    r"(?:limit|cap|restrict)(?:ed|ped)?(?: [a-z']+){0,3} (?:to|at)|within|limit of|"
    r"fits? (?:in|into)(?: a)?"
)
_FEWER = "(?:fewer|less|shorter) than|under|below"
_AT_LEAST = "at (?:the )?(?:very )?least|(?:a )?minimum of|(?:no|not) (?:fewer|less) than"
_OR_FEWER = r"or (?:fewer|less|under|shorter)|max(?:imum)?\b|at (?:the )?(?:very )?most|tops|limit"

_COUNT = re.compile(
    rf"(?:(?P<at_most>{_AT_MOST}) |(?P<fewer>{_FEWER}) |(?P<at_least>{_AT_LEAST}) )?"
    rf"(?:(?P<exactly>exactly|precisely) )?(?:a |the )?(?:limit of )?(?<![\w-])(?P<n>{NUMBER})"
    rf"(?:(?: ?[-–] ?| to | or | and )(?P<to>{NUMBER}))?(?: single| separate)?"
    rf"[- ]{_LOOKS}(?:{_UNIT})(?![\w'-])(?: (?P<or_fewer>{_OR_FEWER}))?"
)
_SHORTEST = re.compile(
    r"(?:(?:keep it|be|answer|make it|reply) )?as (?:short|brief|concise) as (?:possible|you can)"
)
_SHORT = re.compile(
    r"(?:(?:keep|make) (?:it|(?:your|the) (?:answers?|repl(?:y|ies)|responses?)) |be |stay |answer "
    r"|reply |write |give me |just |answers? )?(?:an? )?"
    r"(?P<very>(?:(?:very|super|really|extremely|extra|ultra|so|quite) )*)"
    r"(?:short|brief|briefly|concise|terse|succinct|laconic|to the point)"
    r"(?: (?:answers?|repl(?:y|ies)|responses?))?(?: only)?"
)
_RANGE = re.compile(rf"\bbetween ({NUMBER}) and (?={NUMBER}[- ])")
_ONE_OR_TWO = re.compile(rf"\b(?:an?|one) (?P<looks>{_LOOKS})(?P<unit>{_UNIT}) or two\b")

_NOT_SO = re.compile(
    r"\b(?:each|every(?! answer)|per|apiece|not in|not only|about|around|roughly|some|"
    r"approximately|approx|circa|ca|or so|ish|more than|longer than|over|headings?|titles?|first|"
    r"last|knows?|summary of|followed by|begin|start|end|"
    r"(?:sentence|paragraph|line|point|word|heading)s? (?:with|of|that|under|in)|"
    r"(?:no|any) sentences?)\b"
)
"""What stands before a count that isn't of the answer, or isn't a limit."""

_IN = re.compile(r"\b(?:in|only|just) $")
"""What stands before "a sentence" that is all of the answer; "with a sentence" is of a part."""

_NO_MORE = re.compile(r" ?(?:please|long|in total|in all|(?:every|each) time|always)?")
"""What stands behind a least number of words that is of the whole answer."""

_OF_IT = re.compile(r" (?:of|with|that has|having|in) ")
"""What stands between "one sentence" and how many words it has."""

_OF_MORE = re.compile(
    r"^ ?(?:per|(?:each|every)(?! time)|apiece|or more|or so|that|which|about|from|minimum|of age|"
    r"word|(?:in|to) (?:a|each|every|any) (?:sentence|line|paragraph|point|item|step))\b"
)
"""What stands behind one."""


def with_ranges(text: str) -> str:
    """The text with "between 3 and 5" as "3 to 5", and "a sentence or two" as "1 to 2 sentence".

    Args:
        text: in lower case.
    """
    return _ONE_OR_TWO.sub(r"1 to 2 \g<looks>\g<unit>", _RANGE.sub(r"\1 to ", text))


def count_of(clause: str) -> Form:
    """What a clause says of how long an answer is.

    Args:
        clause: in lower case.
    """
    if _SHORTEST.fullmatch(clause):
        return Form(sentences=Count(None, 1))
    if short := _SHORT.fullmatch(clause):
        return Form(about_words=VERY_SHORT_WORDS if short["very"] else SHORT_WORDS)
    for found in _COUNT.finditer(clause):
        before, behind = clause[: found.start()], clause[found.end() :]
        is_bound = found["at_most"] or found["at_least"] or found["or_fewer"]
        if found["n"] in ("a", "an") and not (is_bound or _IN.search(before)):
            continue
        if found["at_least"] and found["words"] and not _NO_MORE.fullmatch(behind):
            continue
        if not (_NOT_SO.search(before) or _OF_MORE.search(behind)):
            form = _form(found)
            of_it = _OF_IT.match(behind) if form.sentences == Count(1, 1) else None
            words = _COUNT.match(behind, of_it.end()) if of_it else None
            return form.with_also(_form(words)) if words else form
    return Form()


def _form(found: re.Match[str]) -> Form:
    unit = next(name for name in _UNITS if found[name])
    least, most = value_of(found["n"]), value_of(found["to"] or found["n"])
    if found["fewer"]:
        most -= 1
    if most < 1 or (found["to"] and most < least):
        return Form()
    is_bound = found["at_most"] or found["fewer"] or found["or_fewer"]
    count = Count(least, None) if found["at_least"] else Count(None if is_bound else least, most)
    if unit == "words":
        is_range = found["to"] and count.least != 1
        is_exactly = found["exactly"] and count.most is not None and count.most <= EXACT_WORDS
        has_least = found["at_least"] or is_range or is_exactly
        return Form(words=count.most, least_words=count.least if has_least else None)
    if unit == "lines":
        return Form(lines=count)
    if unit == "characters":
        return Form(characters=count.most)
    if unit == "sentences":
        return Form(sentences=count)
    if unit == "emojis":
        return Form() if count == Count(1, 1) and not found["exactly"] else Form(emojis=count)
    return Form(items=count) if unit == "items" else Form(paragraphs=count)


def value_of(text: str) -> int:
    """What NUMBER has matched, as a number."""
    if text.isdigit():
        return int(text)
    value = 0
    for word in re.split(r"[- ]", text):
        times = _TIMES.get(word)
        value = value + _NUMBERS[word] if times is None else max(1, value) * times
    return value
