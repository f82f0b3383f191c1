"""OpenAI's responses: their requests as chat completions, and answers in their shape.

Knows nothing about HTTP. What was said is kept for a while by the response's id, so that the next
request may go on from it.
"""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.server.failures import HttpError
from amulet_local.server.wire import TELEMETRY, Call, Deltas, Wire, as_pieces, event

MAX_KEPT = 256
"""Responses that can be gone on from."""

_RENAMED = {"max_output_tokens": "max_tokens"}
_NOT_SENT_ON = ("input", "instructions", "previous_response_id", "text", "include", "background")
_LOGPROBS = "message.output_text.logprobs"
_INCLUDED = (_LOGPROBS, "reasoning.encrypted_content")
"""Of `include`, what is given: reasoning is never encrypted here, its item has it as text."""

Messages = list[dict[str, Any]]


class Conversations:
    """What was said, by the id of the last response. Used by one thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Messages] = OrderedDict()

    def keep(self, key: str, messages: Messages) -> None:
        """Take note; the oldest is forgotten."""
        self._kept[key] = messages
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def forget(self, key: str) -> None:
        """Keep a response no longer.

        Raises:
            HttpError: 404, there is none.
        """
        self.find(key)
        del self._kept[key]

    def find(self, key: object) -> Messages:
        """The messages up to a response.

        Raises:
            HttpError: 404, there is none.
        """
        if key is None:
            return []
        if not isinstance(key, str) or key not in self._kept:
            raise HttpError(
                404,
                "no response of this id is kept here",
                param="previous_response_id",
                code="not_found",
            )
        return self._kept[key]


def chat_body(body: Mapping[str, Any], before: Messages) -> tuple[dict[str, Any], Messages]:
    """The body of a chat completion for that of /v1/responses, and what was said up to it.

    Raises:
        InvalidParameterError: something isn't what OpenAI's API takes.
    """
    given = {
        _RENAMED.get(key, key): value for key, value in body.items() if key not in _NOT_SENT_ON
    }
    said = [*before, *_messages(body.get("input"))]
    if isinstance(body.get("tools"), list):
        given["tools"] = [_tool(tool) for tool in body["tools"]]
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    given["messages"] = [*system, *said]
    included = body.get("include") or []
    if not isinstance(included, list):
        raise InvalidParameterError("include: must be a list")
    if _LOGPROBS in included or given.get("top_logprobs"):
        given["logprobs"] = True
    text = body.get("text")
    if isinstance(text, Mapping) and text.get("verbosity") is not None:
        given["verbosity"] = text["verbosity"]
    form = text.get("format") if isinstance(text, Mapping) else None
    if isinstance(form, Mapping):
        is_schema = form.get("type") == "json_schema"
        given["response_format"] = (
            {"type": "json_schema", "json_schema": {"schema": form.get("schema")}}
            if is_schema
            else form
        )
    return given, said


def unread(body: Mapping[str, Any]) -> list[str]:
    """A line for each thing that a body of `chat_body` asks for and doesn't get."""
    included, items = body.get("include") or [], body.get("input")
    lines = [
        f"include: {name!r:.60} isn't given here" for name in included if name not in _INCLUDED
    ]
    if isinstance(items, list) and any(
        item.get("type") == "reasoning" and item.get("encrypted_content") and not _reasoning(item)
        for item in items
    ):
        lines.append("input: reasoning that is encrypted isn't read; send its content")
    return lines


