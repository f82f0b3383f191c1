"""Anthropic's messages: their requests as chat completions, and answers in their shape.

Knows nothing about HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.server.wire import Call, Deltas, Wire, as_pieces, event

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a chat completion for that of /v1/messages.

    Raises:
        InvalidParameterError: something isn't what Anthropic's API takes.
    """
    given = dict(body)
    system, stop = given.pop("system", None), given.pop("stop_sequences", None)
    messages = given.get("messages")
    if not isinstance(messages, list) or not all(isinstance(item, Mapping) for item in messages):
        raise InvalidParameterError("messages: must be a list of objects with role and content")
    converted = [part for message in messages for part in _converted(message)]
    if system:
        converted.insert(0, {"role": "system", "content": _texts(system)})
    given["messages"] = converted
    if stop is not None:
        given["stop"] = stop
    choice = given.pop("tool_choice", None)
    if choice is not None:
        given |= _choice(choice)
    if isinstance(given.get("tools"), list):
        given["tools"] = [_tool(tool) for tool in given["tools"]]
    given |= _output(given.pop("output_config", None), given.pop("output_format", None))
    return given


def unread(body: Mapping[str, Any]) -> list[str]:
    """A line for each thing that a body of `chat_body` asks for and doesn't get."""
    lines = []
    blocks = [
        block
        for message in body["messages"]
        for block in (message["content"] if isinstance(message.get("content"), list) else ())
    ]
    if any(block.get("type") == "redacted_thinking" for block in blocks):
        lines.append("messages: redacted_thinking isn't read here")
    return lines


def _output(config: Any, form: Any) -> dict[str, Any]:
    """How much is thought and in which form it is answered, in OpenAI's fields."""
    config = config or {}
    if not isinstance(config, Mapping):
        raise InvalidParameterError("output_config: must be an object")
    form = config.get("format") or form
    found = {f"output_config.{k}": v for k, v in config.items() if k not in ("effort", "format")}
    if config.get("effort") is not None:
        found["reasoning_effort"] = config["effort"]
    if form is not None:
        if not isinstance(form, Mapping) or form.get("type") != "json_schema":
            raise InvalidParameterError("output_config.format: must be of type json_schema")
        schema = {"name": "answer", "schema": form.get("schema")}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


def _choice(choice: Any) -> dict[str, Any]:
    """Which tools are to be called, in OpenAI's fields."""
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind == "tool":
        wanted: Any = {"type": "function", "function": {"name": choice.get("name")}}
    elif kind in _CHOICES:
        wanted = _CHOICES[kind]
    else:
        raise InvalidParameterError("tool_choice: its type must be auto, any, tool or none")
    alone = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    return {"tool_choice": wanted, **alone}


def _tool(tool: Any) -> Any:
    """A tool as OpenAI has it; one of Anthropic's own kinds stays as it is."""
    if not isinstance(tool, Mapping):
        raise InvalidParameterError("tools: must be objects with name and input_schema")
    if tool.get("type", "custom") not in ("custom", None):
        return dict(tool)
    function = {"name": tool.get("name"), "description": tool.get("description")}
    return {"type": "function", "function": {**function, "parameters": tool.get("input_schema")}}


