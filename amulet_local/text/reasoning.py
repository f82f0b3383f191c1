"""Tells what a thinking model writes to itself from its answer, as the text comes.

Knows nothing about tokens or models. Reasoning stands at the beginning of what is generated, in
tags that a model was trained with; a tag anywhere else is ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "<mm:think>": "</mm:think>",
    "[THINK]": "[/THINK]",
}
"""What opens reasoning and what closes it (DeepSeek and Qwen, Seed, Magistral, ...)."""

HARMONY_TOKENS = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
"""Control tokens that part reasoning and answer in gpt-oss's format, harmony."""

_HARMONY_ANSWER = "<|channel|>final<|message|>"
_CLOSING = {
    **TAGS,
    "<|channel|>commentary<|message|>": "",
    "<|channel|>analysis<|message|>": f"<|end|><|start|>assistant{_HARMONY_ANSWER}",
    _HARMONY_ANSWER: "",
}
_ANY_OPENING, _ANY_CLOSING = ("|".join(map(re.escape, tags)) for tags in (TAGS, TAGS.values()))
_OPENED = re.compile(rf"(?:{_ANY_OPENING})\s*\Z")
_OPENED_OR_EMPTY = re.compile(rf"(?:{_ANY_OPENING})\s*(?:(?:{_ANY_CLOSING})\s*)?\Z")


class Piece(NamedTuple):
    """Text that is decided.

    Attributes:
        reasoning, answer: its parts; either may be empty.
    """

    reasoning: str
    answer: str


def closing_tag(prompt: str, response_prefix: str = "") -> str:
    """What will close the reasoning that a prompt has opened; empty if it opened none.

    Args:
        prompt: its end.
        response_prefix: what the prompt goes on with, as the beginning of the answer.
    """
    found = _OPENED.search(prompt[-100:])
    splitter = ReasoningSplitter(TAGS[found[0].rstrip()] if found else "")
    splitter.push(response_prefix)
    return splitter.closing if splitter.in_reasoning else ""


def without_opening(prompt: str) -> str:
    """A prompt without the reasoning that it opens at its end, or has empty there."""
    return _OPENED_OR_EMPTY.sub("", prompt)


class ReasoningSplitter:
    """Follows one text.

    Attributes:
        in_reasoning: whether what comes next is reasoning.
        closing: the tag that ends it.
        has_answer: whether the answer has begun.
    """

    def __init__(self, closing: str = "", ends_before: Sequence[str] = ()) -> None:
        """Start.

        Args:
            closing: the tag that ends the reasoning in which the text begins; see closing_tag.
            ends_before: texts of the answer that end reasoning as well.
        """
        self._ends_before = tuple(ends_before)
        self.in_reasoning = bool(closing)
        self.has_answer = False
        self.closing = closing
        self._was_opened = bool(closing)
        self._may_open = not closing
        self._has_reasoning = False
        self._held = ""

    @property
    def is_before_answer(self) -> bool:
        """Whether the text so far is reasoning and its tags."""
        return self._was_opened and not self.has_answer

    def push(self, text: str) -> Piece:
        """Take more text; returns what is decided by it."""
        self._held += text
        reasoning = ""
        if self._may_open:
            self._open()
        if self.in_reasoning:
            reasoning = self._close()
            if not self._has_reasoning:
                reasoning = reasoning.lstrip()
            self._has_reasoning = self._has_reasoning or bool(reasoning)
        if self._may_open or self.in_reasoning:
            return Piece(reasoning, "")
        answer, self._held = self._held, ""
        if not self.has_answer and self._was_opened:
            answer = answer.lstrip()
        self.has_answer = self.has_answer or bool(answer)
        return Piece(reasoning, answer)

    def finish(self) -> Piece:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        if self.in_reasoning:
            return Piece(held.rstrip(), "")
        return Piece("", held)

    def _open(self) -> None:
        """Decide whether the text begins with an opening tag, as far as it can be decided."""
        start = self._held.lstrip()
        for opening, closing in _CLOSING.items():
            if start.startswith(opening):
                self._may_open, self._was_opened = False, True
                self.in_reasoning = bool(closing)
                self.closing = closing
                self._held = start[len(opening) :]
                return
        self._may_open = any(opening.startswith(start) for opening in _CLOSING)

    def _close(self) -> str:
        """The reasoning that is decided; what stays held is blank, or may be the closing tag."""
        end = self._held.find(self.closing)
        if end >= 0:
            reasoning = self._held[:end].rstrip()
            self._held = self._held[end + len(self.closing) :]
            self.in_reasoning = False
            return reasoning
        starts = [at for text in self._ends_before if (at := self._held.find(text)) >= 0]
        if starts:
            reasoning, self._held = self._held[: min(starts)], self._held[min(starts) :]
            self.in_reasoning = False
            return reasoning.rstrip()
        kept = held_back(self._held, [self.closing, *self._ends_before])
        undecided = self._held[: len(self._held) - kept]
        reasoning = undecided.rstrip()
        self._held = self._held[len(reasoning) :]
        return reasoning


def held_back(text: str, wanted: Iterable[str]) -> int:
    """How many characters at the end of `text` one of the wanted texts may begin with."""
    return max(
        (
            n
            for other in wanted
            for n in range(1, min(len(other), len(text)) + 1)
            if text.endswith(other[:n])
        ),
        default=0,
    )
