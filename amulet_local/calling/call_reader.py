"""Tells tool calls from what is said, as the text comes.

Knows nothing about tokens or grammars. What may be the beginning of a call is held back until it is
known. After the first call nothing is said any more.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping

from amulet_local.calling.forms import CallForm
from amulet_local.calling.tagged_arguments import TaggedArguments
from amulet_local.common.results import ToolCall, ToolCallPiece
from amulet_local.text.reasoning import held_back

_ID_CHARACTERS = string.ascii_letters + string.digits


def new_id() -> str:
    """Nine letters and digits: some templates take no other ids."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(9))


class CallReader:
    """Follows the text of one answer, without its reasoning."""

    def __init__(
        self,
        form: CallForm,
        fences: Mapping[str, str] | None = None,
        texts: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """Start.

        Args:
            fences: further texts that begin a call, up to its arguments, and its name.
            texts: of each function the arguments that are texts.
        """
        self._texts = texts or {}
        self._form = form
        self._fences = dict(fences or {})
        self._beginnings = (*form.triggers, *self._fences)
        self._read = self._read_said
        self._held = ""
        self._has_said = False
        self._json: _JsonObject | TaggedArguments = _JsonObject()
        self._pieces: list[ToolCallPiece] = []
        self._ids: list[str] = []
        self._names: list[str] = []
        self._arguments: list[str] = []

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Those so far, the last of which may not be whole."""
        return tuple(
            ToolCall(id=key, name=name, arguments=arguments)
            for key, name, arguments in zip(self._ids, self._names, self._arguments, strict=True)
        )

    @property
    def in_call(self) -> bool:
        """Whether what comes next belongs to a call, or may."""
        return self._read != self._read_said or bool(self._held.strip())

    def push(self, text: str) -> tuple[str, tuple[ToolCallPiece, ...]]:
        """Take more text; returns what is decided by it: what is said, and of calls."""
        self._held += text
        said = ""
        reading = None
        while reading != self._read:
            reading = self._read
            said += self._read()
        self._has_said = self._has_said or bool(said)
        pieces, self._pieces = tuple(self._pieces), []
        return said, pieces

    def finish(self) -> str:
        """What was held back of what is said, at the end of the answer."""
        held, self._held = self._held, ""
        return held if self._read == self._read_said else ""

    def _read_said(self) -> str:
        """What is said up to a trigger; blanks are held, for there may be one after them."""
        form = self._form
        if form.only_at_start and (self._has_said or not self._may_begin()):
            said, self._held = self._held, ""
            return said
        places = [
            (start, -len(trigger), trigger)
            for trigger in self._beginnings
            if (start := self._held.find(trigger)) >= 0
        ]
        if places:
            start, _, trigger = min(places)
            said = self._held[:start].rstrip()
            self._held = self._held[start + len(trigger) :]
            if trigger in self._fences:
                self._begin(self._fences[trigger], new_id())
            else:
                self._read = self._read_first_head
            return said
        kept = held_back(self._held, self._beginnings)
        said = self._held[: len(self._held) - kept].rstrip()
        self._held = self._held[len(said) :]
        return said

    def _may_begin(self) -> bool:
        """Whether the text so far is the beginning of a call."""
        start = self._held.lstrip()
        return any(
            trigger.startswith(start) or start.startswith(trigger)
            for trigger in self._form.triggers
        )

    def _read_first_head(self) -> str:
        return self._read_head(self._form.first_head)

    def _read_next_head(self) -> str:
        return self._read_head(self._form.next_head)

    def _read_head(self, pattern: re.Pattern[str]) -> str:
        """Nothing; the name of the function once it is there."""
        found = pattern.match(self._held)
        if found is None:
            return ""
        self._held = self._held[found.end() :]
        self._begin(found["name"], found.groupdict().get("id") or new_id())
        return ""

    def _begin(self, name: str, key: str) -> None:
        """A call, whose arguments come next."""
        self._pieces.append(ToolCallPiece(index=len(self._ids), id=key, name=name))
        self._ids.append(key)
        self._names.append(name)
        self._arguments.append("")
        if self._form.tags is not None:
            self._json = TaggedArguments(self._texts.get(name, frozenset()), self._form.tags)
        else:
            self._json = _JsonObject()
        self._read = self._read_arguments

    def _read_arguments(self) -> str:
        """Nothing; more of the arguments."""
        if not self._arguments[-1]:
            self._held = self._held.lstrip()
        text, n_taken = self._json.take(self._held)
        self._held = self._held[n_taken:]
        if text:
            self._arguments[-1] += text
            self._pieces.append(ToolCallPiece(index=len(self._ids) - 1, arguments=text))
        if self._json.is_whole:
            self._read = self._read_next_head
        return ""


class _JsonObject:
    """Finds the end of a JSON object.

    Attributes:
        is_whole: whether it was there.
    """

    def __init__(self) -> None:
        self.is_whole = False
        self._depth = 0
        self._in_string = self._is_escaped = False

    def take(self, text: str) -> tuple[str, int]:
        """What of a text belongs to it, and how many characters that is."""
        n_taken = self._end(text)
        return text[:n_taken], n_taken

    def _end(self, text: str) -> int:
        for i, character in enumerate(text):
            if self._is_escaped:
                self._is_escaped = False
            elif self._in_string:
                self._is_escaped = character == "\\"
                self._in_string = character != '"'
            elif character == '"':
                self._in_string = True
            elif character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    self.is_whole = True
                    return i + 1
        return len(text)