class AnthropicWire(Wire):
    """Named events around the blocks of a message.

    Attributes:
        n_prompt: tokens of the prompt, which a stream begins with.
    """

    unsaid = (
        *("logprobs", "top_logprobs", "amulet_trace"),
        *("verbose", "return_progress", "timings_per_token"),
    )

    def __init__(self, key: str, model: str) -> None:
        """Nothing is said yet.

        Args:
            key, model: as the message says them.
        """
        self.n_prompt = 0
        self._head = {
            "id": f"msg_{key}",
            "type": "message",
            "role": "assistant",
            "model": model,
        }
        self._said = Deltas()
        self._kinds: list[str] = []
        self._has_begun = False

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """One message."""
        for piece in as_pieces(answer):
            text, reasoning = self._said.take(piece)
        content: list[dict[str, Any]] = []
        if reasoning:
            content.append({"type": "thinking", "thinking": reasoning, "signature": ""})
        if text or not self._said.calls:
            content.append({"type": "text", "text": text})
        for call in self._said.calls:
            content.append({**_tool_use(call), "input": call.value})
        return {
            **self._head,
            "content": content,
            **self._ending(),
            "usage": _usage(*self._said.counts),
            "amulet": answer["amulet"],
        }

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """Events for what a piece adds."""
        text, reasoning = self._said.take(piece)
        if not self._has_begun:
            self._has_begun = True
            message: dict[str, Any] = {**self._head, "content": []}
            message |= {"stop_reason": None, "stop_sequence": None}
            message["usage"] = _usage(self.n_prompt, 0, 0)
            yield _event("message_start", message=message)
        if reasoning:
            yield from self._block("thinking", {"thinking": "", "signature": ""})
            yield self._delta({"type": "thinking_delta", "thinking": reasoning})
        if text or (self._said.last and not (self._said.calls or "text" in self._kinds)):
            yield from self._block("text", {"text": ""})
            yield self._delta({"type": "text_delta", "text": text})
        for call, arguments in self._said.new_calls:
            yield from self._block(call.id, _tool_use(call))
            yield self._delta({"type": "input_json_delta", "partial_json": arguments})

    def end(self) -> Iterable[bytes]:
        """The end of the block and of the message."""
        yield _event("content_block_stop", index=len(self._kinds) - 1)
        yield _event(
            "message_delta",
            delta=self._ending(),
            usage=_usage(*self._said.counts),
            amulet=self._said.last["amulet"],
        )
        yield _event("message_stop")

    def _ending(self) -> dict[str, Any]:
        """Why it ended, in Anthropic's words."""
        word = self._said.last["stopping_word"]
        if word:
            return {"stop_reason": "stop_sequence", "stop_sequence": word}
        return {"stop_reason": _STOP_REASONS[self._said.finish_reason], "stop_sequence": None}

    def error(self, body: Mapping[str, Any]) -> bytes:
        """An event of its own."""
        return event(error_body(body), "error")

    def _block(self, kind: str, empty: dict[str, Any]) -> Iterable[bytes]:
        if self._kinds[-1:] == [kind]:
            return
        if self._kinds:
            yield _event("content_block_stop", index=len(self._kinds) - 1)
        self._kinds.append(kind)
        block = {"type": kind, **empty}
        yield _event("content_block_start", index=len(self._kinds) - 1, content_block=block)

    def _delta(self, delta: dict[str, str]) -> bytes:
        return _event("content_block_delta", index=len(self._kinds) - 1, delta=delta)


def _usage(n_prompt: int, n_cached: int, n_answer: int) -> dict[str, int]:
    return {
        "input_tokens": n_prompt - n_cached,
        "cache_read_input_tokens": n_cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": n_answer,
    }


def error_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Anthropic's error object for OpenAI's."""
    error = body["error"]
    return {"type": "error", "error": {"type": error["type"], "message": error["message"]}}


def _tool_use(call: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)


def _converted(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One message as OpenAI has it: results of tools are messages of their own."""
    content = message.get("content")
    if not isinstance(content, list):
        return [dict(message)]
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" and isinstance(block.get("text"), str):
            texts.append(block["text"])
        elif kind == "tool_use":
            function = {"name": block.get("name"), "arguments": json.dumps(block.get("input"))}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        elif kind == "tool_result":
            result = _texts(block.get("content") or "")
            if block.get("is_error") is True:
                result = f"Error: {result}"
            results.append(
                {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": result}
            )
        elif kind == "thinking" and isinstance(block.get("thinking"), str):
            thoughts.append(block["thinking"])
        elif kind != "redacted_thinking":
            raise InvalidParameterError(f"messages: content of type {str(kind)!r:.40} isn't taken")
    said = {"role": message.get("role"), "content": "\n".join(texts)}
    if thoughts:
        said["reasoning_content"] = "\n".join(thoughts)
    if calls:
        return [{**said, "tool_calls": calls}]
    return [*results, *([said] if texts or not results else [])]


def _texts(content: Any) -> str:
    """A text, or the texts of blocks."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(
        isinstance(item, Mapping) and isinstance(item.get("text"), str) for item in content
    ):
        return "\n".join(item["text"] for item in content)
    raise InvalidParameterError("system, content: must be a text or blocks of text")
