"""Whether an answer spells its instruction out, or speaks about itself before it begins.

By words in a row, so it knows nothing about tokens, and nothing about an instruction that is put
in other words: that is what the opening is looked at for.
"""

from __future__ import annotations

import re

from amulet_local.evaluation.adherence.answer import words_of
from amulet_local.preferences.wording import unframed
from amulet_local.text.announcement import RUN_WORDS
from amulet_local.text.quotations import without_said
from amulet_local.text.words import runs_of

_POLITE = r"(?:(?:sure|certainly|of course|okay|ok|absolutely|great)\b[^\w]*(?:thing\W+)?)?"
_THING = (
    r"(?:answer|response|reply|explanation|version|poem|list|text|sentence|summary|style|table)"
)
_OPENING = re.compile(
    rf"\W*{_POLITE}(?:"
    rf"(?:here(?:'s| is| are| you)|this is|below is|the following is)\b"
    rf"[^.!?\n]{{0,80}}?\b{_THING}\b"
    r"|(?:i'll|i will|i shall|let me|i am going to|i'm going to)\s+(?:now\s+)?"
    r"(?:answer|respond|reply|write|speak|talk|explain (?:it|this))\b"
    rf"|(?:my|the)\s+{_THING}\s+(?:should|will|is written|in the style|in|as|like)\b"
    r"|answer(?:ed|ing)?\s+(?:in|as|like|for)\b|(?:answer|response)\s*:"
    r")",
    re.I,
)


def recites(instruction: str, question: str, text: str) -> bool:
    """Whether words in a row of the instruction are in the answer and not in the question.

    What an answer is asked to say, in quotation marks, is left out.

    Args:
        instruction: the preference, or what the prompt makes of it.
        question: what was asked.
        text: the answer.
    """
    answered, asked = words_of(text), words_of(question)
    for part in without_said(unframed(instruction)):
        words = words_of(part)
        n = min(RUN_WORDS, len(words))
        if runs_of(words, n) & runs_of(answered, n) - runs_of(asked, n):
            return True
    return False


def opens_about_itself(text: str) -> bool:
    """Whether an answer begins by saying what it is, e.g. "Here is an answer in verse:"."""
    return _OPENING.match(text[:300].replace("’", "'")) is not None
