"""Keeps an answer from ending in the middle of a sentence, or with nothing but a question.

"Start with a question, then answer it" gives the user's question back, which is a whole sentence
and no answer. Where the plain prompt would end there too, as after "Ask me something.", it may
end. Knows nothing about languages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from amulet_local.steering.guards.base import Guard, Surroundings
from amulet_local.steering.step import Step

LIKELY_END = 0.5
"""Probability from which on the end of an answer is likely."""

_ONE_QUESTION = re.compile(r"[^.!?…。！？\n]+[?？][\"'”’»)*_]*\s*")


class EarlyEnd(Guard):
    """Rules the end out in mid-sentence, or after an only question, unless it is likely there.

    In mid-sentence it has to be likely under the preference prompt, after a question under the
    plain one.
    """

    @classmethod
    def is_on(cls, around: Surroundings) -> bool:
        """Whether the end guard is on and there is an end to hold back."""
        return around.amulet.end_guard and bool(around.end_tokens)

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
