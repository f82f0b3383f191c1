"""Answers in the shapes of OpenAI's API: chat completions and text completions, whole or in pieces.

Knows nothing about how answers are made or asked for; it is told what comes of them. An answer at
once and one in pieces say the same. What OpenAI's shapes have no place for stands under `amulet`.
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from amulet_local.answering.settings_used import Asked, settings_used
from amulet_local.common.results import (
    Alternative,
    Chunk,
    Generation,
    TokenTrace,
    ToolCallPiece,
)
from amulet_local.llama.vocabulary import Vocabulary

LOWEST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON doesn't have."""


class Answers(ABC):
    """The answers to one request, which come one after the other.

    Attributes:
        id: of the completion.
        whole_object, piece_object, prefix: what OpenAI calls it.
        asked: what the answer under way was asked for; where it is None, settings aren't said.
    """

    whole_object = piece_object = prefix = ""
    asked: Asked | None = None

    def __init__(
        self,
        *,
        model: str,
        vocabulary: Vocabulary,
        stream: bool,
        n_logprobs: int | None,
        n: int = 1,
    ) -> None:
        """None yet.

        Args:
            model: what the response says.
            stream: pieces instead of a whole.
            n_logprobs: alternatives whose log-probabilities are given; None gives none, not even
                those of the answer's tokens.
            n: answers to one prompt; those to another follow.
        """
        self.id = f"{self.prefix}-{uuid.uuid4()}"
        self.head: dict[str, Any] = {
            "id": self.id,
            "object": self.piece_object if stream else self.whole_object,
            "created": int(time.time()),
            "model": model,
        }
        self._vocabulary = vocabulary
        self._n_logprobs = n_logprobs
        self._n = n
        self._prompt_tokens = self._cached_tokens = 0
        self._completion_tokens = self._reasoning_tokens = 0
        self._pending: list[TokenTrace] = []
        self._traces: list[TokenTrace] = []
        self._choices: list[dict[str, Any]] = []
        self._warnings: dict[str, None] = {}
        self._ending: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts of the answers that are complete."""
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": self._completion_tokens,
            "total_tokens": self._prompt_tokens + self._completion_tokens,
        }

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The first pieces of an answer."""
        self._pending, self._traces = [], []
        return []

    def take(self, index: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Pieces for what came; the last chunk is for `end` as well."""
        traces = self._traces_of(chunk)
        self._traces += traces
        return self._pieces_of(index, chunk, traces)

    def end(self, index: int, generation: Generation) -> dict[str, Any]:
        """The piece that ends an answer."""
        if index % self._n == 0:
            self._prompt_tokens += generation.usage.prompt_tokens
            self._cached_tokens += generation.usage.cached_tokens
        self._completion_tokens += generation.usage.completion_tokens
        self._reasoning_tokens += generation.usage.reasoning_tokens
        self._choices.append(self._whole_choice(index, generation, self._traces))
        self._warnings |= dict.fromkeys(map(self._in_words, generation.warnings))
        self._ending = self._ending_of(generation)
        return {**self._piece(self._last_choice(index, generation)), **self._ending}

    def usage_piece(self) -> dict[str, Any]:
        """The piece that a stream with usage ends with."""
        return {**self.head, "choices": [], "usage": self.usage}

    def whole(self) -> dict[str, Any]:
        """All answers."""
        return {**self.head, "choices": self._choices, "usage": self.usage, **self._ending}

    def _ending_of(self, generation: Generation) -> dict[str, Any]:
        """What is said besides of an answer that is complete, and the warnings of all before it."""
        said: dict[str, Any] = {
            "warnings": list(self._warnings),
            "preset": generation.preset,
            "guidance_scale": generation.guidance_scale,
            "applied": generation.applied and dataclasses.asdict(generation.applied),
            "preferences": list(generation.preferences),
            "method": generation.method,
            "reasoning_tokens": generation.usage.reasoning_tokens,
        }
        if self.asked is not None:
            said["settings"] = settings_used(
                self.asked,
                method=generation.method,
                preferences=generation.preferences,
                seed=generation.seed,
            )
        return {"amulet": said}

    def _in_words(self, warning: str) -> str:
        """A warning as its reader is to have it."""
        return warning

    def _piece(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self.head, "choices": [choice]}

    def _traces_of(self, chunk: Chunk) -> list[TokenTrace]:
        """The traces of the tokens that the answer's text in this piece is made of."""
        if chunk.trace is not None:
            self._pending.append(chunk.trace)
        if chunk.is_reasoning:
            self._pending.clear()
        if not chunk.text:
            return []
        traces, self._pending = self._pending, []
        return traces

    def _top(self, trace: TokenTrace) -> Sequence[Alternative]:
        return trace.top_realigned[: self._n_logprobs or 0]

    @abstractmethod
    def _pieces_of(
        self, index: int, chunk: Chunk, traces: Sequence[TokenTrace]
    ) -> list[dict[str, Any]]:
        """What a chunk adds, in pieces."""

    @abstractmethod
    def _last_choice(self, index: int, generation: Generation) -> dict[str, Any]:
        """The choice of the piece that ends an answer."""

    @abstractmethod
    def _whole_choice(
        self, index: int, generation: Generation, traces: Sequence[TokenTrace]
    ) -> dict[str, Any]:
        """The choice of an answer at once."""


class ChatAnswers(Answers):
    """A `chat.completion`, or `chat.completion.chunk`s."""

    whole_object, piece_object, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl"

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The piece with the role."""
        super().begin(index)
        return [self._piece(self._delta(index, {"role": "assistant"}))]

    def _pieces_of(
        self, index: int, chunk: Chunk, traces: Sequence[TokenTrace]
    ) -> list[dict[str, Any]]:
        pieces = []
        if chunk.reasoning:
            pieces.append(self._piece(self._delta(index, {"reasoning_content": chunk.reasoning})))
        if chunk.text:
            pieces.append(self._piece(self._delta(index, {"content": chunk.text}, traces)))
        if chunk.tool_calls:
            calls = [_call_piece(piece) for piece in chunk.tool_calls]
            pieces.append(self._piece(self._delta(index, {"tool_calls": calls})))
        return pieces

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        traces: Sequence[TokenTrace] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "delta": delta,
            "logprobs": None if traces is None else self._logprobs(traces),
            "finish_reason": finish_reason,
        }

    def _last_choice(self, index: int, generation: Generation) -> dict[str, Any]:
        return self._delta(index, {}, finish_reason=finish_reason(generation))

    def _whole_choice(
        self, index: int, generation: Generation, traces: Sequence[TokenTrace]
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": generation.text}
        if generation.tool_calls:
            message["content"] = generation.text or None
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in generation.tool_calls
            ]
        if generation.reasoning:
            message["reasoning_content"] = generation.reasoning
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(traces),
            "finish_reason": finish_reason(generation),
        }

    def _logprobs(self, traces: Sequence[TokenTrace]) -> dict[str, Any] | None:
        if self._n_logprobs is None:
            return None
        content = [
            {
                **self._token(item.token_id, item.text, item.realigned),
                "top_logprobs": [
                    self._token(other.token_id, other.text, other.log_probability)
                    for other in self._top(item)
                ],
            }
            for item in traces
        ]
        return {"content": content, "refusal": None}

    def _token(self, token: int, text: str, log_probability: float) -> dict[str, Any]:
        piece = self._vocabulary.piece(token)
        return {"token": text, "logprob": finite(log_probability), "bytes": list(piece)}


class TextAnswers(Answers):
    """A `text_completion`, whole or in pieces.

    Attributes:
        echoed: what the text of the answer under way begins with.
    """

    whole_object = piece_object = "text_completion"
    prefix = "cmpl"
    echoed = ""

    def begin(self, index: int) -> list[dict[str, Any]]:
        """The prompt, where it is to be said again."""
        self._offset = len(self.echoed)
        super().begin(index)
        return [self._piece(self._choice(index, self.echoed, []))] if self.echoed else []

    def _pieces_of(
        self, index: int, chunk: Chunk, traces: Sequence[TokenTrace]
    ) -> list[dict[str, Any]]:
        text = chunk.reasoning + chunk.text
        return [self._piece(self._choice(index, text, traces))] if text else []

    def _choice(
        self,
        index: int,
        text: str,
        traces: Sequence[TokenTrace],
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        return {
            "index": index,
            "text": text,
            "logprobs": self._logprobs(traces),
            "finish_reason": finish_reason,
        }

    def _last_choice(self, index: int, generation: Generation) -> dict[str, Any]:
        return self._choice(index, "", [], finish_reason(generation))

    def _whole_choice(
        self, index: int, generation: Generation, traces: Sequence[TokenTrace]
    ) -> dict[str, Any]:
        self._offset = len(self.echoed)
        text = self.echoed + generation.reasoning + generation.text
        return self._choice(index, text, traces, finish_reason(generation))

    def _logprobs(self, traces: Sequence[TokenTrace]) -> dict[str, Any] | None:
        if self._n_logprobs is None:
            return None
        offsets = []
        for item in traces:
            offsets.append(self._offset)
            self._offset += len(item.text)
        return {
            "tokens": [item.text for item in traces],
            "token_logprobs": [finite(item.realigned) for item in traces],
            "top_logprobs": [
                {other.text: finite(other.log_probability) for other in self._top(item)}
                for item in traces
            ],
            "text_offset": offsets,
        }


def finite(log_probability: float) -> float:
    """A log-probability that JSON can say."""
    return max(log_probability, LOWEST_LOGPROB)


def finish_reason(generation: Generation) -> str:
    """OpenAI knows no cancelled answer, and another end of one that calls tools."""
    if generation.finish_reason == "length":
        return "length"
    return "tool_calls" if generation.tool_calls else "stop"


def _call_piece(piece: ToolCallPiece) -> dict[str, Any]:
    if not piece.id:
        return {"index": piece.index, "function": {"arguments": piece.arguments}}
    return {
        "index": piece.index,
        "id": piece.id,
        "type": "function",
        "function": {"name": piece.name, "arguments": piece.arguments},
    }
