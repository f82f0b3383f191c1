"""llama-server's /infill: a gap in a text, after further files of its project.

Knows nothing about HTTP. What the context doesn't hold is cut, at the ends that are farthest from
the gap, and the answer's warnings say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.server.completion_prompt import Rows
from amulet_local.server.fields import ServedFields, TextFields
from amulet_local.server.llama_server import LlamaServerPrompt

_SHARE_AFTER = 4
"""Of a text that doesn't fit, what comes after the gap gets one part in so many."""
_MARKS = 4
"""Tokens around a gap, and the one that begins a text."""


def infill_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a text completion for that of /infill; texts in it are no control tokens.

    Raises:
        InvalidParameterError: something isn't what llama-server takes.
    """
    given = {"parse_special": False, **{k: v for k, v in body.items() if v is not None}}
    parts = [given.pop(name, "") for name in ("input_prefix", "prompt", "input_suffix")]
    if not all(isinstance(part, str) for part in parts):
        raise InvalidParameterError("input_prefix, input_suffix, prompt: must be texts")
    prefix, prompt, suffix = parts
    return {**given, "prompt": prefix + prompt, "suffix": suffix or "\n"}


class InfillPrompt(LlamaServerPrompt):
    """The prompt of /infill.

    Attributes:
        files: names and texts that stand before it.
    """

    known = frozenset({"input_extra", *LlamaServerPrompt.known})

    def __init__(self, body: Mapping[str, Any]) -> None:
        super().__init__(body)
        self.files = _extra_files(body)

    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """Those of /completion."""
        return super().fields({k: v for k, v in body.items() if k != "input_extra"})

    def _rows(
        self, engine: Engine, fields: TextFields, begins: Sequence[str], n_answer: int, which: int
    ) -> Rows:
        vocabulary, text = engine.model.vocabulary, self._prompts[which]
        assert isinstance(text, str)
        before, after = (
            vocabulary.tokenize(part, add_special=False, parse_special=fields.parse_special)
            for part in (text, fields.suffix or "")
        )
        starts = [vocabulary.tokenize(b, add_special=False, parse_special=False) for b in begins]
        wanted = n_answer if n_answer < engine.n_ctx else engine.n_ctx // 4
        room = engine.n_ctx - wanted - _MARKS - max(map(len, starts))
        notes, n_whole = [], len(before) + len(after)
        if 0 < room < n_whole:
            n_after = min(len(after), max(room // _SHARE_AFTER, room - len(before)))
            before, after = before[n_after - room :], after[:n_after]
            notes.append(
                f"input_prefix, input_suffix: the context holds {room} of their {n_whole} tokens, "
                f"those around the gap"
            )
        extra = vocabulary.files_before(self.files)
        kept = extra[max(0, len(extra) - max(0, room - len(before) - len(after))) :]
        if len(kept) < len(extra):
            notes.append(
                f"input_extra: the context holds {len(kept)} of {len(extra)} tokens, the last ones"
            )
        first = [vocabulary.bos_id] if vocabulary.add_bos and vocabulary.bos_id is not None else []
        rows = [
            [*first, *kept, *vocabulary.around_gap([*start, *before], after)] for start in starts
        ]
        return Rows(rows, notes)


def _extra_files(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of /infill's input_extra.

    Raises:
        InvalidParameterError: they are something else.
    """
    extra = body.get("input_extra") or []
    if not isinstance(extra, list):
        raise InvalidParameterError("input_extra: must be a list of objects with a text")
    files = []
    for item in extra:
        text = item.get("text") if isinstance(item, Mapping) else None
        name = item.get("filename", "tmp") if isinstance(item, Mapping) else None
        if not isinstance(text, str) or not isinstance(name, str):
            raise InvalidParameterError(
                "input_extra: must be a list of objects with a text, and with a filename, a text, "
                "or without"
            )
        files.append((name, text))
    return files
