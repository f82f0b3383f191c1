"""Rules of the instruction kinds that IFEval published (Zhou et al., arXiv 2311.07911).

Written anew from the paper's descriptions: the same condition on the same answer. Two differ in
their tools: sentences are split by answer.py instead of NLTK's trained model, and languages are
told by language.py instead of langdetect. Each function makes a check, which gives True or False,
or None where an answer was cut off before it could be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeAlias

from amulet_local.evaluation.adherence.answer import AnswerText
from amulet_local.evaluation.adherence.language import language_of

Check: TypeAlias = Callable[[AnswerText], bool | None]
"""Whether an answer follows; None where one that was cut off can't tell."""


def at_least(count: Callable[[AnswerText], int], n: int) -> Check:
    """Check that there are n or more; a cut answer with fewer may have got there."""

    def check(answer: AnswerText) -> bool | None:
        return True if count(answer) >= n else None if answer.cut else False

    return check


def at_most(count: Callable[[AnswerText], int], n: int) -> Check:
    """Check that there are n or fewer, and something at all; a cut answer may have gone on."""

    def check(answer: AnswerText) -> bool | None:
        if count(answer) > n or not answer.text.strip():
            return False
        return None if answer.cut else True

    return check


def exactly(count: Callable[[AnswerText], int], n: int) -> Check:
    """Check that there are n, no more and no fewer; a cut answer may have gone on."""

    def check(answer: AnswerText) -> bool | None:
        if count(answer) > n:
            return False
        return None if answer.cut else count(answer) == n

    return check


def at_end(rule: Callable[[AnswerText], bool]) -> Check:
    """Check what only the end of an answer shows: a cut one can't tell."""

    def check(answer: AnswerText) -> bool | None:
        return None if answer.cut else rule(answer)

    return check


def response_language(code: str) -> Check:
    """language:response_language: the prose as a whole is in a language."""
    return lambda answer: language_of(answer.prose) == code


def number_words(*, below: int = 0, least: int = 0) -> Check:
    """length_constraints:number_words: runs of letters and digits, below or at least so many."""

    def count(answer: AnswerText) -> int:
        return len(re.findall(r"\w+", answer.text))

    return at_most(count, below - 1) if below else at_least(count, least)


def number_sentences(*, below: int = 0, least: int = 0) -> Check:
    """length_constraints:number_sentences: below or at least so many sentences.

    The unfinished one of a cut answer counts: it is one, whatever comes.
    """

    def count(answer: AnswerText) -> int:
        return len(AnswerText(answer.question, answer.text).sentences)

    return at_most(count, below - 1) if below else at_least(count, least)


def bullet_lists(n: int) -> Check:
    """detectable_format:number_bullet_lists: exactly n lines that begin with * or -."""
    return exactly(lambda answer: len(answer.bullets), n)


def highlighted_sections(n: int) -> Check:
    """detectable_format:number_highlighted_sections: n or more stretches in * or **."""
    return at_least(
        lambda answer: len(re.findall(r"\*\*[^\n*]*[^\s*]\*\*|\*[^\n*]*[^\s*]\*", answer.text)), n
    )


def json_format() -> Check:
    """detectable_format:json_format: all of it is JSON, perhaps in a fenced block."""

    def is_json(answer: AnswerText) -> bool:
        text = re.sub(r"^```(?:json)?\s*|\s*```$", "", answer.text.strip(), flags=re.I)
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True

    return at_end(is_json)


def title() -> Check:
    """detectable_format:title: a title in <<double angular brackets>>."""
    return at_least(
        lambda answer: sum(map(bool, map(str.strip, re.findall(r"<<([^\n<>]+)>>", answer.text)))), 1
    )


def two_responses() -> Check:
    """combination:two_responses: two different answers with six asterisks between them."""

    def check(answer: AnswerText) -> bool | None:
        parts = [part.strip() for part in answer.text.split("******")]
        if parts and not parts[0]:
            parts = parts[1:]
        if len(parts) > 1 and not parts[-1]:
            parts = parts[:-1]
        if len(parts) > 2 or not all(parts):
            return False
        if answer.cut:
            return None
        return len(parts) == 2 and parts[0] != parts[1]

    return check


def postscript() -> Check:
    """detectable_content:postscript: a part that begins with P.S."""
    return at_least(lambda answer: len(re.findall(r"\bp\.\s?s\.", answer.text, re.I)), 1)


def quotation() -> Check:
    """startend:quotation: all of it in double quotation marks."""

    def check(answer: AnswerText) -> bool | None:
        text = answer.text.strip()
        if not text.startswith('"'):
            return False
        return None if answer.cut else len(text) > 1 and text.endswith('"')

    return check


def end_checker(phrase: str) -> Check:
    """startend:end_checker: it ends with a phrase, whatever the case, with nothing after it."""
    return at_end(
        lambda answer: answer.text.strip().strip('"').strip().lower().endswith(phrase.lower())
    )


def english_lowercase() -> Check:
    """change_case:english_lowercase: English without any capital letter."""
    return lambda answer: answer.text.islower() and language_of(answer.text) == "en"


def english_capital() -> Check:
    """change_case:english_capital: English in capital letters only."""
    return lambda answer: answer.text.isupper() and language_of(answer.text) == "en"


def capital_words(n: int) -> Check:
    """change_case:capital_word_frequency: n or more words in capital letters."""
    return at_least(
        lambda answer: sum(word.isupper() for word in re.findall(r"\w+(?:-\w+)*", answer.text)), n
    )


def no_comma() -> Check:
    """punctuation:no_comma: no comma anywhere."""
    return lambda answer: bool(answer.text.strip()) and "," not in answer.text


def existence(*keywords: str) -> Check:
    """keywords:existence: every keyword somewhere, whatever the case."""
    return at_least(
        lambda answer: min(answer.text.lower().count(word.lower()) for word in keywords), 1
    )


def frequency(keyword: str, n: int) -> Check:
    """keywords:frequency: a keyword n times or more, whatever the case."""
    return at_least(lambda answer: answer.text.lower().count(keyword.lower()), n)


def forbidden_words(*words: str) -> Check:
    """keywords:forbidden_words: none of the words, as whole words, whatever the case."""
    pattern = re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b", re.I)
    return lambda answer: bool(answer.text.strip()) and not pattern.search(answer.text)
