"""Reads an answer token by token: its text, what of it is reasoning, whether a stop text ends it.

Knows nothing about how tokens are chosen. What isn't decided yet is held back: bytes of a character
that isn't whole, what may be the beginning of a tag around reasoning or of a stop text.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.answering.request import Request
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.text.reasoning import Piece, ReasoningSplitter
from amulet_local.text.stop_texts import StopFinder


class AnswerReader:
    """Follows one answer, without the token that ends it.

    Attributes:
        written: what the model wrote with the last token, decided or not.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        closing_tag: str = "",
        splits: bool = True,
        stop: Sequence[str] = (),
    ) -> None:
        """Start.

        Args:
            closing_tag: what ends the reasoning that the prompt has opened; see closing_tag in
                text/reasoning.py.
            splits: whether reasoning is told from the answer; else all text is answer.
            stop: texts that end the answer, none of them empty.
        """
        self.written = ""
        self._stream = TextStream(vocabulary)
        self._splitter = ReasoningSplitter(closing_tag) if splits else None
        self._stops = StopFinder(stop)
        self._answer: list[str] = []
        self._reasoning: list[str] = []

    @classmethod
    def of(cls, request: Request, vocabulary: Vocabulary) -> AnswerReader:
        """One that reads as a request wants its answer read."""
        return cls(
            vocabulary,
            closing_tag=request.closing_tag,
            splits=request.sampling.reasoning_format == "separate",
            stop=request.sampling.stop,
        )

    @property
    def in_reasoning(self) -> bool:
        """Whether what comes next is reasoning."""
        return self._splitter is not None and self._splitter.in_reasoning

    @property
    def is_before_answer(self) -> bool:
        """Whether the text so far is reasoning and its tags."""
        return self._splitter is not None and self._splitter.is_before_answer

    @property
    def stopped(self) -> bool:
        """Whether a stop text ended the answer."""
        return self._stops.found is not None

    @property
    def text(self) -> str:
        """The answer, as far as it is decided."""
        return "".join(self._answer)

    @property
    def reasoning(self) -> str:
        """The reasoning, as far as it is decided."""
        return "".join(self._reasoning)

    def push(self, token: int) -> Piece:
        """Take the next token; returns what is decided by it."""
        self.written = self._stream.push(token)
        return self._decide(self.written)

    def finish(self) -> Piece:
        """What was held back, at the end of the answer."""
        start = self._decide(self._stream.finish())
        held = Piece("", "") if self._splitter is None else self._splitter.finish()
        end = self._keep(held.reasoning, self._stops.push(held.answer) + self._stops.finish())
        return Piece(start.reasoning + end.reasoning, start.answer + end.answer)

    def _decide(self, text: str) -> Piece:
        piece = Piece("", text) if self._splitter is None else self._splitter.push(text)
        return self._keep(piece.reasoning, self._stops.push(piece.answer))

    def _keep(self, reasoning: str, answer: str) -> Piece:
        self._reasoning.append(reasoning)
        self._answer.append(answer)
        return Piece(reasoning, answer)
