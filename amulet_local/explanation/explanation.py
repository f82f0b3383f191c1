"""What a preference did to an answer, token by token: readable names, movement, means.

Turns a generation's trace into what a page or a terminal shows. Knows nothing about either, nor
about how the answer came about.
"""

from __future__ import annotations

import codecs
import itertools
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from amulet_local.common.errors import InvalidParameterError
from amulet_local.common.results import Alternative, Chunk, Generation, TokenTrace
from amulet_local.llama.vocabulary import TextStream, Vocabulary

STEP_FACTORS = (1.5, 3.0, 10.0, 30.0)
"""How many times likelier or unlikelier a token has become, where each step of colour begins."""


@dataclass(frozen=True, kw_only=True)
class TokenName:
    """A token as people can read it.

    Attributes:
        text: its text; bytes that make no character stand there as `\\xf0`. Not made safe for a
            terminal or a page.
        kind: "text"; "part" of a character; "special" for a control token, which adds no text.
    """

    text: str
    kind: Literal["text", "part", "special"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A token that was likely at a position.

    Attributes:
        name: the token, read after the tokens that were chosen before it.
        log_probability: natural logarithm, under the row that lists it.
        chosen: whether the answer has it there.
    """

    name: TokenName
    log_probability: float
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class ExplainedToken:
    """A token of the answer.

    Attributes:
        trace: the figures.
        name: the token.
        text: the characters that are complete with it; may be empty. Reasoning and a stop text are
            there as well, which the answer's text leaves out.
        moved: log p_realigned - log p_plain of the token, in nats; None where the plain row wasn't
            computed, or both are impossible.
        candidates: the likeliest tokens of each row, best first, in the order of
            `Explanation.rows`.
    """

    trace: TokenTrace
    name: TokenName
    text: str
    moved: float | None
    candidates: tuple[tuple[Candidate, ...], ...]

    @property
    def log_probabilities(self) -> tuple[float | None, ...]:
        """Of the token under each row, in the order of `Explanation.rows`."""
        return (self.trace.plain, *self.trace.preferences, self.trace.realigned)

    @property
    def step(self) -> int:
        """How strongly to colour it; see `step`."""
        return step(self.moved)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Means per token.

    Attributes:
        margins: of log p_k - log p_0, for each preference k; as `Score.margins`.
        fluency: of log p_0; as `Score.fluency`. None where the plain row wasn't computed.
        kl: of KL(realigned || combination at scale 1), in nats.
        scale: of the guidance scale.
    """

    margins: tuple[float, ...]
    fluency: float | None
    kl: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An answer with what the preference did to it.

    Attributes:
        question: what was asked.
        model: what to call the model.
        generation: the answer.
        rows: what to call the rows: "plain", each preference, "realigned".
        tokens: the answer's tokens.
        totals: means over them.
    """

    question: str
    model: str
    generation: Generation
    rows: tuple[str, ...]
    tokens: tuple[ExplainedToken, ...]
    totals: Totals

    def most_moved(self, n_tokens: int) -> list[int]:
        """Positions of the tokens that moved most, the farthest first."""
        moved = [abs(token.moved or 0.0) for token in self.tokens]
        return sorted(range(len(moved)), key=lambda position: (-moved[position], position))[
            :n_tokens
        ]


def explain(
    generation: Generation, vocabulary: Vocabulary, *, question: str = "", model: str = ""
) -> Explanation:
    """Read a traced answer.

    Args:
        generation: made with `trace=`.
        vocabulary: of the model that made it.

    Raises:
        InvalidParameterError: the answer has no trace, or no token.
    """
    if not generation.trace:
        raise InvalidParameterError("the answer has no trace; generate it with trace=5, say")
    reader = _Reader(vocabulary)
    tokens = [reader.read(trace) for trace in generation.trace]
    return Explanation(
        question=question,
        model=model,
        generation=generation,
        rows=("plain", *generation.preferences, "realigned"),
        tokens=tuple(tokens),
        totals=totals(generation.trace),
    )


def totals(trace: Sequence[TokenTrace]) -> Totals:
    """The means of a trace of at least one token."""
    plain = [item.plain for item in trace if item.plain is not None]
    has_plain = len(plain) == len(trace)
    rows = zip(*(item.preferences for item in trace), strict=True)
    return Totals(
        margins=tuple(_mean(row) - _mean(plain) for row in rows) if has_plain else (),
        fluency=_mean(plain) if has_plain else None,
        kl=_mean([item.kl for item in trace]),
        scale=_mean([item.scale for item in trace]),
    )


def moved(trace: TokenTrace) -> float | None:
    """log p_realigned - log p_plain of a token, in nats; see `ExplainedToken.moved`."""
    if trace.plain is None or trace.plain == trace.realigned == -math.inf:
        return None
    return trace.realigned - trace.plain


def step(moved: float | None) -> int:
    """The step of colour of a movement, 0 to 4; negative for what has become unlikelier."""
    reached = sum(abs(moved or 0.0) >= math.log(factor) for factor in STEP_FACTORS)
    return -reached if moved is not None and moved < 0 else reached


class StreamSteps:
    """The steps of colour of an answer while it streams: text may come later than its token."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._stream = TextStream(vocabulary)
        self._written: deque[tuple[str, int]] = deque()

    def split(self, chunk: Chunk) -> list[tuple[str, int]]:
        """The chunk's text in pieces of one step each; 0 for what no token is known of.

        Args:
            chunk: of a generation that is traced; each of its chunks, in their order.
        """
        if chunk.trace is not None:
            reached = step(moved(chunk.trace))
            text = self._stream.push(chunk.trace.token_id)
            if not chunk.is_reasoning:
                self._written.extend((character, reached) for character in text)
        steps = [(self._step_of(character), character) for character in chunk.text]
        return [
            ("".join(character for _, character in group), reached)
            for reached, group in itertools.groupby(steps, key=lambda item: item[0])
        ]

    def _step_of(self, character: str) -> int:
        """Of the next such character that was written; those before it aren't in the answer."""
        while self._written:
            written, reached = self._written.popleft()
            if written == character:
                return reached
        return 0


class _Reader:
    """Names tokens in their order: what a byte means depends on those before it."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, trace: TokenTrace) -> ExplainedToken:
        tops = (trace.top_plain, *trace.top_preferences, trace.top_realigned)
        name = self._name(trace.token_id)
        candidates = tuple(self._candidates(top, trace.token_id) for top in tops)
        text = self._decoder.decode(self._vocabulary.piece(trace.token_id))
        return ExplainedToken(
            trace=trace, name=name, text=text, moved=moved(trace), candidates=candidates
        )

    def _candidates(self, top: Iterable[Alternative], chosen: int) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(
                name=self._name(item.token_id),
                log_probability=item.log_probability,
                chosen=item.token_id == chosen,
            )
            for item in top
        )

    def _name(self, token: int) -> TokenName:
        piece = self._vocabulary.piece(token)
        if not piece:
            return TokenName(text=self._vocabulary.spelling(token), kind="special")
        begun, _ = self._decoder.getstate()
        for data in (begun + piece, piece):
            try:
                return TokenName(text=data.decode(), kind="text")
            except UnicodeDecodeError:
                pass
        return TokenName(text=piece.decode("utf-8", "backslashreplace"), kind="part")


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
