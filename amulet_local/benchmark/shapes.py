"""Prompts of exact lengths, made of arbitrary tokens: a system text, a history, a question.

Knows nothing about models but the size of their vocabulary.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any, Literal

N_PREFERENCE = 20
"""Tokens of a preference in words of one's own."""
N_TAIL = 5
"""Tokens of a chat template after the last user turn."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Lengths of a plain and a preference prompt, in tokens.

    Attributes:
        system: the system text, which all questions share.
        history: earlier turns.
        question: the last user turn.
        placement: where the preference is: at the end of the "system" text or of the "user" turn.
    """

    system: int
    history: int
    question: int
    placement: Literal["system", "user"]

    @property
    def n_plain(self) -> int:
        """Tokens of the plain prompt."""
        return self.system + self.history + self.question + N_TAIL

    def prompts(self, n_vocab: int, variant: int = 0) -> tuple[list[int], list[int]]:
        """The plain and the preference prompt.

        Args:
            n_vocab: ids are below.
            variant: another number is another question after the same system text and history.
        """
        system = arbitrary_tokens("system", self.system, n_vocab)
        history = arbitrary_tokens("history", self.history, n_vocab)
        question = arbitrary_tokens(f"question {variant}", self.question, n_vocab)
        preference = arbitrary_tokens("preference", N_PREFERENCE, n_vocab)
        tail = arbitrary_tokens("tail", N_TAIL, n_vocab)
        plain = [*system, *history, *question, *tail]
        if self.placement == "user":
            return plain, [*system, *history, *question, *preference, *tail]
        return plain, [*system, *preference, *history, *question, *tail]

    def as_json(self) -> dict[str, Any]:
        """The lengths as JSON values."""
        return asdict(self)


SHAPES = (
    Shape(system=500, history=0, question=30, placement="user"),
    Shape(system=500, history=0, question=30, placement="system"),
    Shape(system=100, history=1000, question=30, placement="user"),
    Shape(system=100, history=1000, question=30, placement="system"),
)
QUICK_SHAPES = (
    Shape(system=50, history=0, question=10, placement="user"),
    Shape(system=10, history=100, question=10, placement="system"),
)


def arbitrary_tokens(seed: str, n: int, n_vocab: int) -> list[int]:
    """The same `n` token ids for the same seed."""
    generator = random.Random(seed)
    return [generator.randrange(n_vocab) for _ in range(n)]
