"""Rules of this project's own, for what IFEval's instruction kinds don't cover.

Each function makes a check as those of published.py do. Lexicons say what a persona or a register
sounds like: a check by them sees words, not acting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from amulet_local.evaluation.adherence.answer import AnswerText, is_item, words_of
from amulet_local.evaluation.adherence.published import Check, at_least, exactly
from amulet_local.evaluation.scorers.language import reading_ease, reading_grade
from amulet_local.evaluation.scorers.syllables import count_syllables
from amulet_local.text.emojis import emojis_of

CONTRACTION = re.compile(
    r"\b(?:\w+n['’]t|(?:i|you|he|she|it|we|they|that|there|what|who|where|how|let|here)"
    r"['’](?:m|re|ve|ll|d|s)|\w+['’](?:re|ve|ll)|gonna|wanna|gotta|kinda|y['’]all)\b",
    re.I,
)
"""A contraction of English: not a genitive such as "the dog's"."""

MIN_READABLE_WORDS = 12
"""Formulas of readability say nothing about fewer words."""

_LINE_WORDS = 12


def all_of(*checks: Check) -> Check:
    """Check that every one holds: False where one fails, else None where one can't tell."""

    def check(answer: AnswerText) -> bool | None:
        found = [one(answer) for one in checks]
        return False if False in found else None if None in found else True

    return check


def paragraphs(n: int) -> Check:
    """Exactly n paragraphs, with blank lines between them."""
    return exactly(lambda answer: len(answer.paragraphs), n)


def short_sentences(most: int) -> Check:
    """No sentence of more words, of at least one sentence."""

    def check(answer: AnswerText) -> bool | None:
        lengths = [len(words_of(sentence.text)) for sentence in answer.sentences]
        if any(length > most for length in lengths):
            return False
        return True if lengths else None if answer.cut else False

    return check


def numbered_list(least: int = 2) -> Check:
    """Lines numbered 1, 2, ... in order, `least` or more."""

    def check(answer: AnswerText) -> bool | None:
        numbers = answer.numbers
        if numbers[:least] != list(range(1, least + 1))[: len(numbers)]:
            return False
        return True if len(numbers) >= least else None if answer.cut else False

    return check


def steps() -> Check:
    """Lines that begin with Step 1, Step 2, ... in order, two or more."""

    def check(answer: AnswerText) -> bool | None:
        found = re.findall(r"^[ \t#*_>\-]*step (\d+)\b", answer.text, re.I | re.M)
        if [int(n) for n in found] != list(range(1, len(found) + 1)):
            return False
        return True if len(found) >= 2 else None if answer.cut else False

    return check


def table() -> Check:
    """A Markdown table: a row of names, a row of dashes, and at least one more row."""

    def rows(answer: AnswerText) -> int:
        return sum(
            "|" in above and "|" in below and any(map(str.isalnum, below)) and is_dashes(dashes)
            for above, dashes, below in zip(
                answer.lines, answer.lines[1:], answer.lines[2:], strict=False
            )
        )

    def is_dashes(line: str) -> bool:
        return "-" in line and "|" in line and not line.strip("|:- \t")

    return at_least(rows, 1)


def headings(least: int) -> Check:
    """So many Markdown headings or more."""
    return at_least(lambda answer: len(answer.headings), least)


def poem() -> Check:
    """Four short lines or more, which are most of the lines, and no list."""

    def check(answer: AnswerText) -> bool | None:
        lines = [line for line in answer.whole_lines if words_of(line)]
        short = [line for line in lines if len(words_of(line)) <= _LINE_WORDS]
        if len(short) < 0.8 * len(lines) or sum(map(is_item, lines)) > 1:
            return False
        return True if len(short) >= 4 else None if answer.cut else False

    return check


