"""Keeps an answer from ending in the middle of a sentence, or with nothing but a question.

"Start with a question, then answer it" gives the user's question back, which is a whole sentence
and no answer. Where the plain prompt would end there too, as after "Ask me something.", it may
end; the user's own question, "WHY DO WE HAVE SEASONS?", is an answer only if the plain one begins
like it. Knows nothing about languages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.instructions import text_of
from amulet_local.steering.step import Step
from amulet_local.text.words import words_of

LIKELY_END = 0.5
"""Probability from which on the end of an answer is likely."""

_ONE_QUESTION = re.compile(r"[^.!?…。！？\n]+[?？][\"'”’»)*_]*\s*")

_QUESTION = re.compile(r"[^.!?…。！？\n]+[?？]")
_MARK = re.compile(r"[.!?…。！？\n]")

LEAST_WORDS = 3
"""Of a question that is given back; "Why?" may be asked."""

QUESTION_TOKENS = 400
"""Of a prompt's end, in which the question is looked for."""


class EarlyEnd(Guard):
    """Rules the end out in mid-sentence, or after an only question, unless it is likely there.

    In mid-sentence it has to be likely under the preference prompt, after a question under the
    plain one.
    """

    def __init__(self, around: Surroundings) -> None:
        """Begin with no answer."""
        super().__init__(around)
        self._plain_begins = ""

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the end guard is on and there is an end to hold back."""
        return around.amulet.end_guard and bool(around.end_tokens)

    def refused(self, step: Step) -> Sequence[int]:
        """The end behind the user's question, where the plain answer doesn't begin with it."""
        answer, vocabulary = self.around.text.answer, self.around.vocabulary
        if not (step.has_preference and self.around.prompts) or vocabulary is None:
            return ()
        if not answer.strip():
            begins = vocabulary.piece(int(np.argmax(step.reference.plain)))
            self._plain_begins = begins.decode("utf-8", "ignore").strip().lower()
        elif len(answer) <= len(self._prompt) and self._is_given_back(answer):
            return self.around.end_tokens
        return ()

    def _is_given_back(self, answer: str) -> bool:
        """Whether it is what the user asked, and nothing that the plain answer begins with.

        Without a mark, "how do i sleep better", it is a whole question of theirs.
        """
        is_question = _ONE_QUESTION.fullmatch(answer) is not None
        words = words_of(answer) if is_question or not _MARK.search(answer) else []
        plain = self._plain_begins
        if len(words) < LEAST_WORDS or (plain and words[0].startswith(plain)):
            return False
        asked = [self._prompt] if is_question else _QUESTION.findall(self._prompt)
        said = f" {' '.join(words)} "
        return any(
            said in text if is_question else said == text
            for text in (f" {' '.join(words_of(part))} " for part in asked)
        )

    @cached_property
    def _prompt(self) -> str:
        """The end of what the model was asked."""
        assert self.around.vocabulary is not None
        return text_of(self.around.vocabulary, self.around.prompts[-1][-QUESTION_TOKENS:])

    def act(self, step: Step) -> None:
        """Rule out the tokens that end the answer."""
        rows, text = step.reference, self.around.text
        if not text.ends_sentence:
            may_end = self._is_likely(rows.log_p)
        elif step.has_preference and _ONE_QUESTION.fullmatch(text.answer):
            may_end = self._is_likely(
                lambda token: float(rows.plain[token]) - rows.plain_normaliser
            )
        else:
            return
        if not may_end:
            step.refuse(self.around.end_tokens)

    def _is_likely(self, log_p: Callable[[int], float]) -> bool:
        return sum(math.exp(log_p(token)) for token in self.around.end_tokens) >= LIKELY_END
