"""What answers are worth, by this model's own probabilities and by their tokens alone.

Knows nothing about how answers are made. Margin and fluency are log-likelihoods; whether an answer
broke is decided by rules that anyone can check by hand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from amulet_local.common.results import Generation
from amulet_local.text.emojis import without_emojis_at_end
from amulet_local.text.repetition import loops, repeated_share
from amulet_local.text.sentences import ends_sentence

REPEATED_SHARE = 0.5
"""An answer loops as well when half of it stood in it before."""

WINDOW_TOKENS = 16
WINDOW_LOG_P = -2.0
"""An answer falls apart where 16 tokens in a row, or all of a shorter one, have a lower mean
log-probability under the preference prompt; without steering the worst window has about -1.2."""

RECITED_TOKENS = 4
"""An answer recites when so many tokens in a row are the instruction's and not the question's."""

SIGNS = ("loops", "falls_apart", "recites", "stops_short")
"""Fields of Quality that make an answer broken."""

_LIST_ITEM = re.compile(r"\s*([-*•]|\d+[.)])\s+\S")
_SENTENCE_INSIDE = re.compile(r"[^\W\d_]{2}[.!?…][\"'”’»)*_]{0,3}\s|[。！？]")
_OPEN = re.compile(
    r"[,;:(\[{\-–—]\s*$|\b(?:a|an|the|and|or|but|so|because|that|which|of|to|in|on|at|by|for|from|with"
    r"|who|what|how|where|as|is|are|was|were|be|your|my|their|its|if|when|while|than|not)\s*$",
    re.IGNORECASE,
)
_CLOSED = ("|", "}", "]", ">")
_FEW_WORDS = 6
"""With fewer words and no mark, a text is a name or a phrase."""

_VERSE_LINES, _VERSE_WORDS = 4, 12
"""Verse is so many lines or more, none with more words."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Figures of one answer.

    Attributes:
        n_tokens: its length.
        margin: mean of log p1 - log p0 per token: how much more it is an answer to the preference
            prompt than to the plain one.
        fluency: mean of log p0 per token, under the plain prompt.
        loops: it ends in a loop, holds one, or repeats half of itself.
        falls_apart, recites: see WINDOW_LOG_P and RECITED_TOKENS.
        stops_short: the model ended it in the middle of a sentence that isn't an item of a list.
    """

    n_tokens: int
    margin: float
    fluency: float
    loops: bool
    falls_apart: bool
    recites: bool
    stops_short: bool

    @property
    def is_broken(self) -> bool:
        """Whether it loops or goes off: falls apart, recites or stops short."""
        return any(getattr(self, sign) for sign in SIGNS)


@dataclass(frozen=True, kw_only=True)
class Means:
    """Figures of several answers.

    Attributes:
        answers: how many.
        margin, fluency: means over all tokens of all answers.
        loops, falls_apart, recites, stops_short, broken: shares of the answers, 0 to 1.
        tokens: mean length of an answer.
    """

    answers: int
    margin: float
    fluency: float
    loops: float
    falls_apart: float
    recites: float
    stops_short: float
    broken: float
    tokens: float


def means(answers: Sequence[Quality]) -> Means:
    """Figures of several answers, at least one."""
    n_tokens = sum(answer.n_tokens for answer in answers)
    return Means(
        answers=len(answers),
        margin=math.fsum(answer.margin * answer.n_tokens for answer in answers) / n_tokens,
        fluency=math.fsum(answer.fluency * answer.n_tokens for answer in answers) / n_tokens,
        **{sign: fmean(getattr(answer, sign) for answer in answers) for sign in SIGNS},
        broken=fmean(answer.is_broken for answer in answers),
        tokens=n_tokens / len(answers),
    )


def fluency_limit(prompted: float, paper: float) -> float:
    """The least fluency that a recommended strength may have.

    It loses at most half of what the paper's strength loses against the preference prompt.
    """
    return prompted - max(0.0, prompted - paper) / 2


def quality(generation: Generation, instruction: Sequence[int], question: Sequence[int]) -> Quality:
    """Judge an answer by its trace, which has a plain and one preference row.

    Args:
        generation: traced.
        instruction, question: token ids of the preference's text and of the question.
    """
    trace = generation.trace or ()
    tokens = [item.token_id for item in trace]
    plain = [item.plain for item in trace if item.plain is not None]
    preference = [item.preferences[0] for item in trace]
    fluency = math.fsum(plain) / len(plain)
    return Quality(
        n_tokens=len(tokens),
        margin=math.fsum(preference) / len(preference) - fluency,
        fluency=fluency,
        loops=is_loop(tokens),
        falls_apart=falls_apart(preference),
        recites=recites(tokens, instruction, question),
        stops_short=stops_short(generation.text, generation.finish_reason),
    )


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether an answer ends in a loop, holds one, or repeats half of itself."""
    return loops(tokens) or repeated_share(tokens) > REPEATED_SHARE


def stops_short(text: str, finish_reason: str) -> bool:
    """Whether the model ended it in the middle of a sentence that isn't an item of a list.

    An emoji ends a sentence as a mark does, and a bracket a table or JSON. Verse, and a text that
    has no sentences because it is all in one case or a few words, are in the middle of one only
    if they end in what can't be last, such as a colon or "the". An empty answer stops short.
    """
    if finish_reason != "stop" or ends_sentence(text):
        return False
    if _LIST_ITEM.match(text.strip().rpartition("\n")[2]):
        return False
    if without_emojis_at_end(text) != text.rstrip() or text.rstrip().endswith(_CLOSED):
        return False
    if not text.strip() or _OPEN.search(text):
        return True
    return _has_sentences(text) and not _is_verse(text)


def _has_sentences(text: str) -> bool:
    """Whether one ended inside, or it begins like one: with a capital letter, and many words."""
    begins = text.lstrip()[0].isupper() and not text.isupper()
    return bool(_SENTENCE_INSIDE.search(text)) or (begins and len(text.split()) >= _FEW_WORDS)


def _is_verse(text: str) -> bool:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return len(lines) >= _VERSE_LINES and max(map(len, lines)) <= _VERSE_WORDS


def falls_apart(preference: Sequence[float]) -> bool:
    """Whether a window of it is too unlikely, by its log-probabilities under the preference."""
    return worst_window(preference, WINDOW_TOKENS) < WINDOW_LOG_P


def recites(tokens: Sequence[int], instruction: Sequence[int], question: Sequence[int]) -> bool:
    """Whether tokens in a row are the instruction's and not the question's."""
    return not _stretches(instruction).isdisjoint(_stretches(tokens) - _stretches(question))


def worst_window(values: Sequence[float], n: int) -> float:
    """Smallest mean of `n` values in a row, the mean of all where there are fewer."""
    if len(values) <= n:
        return math.fsum(values) / len(values)
    return min(math.fsum(values[i : i + n]) / n for i in range(len(values) - n + 1))


def _stretches(tokens: Sequence[int]) -> set[tuple[int, ...]]:
    n = RECITED_TOKENS
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