def every_sentence_ends_in(mark: str) -> Check:
    """Every sentence ends in the mark, of at least one.

    Headings are none, and items of a list may do without any mark.
    """

    def check(answer: AnswerText) -> bool | None:
        marked = [item for item in answer.sentences if item.mark or not item.is_item]
        if any(mark not in item.mark for item in marked):
            return False
        return True if marked else None if answer.cut else False

    return check


def emojis(n: int) -> Check:
    """Exactly n emojis."""
    return exactly(lambda answer: len(emojis_of(answer.text)), n)


def emojis_at_least(n: int) -> Check:
    """So many emojis or more."""
    return at_least(lambda answer: len(emojis_of(answer.text)), n)


def without(pattern: str) -> Check:
    """Some text, and nowhere in its prose the pattern, whatever the case."""
    compiled = re.compile(pattern, re.I)
    return lambda answer: bool(answer.text.strip()) and not compiled.search(answer.prose)


def matches(pattern: str, least: int = 1) -> Check:
    """So many matches or more of a pattern in the prose, whatever the case."""
    compiled = re.compile(pattern, re.I | re.M)
    return at_least(lambda answer: len(compiled.findall(answer.prose)), least)


def starts_with(phrase: str) -> Check:
    """It begins with the phrase, whatever the case and the marks before it."""
    wanted = words_of(phrase)
    return lambda answer: answer.words[: len(wanted)] == wanted


def contractions(least: int) -> Check:
    """So many contractions or more."""
    return at_least(lambda answer: len(CONTRACTION.findall(answer.prose)), least)


def no_contractions() -> Check:
    """No contraction, and no exclamation mark or emoji either."""

    def check(answer: AnswerText) -> bool:
        text = answer.prose
        return bool(text) and not (CONTRACTION.search(text) or "!" in text or emojis_of(text))

    return check


def letter() -> Check:
    """It opens by greeting somebody, and a short line near its end takes leave."""

    def check(answer: AnswerText) -> bool | None:
        lines = answer.lines
        if not lines or not re.match(
            r"\W*(?:dear|hi|hello|hey|my dear)\b.{0,60}[,!:]", lines[0], re.I
        ):
            return False
        if answer.cut:
            return None
        leave = (
            r"\W*(?:best|warm|kind|yours|sincerely|love|with love|cheers|take care|your|regards)"
        )
        return any(re.match(leave, line, re.I) and len(line) < 40 for line in lines[-3:])

    return check


def speaks(lexicon: Collection[str], least: int = 2) -> Check:
    """So many different expressions of a lexicon or more, those of the question left out.

    Where one is part of another, the longer one counts, once.

    Args:
        lexicon: words and phrases, in lower case with straight apostrophes.
    """
    longest_first = sorted(lexicon, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")

    def expressions(text: str) -> set[str]:
        return set(pattern.findall(" ".join(text.lower().replace("’", "'").split())))

    return at_least(
        lambda answer: len(expressions(answer.prose) - expressions(answer.question)), least
    )


def readability(measure: Callable[[str], float | None], lowest: float, highest: float) -> Check:
    """A formula of readability over whole sentences lies between two values.

    Args:
        measure: reading_ease or reading_grade.
    """

    def check(answer: AnswerText) -> bool | None:
        value = measure(answer.readable)
        if value is None or len(words_of(answer.readable)) < MIN_READABLE_WORDS:
            return None if answer.cut else False
        return lowest <= value <= highest

    return check


def grade(lowest: float, highest: float) -> Check:
    """Flesch and Kincaid's grade lies between two values."""
    return readability(reading_grade, lowest, highest)


def ease(lowest: float, highest: float) -> Check:
    """Flesch's reading ease lies between two values."""
    return readability(reading_ease, lowest, highest)


def long_words(most: float) -> Check:
    """At most this share of the words has three syllables or more."""

    def check(answer: AnswerText) -> bool | None:
        words = [word for word in answer.words if word.isalpha()]
        if len(words) < MIN_READABLE_WORDS:
            return None if answer.cut else False
        return sum(count_syllables(word) >= 3 for word in words) <= most * len(words)

    return check
