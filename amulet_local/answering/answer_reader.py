"""Reads an answer token by token: its text, what of it is reasoning, whether a stop text ends it.

Knows nothing about how tokens are chosen. What isn't decided yet is held back: bytes of a character
that isn't whole, what may be the beginning of a tag around reasoning, of an announcement or of a
stop text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from amulet_local.answering.request import Request
from amulet_local.calling.call_grammar import Calling
from amulet_local.calling.call_reader import CallReader
from amulet_local.common.results import ToolCall, ToolCallPiece
from amulet_local.llama.vocabulary import TextStream, Vocabulary
from amulet_local.preferences.wording import unframed
from amulet_local.steering.instructions import instructions
from amulet_local.text.announcement import AnnouncementFilter
from amulet_local.text.reasoning import Piece, ReasoningSplitter
from amulet_local.text.stop_texts import StopFinder


class ReadPiece(NamedTuple):
    """What is decided.

    Attributes:
        reasoning, answer, calls: its parts; each may be empty.
    """

    reasoning: str
    answer: str
    calls: tuple[ToolCallPiece, ...] = ()


class AnswerReader:
    """Follows one answer, without the token that ends it.

    Attributes:
        written: what the model wrote with the last token, decided or not.
        n_before_answer: tokens of reasoning and of the tags around it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        closing_tag: str = "",
        splits: bool = True,
        stop: Sequence[str] = (),
        calling: Calling | None = None,
        wishes: Sequence[str] = (),
    ) -> None:
        """Start.

        Args:
            closing_tag: what ends the reasoning that the prompt has opened; see closing_tag in
                text/reasoning.py.
            splits: whether reasoning is told from the answer; else all text is answer.
            stop: texts that end the answer, none of them empty.
            calling: how tools are called; None if they aren't.
            wishes: what the answer may announce to follow, which is left out then.
        """
        self.written = ""
        self.n_before_answer = self._n_tokens = 0
        form = None if calling is None else calling.form
        self._stream = TextStream(vocabulary, () if form is None else form.markers)
        ends_before = form.triggers if form is not None and form.ends_reasoning else ()
        self._splitter = ReasoningSplitter(closing_tag, ends_before) if splits else None
        self._calls = None
        if calling is not None:
            self._calls = CallReader(calling.form, calling.fences, calling.texts)
        self._is_forced = calling is not None and calling.forced
        self._announcements = AnnouncementFilter(wishes)
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
            calling=request.calling,
            wishes=_wishes(request, vocabulary),
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
    def in_call(self) -> bool:
        """Whether what comes next belongs to a tool call, or may."""
        return self._calls is not None and (self._is_forced or self._calls.in_call)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls so far."""
        return () if self._calls is None else self._calls.calls

    @property
    def stop_text(self) -> str | None:
        """The stop text that ended the answer, if one did."""
        return self._stops.found

    @property
    def announcement(self) -> str:
        """What the answer said of itself before it began, which isn't in its text."""
        return self._announcements.dropped.strip()

    @property
    def text(self) -> str:
        """The answer, as far as it is decided."""
        return "".join(self._answer)

    @property
    def reasoning(self) -> str:
        """The reasoning, as far as it is decided."""
        return "".join(self._reasoning)

    def push(self, token: int) -> ReadPiece:
        """Take the next token; returns what is decided by it."""
        self.written = self._stream.push(token, spell=self.in_call and not self.in_reasoning)
        piece = self._decide(self.written)
        self._n_tokens += 1
        if self.is_before_answer:
            self.n_before_answer = self._n_tokens
        return piece

    def finish(self) -> ReadPiece:
        """What was held back, at the end of the answer."""
        held = Piece("", "") if self._splitter is None else self._splitter.finish()
        said, calls = self._without_calls(held.answer)
        said += "" if self._calls is None else self._calls.finish()
        said = self._announcements.push(said) + self._announcements.finish()
        return self._keep(held.reasoning, self._stops.push(said) + self._stops.finish(), calls)

    def _decide(self, text: str) -> ReadPiece:
        piece = Piece("", text) if self._splitter is None else self._splitter.push(text)
        said, calls = self._without_calls(piece.answer)
        return self._keep(piece.reasoning, self._stops.push(self._announcements.push(said)), calls)

    def _without_calls(self, text: str) -> tuple[str, tuple[ToolCallPiece, ...]]:
        return (text, ()) if self._calls is None else self._calls.push(text)

    def _keep(self, reasoning: str, answer: str, calls: tuple[ToolCallPiece, ...]) -> ReadPiece:
        self._reasoning.append(reasoning)
        self._answer.append(answer)
        return ReadPiece(reasoning, answer, calls)


def _wishes(request: Request, vocabulary: Vocabulary) -> list[str]:
    """What its preferences say, where the answer is free text under the echo guard."""
    amulet, sampling = request.amulet, request.sampling
    is_steered = len(request.prompts) > 1 and amulet.guidance_scale > 1
    is_governed = request.calling or sampling.grammar or sampling.json_schema is not None
    if is_governed or not (amulet.echo_guard and is_steered):
        return []
    return [unframed(wish) for wish in instructions(vocabulary, request.prompts)]
