"""Scorers for English: how hard an answer is to read, how positive, how formal.

Each is a formula over counts, with a lexicon where it needs one: none understands what is said.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from amulet_local.common.errors import MissingExtraError
from amulet_local.common.extras import missing_extra
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions
from amulet_local.evaluation.scorers.surface import EachAlone, words_of
from amulet_local.evaluation.scorers.syllables import count_syllables

MAX_CHARACTERS = 100_000
"""What comes after isn't looked at."""

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]*_]*\s+|\n+")
_ARTICLES = ("a", "an", "the")


def sentences_of(text: str) -> list[str]:
    """The sentences of a text: up to a mark with a blank after it, or to the end of the line.

    Only those with a word in them. Headings and items of a list are sentences.
    """
    return [part for part in _SENTENCE_END.split(text[:MAX_CHARACTERS]) if words_of(part)]


def reading_ease(text: str) -> float | None:
    """Flesch's reading ease: 206.835 - 1.015 words/sentences - 84.6 syllables/words.

    (Flesch 1948, A new readability yardstick.) None without words.
    """
    ratios = _ratios(text)
    return None if ratios is None else 206.835 - 1.015 * ratios[0] - 84.6 * ratios[1]


def reading_grade(text: str) -> float | None:
    """Flesch and Kincaid's grade: 0.39 words/sentences + 11.8 syllables/words - 15.59.

    (Kincaid et al. 1975, for the US Navy.) None without words.
    """
    ratios = _ratios(text)
    return None if ratios is None else 0.39 * ratios[0] + 11.8 * ratios[1] - 15.59


def _ratios(text: str) -> tuple[float, float] | None:
    """Words a sentence, and syllables a word."""
    sentences = sentences_of(text)
    words = [word for sentence in sentences for word in words_of(sentence)]
    if not words:
        return None
    return len(words) / len(sentences), fmean(_syllables(word) for word in words)


def _syllables(word: str) -> int:
    return sum(count_syllables(part) for part in re.split(r"['’\-]", word) if len(part) > 1) or 1


def formality_of(tags: Sequence[tuple[str, str]]) -> float | None:
    """Heylighen and Dewaele's F-score from parts of speech.

    (nouns + adjectives + prepositions + articles - pronouns - verbs - adverbs - interjections
    + 100) / 2, each as percent of the words. (Formality of language, 1999.)

    Args:
        tags: words with their tags of the Penn Treebank.

    Returns:
        0 to 100; None without words.
    """
    counts: Counter[str] = Counter()
    for word, tag in tags:
        if not any(character.isalnum() for character in word):
            continue
        counts["words"] += 1
        if tag.startswith(("NN", "JJ")) or tag in ("IN", "TO") or word.lower() in _ARTICLES:
            counts["formal"] += 1
        elif tag.startswith(("PRP", "WP", "VB", "MD", "RB", "WRB", "UH")):
            counts["deictic"] += 1
    if not counts["words"]:
        return None
    return 50.0 * (1 + (counts["formal"] - counts["deictic"]) / counts["words"])


def _formality() -> Callable[[AnsweredQuestion], float | None]:
    try:
        from textblob.en import tag
    except ImportError:
        raise _missing("formality", "textblob") from None
    with warnings.catch_warnings():  # its lexicon is read at the first call, and left open
        warnings.simplefilter("ignore", ResourceWarning)
        tag("a")

    def measure(answer: AnsweredQuestion) -> float | None:
        tagged = [pair for part in sentences_of(answer.text) for pair in tag(part)]
        return formality_of(tagged)

    return measure


def _sentiment() -> Callable[[AnsweredQuestion], float | None]:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise _missing("sentiment", "vaderSentiment") from None
    analyzer: Any = SentimentIntensityAnalyzer()

    def measure(answer: AnsweredQuestion) -> float | None:
        sentences = sentences_of(answer.text)
        if not sentences:
            return None
        return fmean(float(analyzer.polarity_scores(part)["compound"]) for part in sentences)

    return measure


def _missing(name: str, package: str) -> MissingExtraError:
    return missing_extra(f"the scorer {name} needs {package}", "eval")


_MEASURES: dict[str, Callable[[], Callable[[AnsweredQuestion], float | None]]] = {
    "reading-ease": lambda: lambda answer: reading_ease(answer.text),
    "reading-grade": lambda: lambda answer: reading_grade(answer.text),
    "sentiment": _sentiment,
    "formality": _formality,
}


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries.

    Raises:
        MissingExtraError: a package that one needs isn't installed.
    """
    return [EachAlone(entry, _MEASURES[entry.name]()) for entry in entries]
