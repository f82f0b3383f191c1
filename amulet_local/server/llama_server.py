"""llama-server's own completions: their requests as text completions, and answers in their shape.

Knows nothing about HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.server.wire import Deltas, Wire, event


def infill_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a text completion for that of /infill.

    Further files come before the beginning, each under its name.

    Raises:
        InvalidParameterError: something isn't what llama-server takes.
    """
    given = dict(body)
    parts = [given.pop(name, "") for name in ("input_prefix", "prompt", "input_suffix")]
    extra = given.pop("input_extra", None) or []
    if not all(isinstance(part, str) for part in parts) or not isinstance(extra, list):
        raise InvalidParameterError("input_prefix, input_suffix, prompt: must be texts")
    files = []
    for item in extra:
        text = item.get("text") if isinstance(item, Mapping) else None
        if not isinstance(text, str):
            raise InvalidParameterError("input_extra: must be a list of objects with a text")
        files.append(f"{item.get('filename', '')}\n{text}\n\n")
    prefix, prompt, suffix = parts
    return {**given, "prompt": "".join(files) + prefix + prompt, "suffix": suffix or "\n"}


class LlamaServerWire(Wire):
    """Pieces of content; the last one has the figures, and nothing follows it."""

    def __init__(self, prompt: Any, settings: Mapping[str, Any]) -> None:
        self._prompt, self._settings = prompt, settings
        self._said: dict[int, Deltas] = {}

    def whole(self, answer: dict[str, Any]) -> Any:
        """One object, or a list of them where there are several prompts."""
        found = []
        for choice in answer["choices"]:
            deltas = Deltas()
            deltas.take({**answer, "choices": [choice]})
            found.append(self._complete(deltas, choice["index"], deltas.text))
        return found if isinstance(self._prompt, list) and len(found) > 1 else found[0]

    def piece(self, piece: dict[str, Any]) -> Iterable[bytes]:
        """An event for a text, and one at the end."""
        if not piece["choices"]:
            return []
        index = piece["choices"][0]["index"]
        deltas = self._said.setdefault(index, Deltas())
        text, _ = deltas.take(piece)
        if deltas.last:
            return [event(self._complete(deltas, index, text))]
        return [event({"index": index, "content": text, "tokens": [], "stop": False})]

    def end(self) -> Iterable[bytes]:
        """Nothing."""
        return []

    def _complete(self, deltas: Deltas, index: int, text: str) -> dict[str, Any]:
        n_prompt, n_cached, n_answer = deltas.counts
        last = deltas.last
        return {
            "index": index,
            "content": text,
            "tokens": [],
            "id_slot": -1,
            "stop": True,
            "model": last["model"],
            "tokens_predicted": n_answer,
            "tokens_evaluated": n_prompt,
            "tokens_cached": n_cached,
            "generation_settings": self._settings,
            "prompt": self._prompt,
            "has_new_line": "\n" in deltas.text,
            "truncated": False,
            "stop_type": "limit" if deltas.finish_reason == "length" else last["stop_type"],
            "stopping_word": "",
            "timings": last["timings"],
            "amulet": last["amulet"],
        }
