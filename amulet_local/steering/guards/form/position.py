"""Where an answer is, for what keeps its form. Knows nothing about wishes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from amulet_local.llama.token_search import EDGE, Tokens
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.steering.step import Step
from amulet_local.text.layout import count_items
from amulet_local.text.sentences import count_sentences, ends_sentence

TAIL_CHARACTERS = 200
"""Of the text, in which a last sentence's end is looked for."""

SENTENCE_END = rf"(?<={EDGE})[.!?。！？]+[\"”’»)*_]*\s*(?={EDGE})"
"""Tokens that end a sentence and say nothing else."""


class Position:
    """The place before one token.

    Attributes:
        text: the answer so far, from its first letter on.
        step: the rows as they came.
        vocabulary: the model's.
        end_tokens: what ends an answer; none where nothing may.
    """

    def __init__(
        self, text: str, step: Step, vocabulary: Vocabulary, end_tokens: Sequence[int]
    ) -> None:
        """Look at nothing yet."""
        self.text = text
        self.step = step
        self.vocabulary = vocabulary
        self.end_tokens = end_tokens

    @cached_property
    def next_token(self) -> int:
        """The likeliest token, whatever form the answer is to have."""
        return self.step.likeliest()

    @cached_property
    def next_text(self) -> str:
        """Its text; empty for a token that ends the answer."""
        return self.vocabulary.piece(self.next_token).decode("utf-8", "replace")

    @property
    def would_end(self) -> bool:
        """Whether the answer would end here."""
        return self.next_token in self.end_tokens

    @property
    def begins_line(self) -> bool:
        """Whether there is nothing of the line yet, but for spaces."""
        return not self.text.rpartition("\n")[2].strip()

    @cached_property
    def is_between_sentences(self) -> bool:
        """Whether a sentence has ended here, and nothing of it is to come, as in "3." of "3.5"."""
        if not ends_sentence(self.text):
            return False
        tail = self.text[-TAIL_CHARACTERS:].rstrip()
        before = tail.rstrip(".!?…。！？\"'”’»)*_`]")
        if count_sentences(tail) == count_sentences(before):
            return False
        return self.text[-1].isspace() or self.would_end or self.next_text[:1].isspace()

    @property
    def is_between_items(self) -> bool:
        """Whether a line of a list has ended here."""
        if not (self.text.endswith("\n") or self.next_text.startswith("\n") or self.would_end):
            return False
        return count_items(self.text.rstrip().rpartition("\n")[2]) > 0

    def having(self, pattern: str) -> Tokens:
        """The tokens with this in their text (`TokenSearch.having`)."""
        return self.vocabulary.token_search.having(pattern)

    def ending(self, parts: tuple[bytes, ...]) -> Tokens:
        """The tokens that end with one of these parts of a character."""
        return self.vocabulary.token_search.ending(parts)

    def beginning(self, parts: tuple[bytes, ...]) -> Tokens:
        """Those of them that are nothing else, but for a space before it."""
        return self.vocabulary.token_search.ending(parts, is_all=True)

    def likely(self, tokens: Tokens, reach: float) -> Tokens:
        """Those of these tokens that are within so many nats of the likeliest one."""
        rows, excess = self.step.rows, self.step.scale - 1

        def combined(ids: Tokens) -> NDArray[np.float64]:
            ours, plain = (row[ids].astype(np.float64) for row in (rows.preference, rows.plain))
            return ours + excess * (ours - plain) if excess else ours

        best = combined(np.array([self.next_token], dtype=np.int32))[0]
        with np.errstate(invalid="ignore"):
            is_near = combined(tokens) >= best - reach
        return np.array(tokens[is_near], dtype=np.int32)

    def exactly(self, text: bytes) -> Sequence[int]:
        """The tokens with this text and nothing else."""
        return self.vocabulary.token_search.exactly(text)

    def saying(self, text: bytes) -> Sequence[int]:
        """The token that says the most of how this text begins; none if none does."""
        return self.vocabulary.token_search.beginnings(text)[:1]
