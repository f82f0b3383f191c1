"""Ollama's protocol: its requests as chat completions, and answers in its shape.

Knows nothing about HTTP. A preference comes as with the other endpoints: a field beside Ollama's
own, a part of the model's name, or the server's default.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.server.wire import Call, Deltas, Wire, as_pieces

VERSION = "0.6.4"
"""Of Ollama's, whose shapes these are: clients ask for it before they use one."""

_OF_LOADING = frozenset(
    (
        *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "num_keep", "use_mmap"),
        *("use_mlock", "low_vram", "f16_kv", "vocab_only", "numa", "penalize_newline"),
    )
)
"""Options that say how Ollama loads a model; here that is done already."""


def chat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a chat completion for that of /api/chat.

    Raises:
        InvalidParameterError: something isn't what Ollama takes.
    """
    given = {key: value for key, value in body.items() if key not in ("options", "format", "think")}
    options = body.get("options") or {}
    if not isinstance(options, Mapping):
        raise InvalidParameterError("options: must be an object")
    for name, value in options.items():
        if name not in _OF_LOADING:
            given.setdefault("n_predict" if name == "num_predict" else name, value)
    if isinstance(given.get("n_predict"), int) and given["n_predict"] < 0:
        given["n_predict"] = -1
    wanted = body.get("format")
    if wanted == "json":
        given["response_format"] = {"type": "json_object"}
    elif isinstance(wanted, Mapping):
        given["json_schema"] = wanted
    elif wanted not in (None, ""):
        raise InvalidParameterError('format: must be "json" or a JSON schema')
    if isinstance(body.get("think"), bool):
        given["enable_thinking"] = body["think"]
    elif isinstance(body.get("think"), str):
        given["reasoning_effort"] = body["think"]
    given["stream"] = body.get("stream") is not False
    messages = given.get("messages") or []
    if not isinstance(messages, list):
        raise InvalidParameterError("messages: must be a list of objects with role and content")
    for message in messages:
        if isinstance(message, Mapping) and message.get("images"):
            raise InvalidParameterError("messages: images aren't supported")
    return given


def unread(body: Mapping[str, Any], *, n_ctx: int) -> list[str]:
    """A line for each thing that a body of these asks for and doesn't get.

    Args:
        n_ctx: tokens that the context holds.
    """
    lines = []
    wanted = (body.get("options") or {}).get("num_ctx", 0)
    if isinstance(wanted, int) and wanted > n_ctx:
        lines.append(f"num_ctx: the context holds {n_ctx} tokens; the server's start sets that")
    if body.get("suffix") and body.get("system"):
        lines.append("system: a text with a suffix has no system text")
    if (body.get("raw") or body.get("suffix")) and body.get("logprobs"):
        lines.append("logprobs: they aren't given for raw texts; /v1/completions has them")
    return lines


def generate_body(body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The body of a completion for that of /api/generate, and whether it is one of messages.

    Raises:
        InvalidParameterError: something isn't what Ollama takes.
    """
    if body.get("images"):
        raise InvalidParameterError("images: they aren't supported")
    given = chat_body(body)
    for name in ("images", "template", "context", "raw", "system"):
        given.pop(name, None)
    if body.get("template") or body.get("context"):
        raise InvalidParameterError("template, context: they aren't supported; use /api/chat")
    if body.get("raw") and body.get("system"):
        raise InvalidParameterError("system: a raw prompt has no system text")
    if body.get("raw") or body.get("suffix"):
        given = {**given, "prompt": given.get("prompt") or ""}
        return {**given, "logprobs": None, "top_logprobs": None}, False
    system = body.get("system")
    messages = [{"role": "system", "content": system}] if system else []
    del given["prompt"]
    given.pop("suffix", None)
    given["messages"] = [*messages, {"role": "user", "content": body.get("prompt")}]
    return given, True


class OllamaWire(Wire):
    """Lines of JSON, the last of which has the figures."""

    media_type = "application/x-ndjson"
    comment = b"\n"
    unsaid = ("amulet_trace", "verbose", "return_progress", "timings_per_token")

    def __init__(self, model: str, *, is_chat: bool) -> None:
        self._model = model
        self._is_chat = is_chat
        self._said = Deltas()
        self._begun_ns = time.perf_counter_ns()

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """One object."""
        for piece in as_pieces(answer):
            text, reasoning = self._said.take(piece)
        line = self._line(text, reasoning, self._said.calls, self._said.logprobs)
        return {**line, **self._figures()}

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """A line for each text."""
        text, reasoning = self._said.take(piece)
        if self._said.last:
            calls = self._said.calls
            called = [_line({**self._line("", "", calls), "done": False})] if calls else []
            return [*called, _line({**self._line("", ""), **self._figures()})]
        if not (text or reasoning or self._said.new_logprobs):
            return []
        line = self._line(text, reasoning, logprobs=self._said.new_logprobs)
        return [_line({**line, "done": False})]

    def end(self) -> Iterable[bytes]:
        """Nothing."""
        return []

    def error(self, body: Mapping[str, Any]) -> bytes:
        """Ollama's errors are texts."""
        return _line({"error": body["error"]["message"]})

    def loaded(self) -> dict[str, Any]:
        """What is said to a request that only wants the model to be loaded."""
        return {**self._line("", ""), "done": True, "done_reason": "load"}

    def _line(
        self,
        text: str,
        reasoning: str,
        calls: Sequence[Call] = (),
        logprobs: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        thinking = {"thinking": reasoning} if reasoning else {}
        called = [{"function": {"name": call.name, "arguments": call.value}} for call in calls]
        more = {"tool_calls": called} if called else {}
        said = (
            {"message": {"role": "assistant", "content": text, **thinking, **more}}
            if self._is_chat
            else {"response": text, **thinking}
        )
        listed = {"logprobs": list(logprobs)} if logprobs else {}
        return {"model": self._model, "created_at": now(), **said, **listed}

    def _figures(self) -> dict[str, Any]:
        n_prompt, _, n_answer = self._said.counts
        timings = self._said.last["timings"]
        prompt, answer = (
            max(1, round(1e6 * timings[f"{name}_ms"])) for name in ("prompt", "predicted")
        )  # clients divide by them
        return {
            "done": True,
            "done_reason": "length" if self._said.finish_reason == "length" else "stop",
            "total_duration": time.perf_counter_ns() - self._begun_ns,
            "load_duration": 0,
            "prompt_eval_count": n_prompt,
            "prompt_eval_duration": prompt,
            "eval_count": n_answer,
            "eval_duration": answer,
            "amulet": self._said.last["amulet"],
        }


def details(metadata: Mapping[str, Any], description: str) -> dict[str, Any]:
    """What Ollama tells of a model.

    Args:
        metadata: of its file.
        description: architecture, size and quantisation, as llama.cpp says it.
    """
    family = str(metadata.get("general.architecture", ""))
    size, _, quantization = description.removeprefix(family).strip().partition(" ")
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": str(metadata.get("general.size_label", size)),
        "quantization_level": quantization,
    }


def now() -> str:
    """The time as Ollama writes it."""
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"