class ResponsesWire(Wire):
    """Numbered events around the reasoning, the message and the tool calls of a response."""

    unsaid = ("amulet_trace", "verbose")

    def __init__(
        self, body: Mapping[str, Any], model: str, said: Messages, kept: Conversations
    ) -> None:
        self._said, self._kept = said, kept
        self._answer = Deltas()
        self._n_events = 0
        self._has_reasoning = self._has_message = False
        self._call_items: list[str] = []
        self._item_id = f"msg_{uuid.uuid4().hex}"
        self._reasoning_id = f"rs_{uuid.uuid4().hex}"
        self._is_stored = body.get("store") is not False
        self._head: dict[str, Any] = {
            "id": f"resp_{uuid.uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "completed_at": None,
            "model": model,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"),
            "metadata": body.get("metadata") or {},
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "previous_response_id": body.get("previous_response_id"),
            "reasoning": {"effort": None, "summary": None, **_object(body.get("reasoning"))},
            "store": self._is_stored,
            "temperature": body.get("temperature"),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p"),
            "truncation": "disabled",
        }

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """One response."""
        for piece in as_pieces(answer):
            self._answer.take(piece)
        return self._complete()

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """Events for what a piece adds."""
        if not self._n_events:
            yield self._event("created", response=self._begun)
            yield self._event("in_progress", response=self._begun)
        text, reasoning = self._answer.take(piece)
        said = {name: piece[name] for name in TELEMETRY if name in piece}
        if "prompt_progress" in said:
            yield self._event("in_progress", response=self._begun, **said)
        if reasoning:
            yield from self._begin_reasoning()
            place = self._reasoning_place
            yield self._event("reasoning_text.delta", **place, delta=reasoning, **said)
        if text:
            yield from self._begin_message()
            listed = self._answer.new_logprobs
            place = self._place
            yield self._event("output_text.delta", **place, delta=text, logprobs=listed, **said)
        for call, arguments in self._answer.new_calls:
            if call.index == len(self._call_items):
                yield from self._end_item()
                item = {**self._call_item(call), "status": "in_progress", "arguments": ""}
                yield self._event("output_item.added", output_index=self._n_items - 1, item=item)
            if arguments:
                place = self._call_place(call)
                yield self._event("function_call_arguments.delta", **place, delta=arguments)

    def end(self) -> Iterable[bytes]:
        """The ends of the last item and of the response."""
        if not self._answer.calls:
            yield from self._begin_message()
        yield from self._end_item()
        complete = self._complete()
        timings = self._answer.last["timings"]
        yield self._event(complete["status"], response=complete, timings=timings)

    @property
    def _begun(self) -> dict[str, Any]:
        return {**self._head, "status": "in_progress", "output": [], "usage": None}

    @property
    def _n_items(self) -> int:
        return self._has_reasoning + self._has_message + len(self._call_items)

    def _begin_reasoning(self) -> Iterable[bytes]:
        if self._has_reasoning:
            return
        self._has_reasoning = True
        item = {**self._reasoning_item(""), "status": "in_progress", "content": []}
        yield self._event("output_item.added", output_index=0, item=item)

    def _begin_message(self) -> Iterable[bytes]:
        if self._has_message:
            return
        yield from self._end_item()
        self._has_message = True
        item = {**self._item(""), "status": "in_progress", "content": []}
        place = self._place
        yield self._event("output_item.added", output_index=place["output_index"], item=item)
        yield self._event("content_part.added", **place, part=_part("", []))

    def _end_item(self) -> Iterable[bytes]:
        """The end of the last item that has begun."""
        if self._call_items:
            call = self._answer.calls[len(self._call_items) - 1]
            place, item = self._call_place(call), self._call_item(call)
            yield self._event(
                "function_call_arguments.done", **place, name=call.name, arguments=call.arguments
            )
            yield self._event("output_item.done", output_index=place["output_index"], item=item)
        elif self._has_message:
            text, listed, place = self._answer.text, self._answer.logprobs, self._place
            yield self._event("output_text.done", **place, text=text, logprobs=listed)
            yield self._event("content_part.done", **place, part=_part(text, listed))
            item, index = self._item(text), place["output_index"]
            yield self._event("output_item.done", output_index=index, item=item)
        elif self._has_reasoning:
            reasoning = self._answer.reasoning
            yield self._event("reasoning_text.done", **self._reasoning_place, text=reasoning)
            item = self._reasoning_item(reasoning)
            yield self._event("output_item.done", output_index=0, item=item)

    def _call_place(self, call: Call) -> dict[str, Any]:
        index = self._has_reasoning + self._has_message + call.index
        return {"item_id": self._call_items[call.index], "output_index": index}

    def _call_item(self, call: Call) -> dict[str, Any]:
        if call.index == len(self._call_items):
            self._call_items.append(f"fc_{uuid.uuid4().hex}")
        return {
            "id": self._call_items[call.index],
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }

    def error(self, body: Mapping[str, Any]) -> bytes:
        """The response that has failed."""
        error = {"code": "server_error", "message": body["error"]["message"]}
        failed = {**self._head, "status": "failed", "output": [], "error": error}
        return self._event("failed", response=failed)

    @property
    def _place(self) -> dict[str, Any]:
        index = int(self._has_reasoning)
        return {"item_id": self._item_id, "output_index": index, "content_index": 0}

    @property
    def _reasoning_place(self) -> dict[str, Any]:
        return {"item_id": self._reasoning_id, "output_index": 0, "content_index": 0}

    def _complete(self) -> dict[str, Any]:
        text, is_cut = self._answer.text, self._answer.finish_reason == "length"
        reasoning = self._answer.reasoning
        if self._is_stored:
            said = {"role": "assistant", "content": text, "tool_calls": self._calls_said()}
            self._kept.keep(
                self._head["id"], [*self._said, {**said, "reasoning_content": reasoning}]
            )
        n_prompt, n_cached, n_answer = self._answer.counts
        calls = self._answer.calls
        thought = [self._reasoning_item(reasoning)] if reasoning else []
        message = [self._item(text)] if text or not calls else []
        return {
            **self._head,
            "completed_at": None if is_cut else int(time.time()),
            "status": "incomplete" if is_cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": [*thought, *message, *map(self._call_item, calls)],
            "usage": {
                "input_tokens": n_prompt,
                "input_tokens_details": {"cached_tokens": n_cached},
                "output_tokens": n_answer,
                "output_tokens_details": {"reasoning_tokens": self._answer.n_reasoning},
                "total_tokens": n_prompt + n_answer,
            },
            "amulet": self._answer.last["amulet"],
        }

    def _calls_said(self) -> list[dict[str, Any]]:
        return [
            {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in self._answer.calls
        ]

    def _item(self, text: str) -> dict[str, Any]:
        return {
            "id": self._item_id,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [_part(text, self._answer.logprobs)],
        }

    def _reasoning_item(self, text: str) -> dict[str, Any]:
        return {
            "id": self._reasoning_id,
            "type": "reasoning",
            "status": "completed",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": text}],
            "encrypted_content": None,
        }

    def _event(self, kind: str, **fields: Any) -> bytes:
        name = f"response.{kind}"
        numbered = {"type": name, "sequence_number": self._n_events, **fields}
        self._n_events += 1
        return event(numbered, name)


def _part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tool(tool: Any) -> Any:
    """A tool as chat completions have it; one that is no function stays as it is."""
    if not isinstance(tool, Mapping) or not isinstance(tool.get("type"), str):
        raise InvalidParameterError("tools: must be objects with a type")
    if tool["type"] != "function":
        return dict(tool)
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _messages(given: Any) -> Messages:
    """Input items as messages."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
        raise InvalidParameterError("input: must be a text or a list of items")
    messages: Messages = []
    thought = ""
    for item in given:
        kind = item.get("type", "message")
        if kind == "reasoning":
            thought = "\n".join(filter(None, (thought, _reasoning(item))))
            continue
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if not (messages and messages[-1]["role"] == "assistant") or thought:
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            output = {"tool_call_id": item.get("call_id"), "content": item.get("output")}
            messages.append({"role": "tool", **output})
        else:
            raise InvalidParameterError(f"input: items of type {str(kind)!r:.40} aren't taken")
        if thought and messages[-1]["role"] != "assistant":
            messages.insert(-1, {"role": "assistant", "content": None})
            messages[-2]["reasoning_content"] = thought
        elif thought:
            messages[-1]["reasoning_content"] = thought
        thought = ""
    if thought:
        messages.append({"role": "assistant", "content": None, "reasoning_content": thought})
    return messages


def _reasoning(item: Mapping[str, Any]) -> str:
    """The text of an item of reasoning, or else its summary's; empty if it has neither.

    Raises:
        InvalidParameterError: these are something else.
    """
    parts = item.get("content") or item.get("summary") or []
    if not isinstance(parts, list) or not all(
        isinstance(part, Mapping) and isinstance(part.get("text"), str) for part in parts
    ):
        raise InvalidParameterError("input: the content of reasoning must be a list of texts")
    return "\n".join(part["text"] for part in parts)
