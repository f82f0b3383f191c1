"""How an answer goes over the wire: OpenAI's events and objects, and what other protocols derive.

Knows nothing about HTTP connections or about how an answer is made. Everything is made from the
pieces of a chat completion, so that all protocols say the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

TELEMETRY = ("timings", "prompt_progress")
"""What llama-server's clients may ask for in a piece, besides what it adds."""


class Wire:
    """OpenAI's own: each piece is an event.

    Attributes:
        media_type: of a stream.
        comment: what says nothing but that an answer is still being made.
        unsaid: fields of a request that ask for what answers of this protocol have no place for.
    """

    media_type = "text/event-stream; charset=utf-8"
    comment = b": waiting\n\n"
    unsaid: ClassVar[tuple[str, ...]] = ()

    def whole(self, answer: dict[str, Any]) -> Any:
        """The object for an answer at once."""
        return answer

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """What is sent for a piece of a stream."""
        return [event(piece)]

    def end(self) -> Iterable[bytes]:
        """What is sent after the last piece."""
        return [b"data: [DONE]\n\n"]

    def error(self, body: Mapping[str, Any]) -> bytes:
        """What is sent in a stream that has failed; `body` is OpenAI's error object."""
        return event(body)


@dataclass
class Call:
    """A tool call, as far as it is there.

    Attributes:
        index: of the call in the answer, from 0.
        arguments: the beginning of a JSON object.
    """

    index: int
    id: str
    name: str
    arguments: str = ""

    @property
    def value(self) -> dict[str, Any]:
        """The arguments as an object; an empty one where they were cut."""
        try:
            value = json.loads(self.arguments or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Deltas:
    """What the pieces of a chat completion have said so far.

    Attributes:
        text, reasoning: all of them.
        last: the piece that ends the answer; empty until then.
        calls: the tool calls.
        new_calls: with what the last piece has added to their arguments.
        logprobs, new_logprobs: of the text's tokens, where they were asked for; the last piece's.
    """

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.last: dict[str, Any] = {}
        self.calls: list[Call] = []
        self.new_calls: list[tuple[Call, str]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.new_logprobs: list[dict[str, Any]] = []

    def take(self, piece: Mapping[str, Any]) -> tuple[str, str]:
        """The answer's text and the reasoning that a piece adds."""
        choice = piece["choices"][0] if piece.get("choices") else {}
        delta = choice.get("delta", {})
        text = delta.get("content") or choice.get("text") or ""
        reasoning = delta.get("reasoning_content") or ""
        self.text += text
        self.reasoning += reasoning
        self.new_logprobs = (choice.get("logprobs") or {}).get("content") or []
        self.logprobs += self.new_logprobs
        self.new_calls = [
            self._call(place, part) for place, part in enumerate(delta.get("tool_calls") or ())
        ]
        if choice.get("finish_reason"):
            self.last = dict(piece)
        return text, reasoning

    def _call(self, place: int, part: Mapping[str, Any]) -> tuple[Call, str]:
        function = part["function"]
        index = part.get("index", place)
        if index == len(self.calls):
            self.calls.append(Call(index=index, id=part["id"], name=function["name"]))
        call = self.calls[index]
        call.arguments += function["arguments"]
        return call, function["arguments"]

    @property
    def finish_reason(self) -> str:
        """OpenAI's word for how it ended."""
        return str(self.last["choices"][0]["finish_reason"])

    @property
    def n_reasoning(self) -> int:
        """Tokens of the answer that are reasoning."""
        return int(self.last["amulet"]["reasoning_tokens"])

    @property
    def counts(self) -> tuple[int, int, int]:
        """Tokens of the prompt, of these in memory, and of the answer."""
        timings = self.last["timings"]
        cached = timings["cache_n"]
        return timings["prompt_n"] + cached, cached, timings["predicted_n"]


def as_pieces(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """An answer at once as the one piece that says all of it."""
    choice = answer["choices"][0]
    message = choice.get("message", {"content": choice.get("text")})
    yield {**answer, "choices": [{**choice, "delta": message, "text": None}]}


def with_warnings(answer: dict[str, Any], warnings: Sequence[str]) -> dict[str, Any]:
    """An answer of another kind with what its request asked for and didn't get."""
    return {**answer, "amulet": {"warnings": list(warnings)}} if warnings else answer


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """A server-sent event; JSON in ASCII has no line ends in it."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()
