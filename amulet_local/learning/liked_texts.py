"""Texts that a user likes or dislikes: answers with their questions, and the file they come in.

Knows nothing about models or preferences. The file is JSON Lines, one object a line, blank lines
left out:

    {"question": "How do I sleep better?", "answer": "Go to bed at ten."}
    {"messages": [{"role": "user", "content": "Hi"}], "response": "Good day.", "liked": false}

- question or messages, and answer or response, are the same thing under two names. token_ids may
  stand in the place of an answer: exact ids, as `generate --json` prints them.
- liked is true unless it is false: then the answer is one to stay away from.
- finished says whether the answer ends where the text ends (true) or was cut off there (false).
  Token ids say it themselves: they end in the model's end token, or were cut off. Nothing is
  learned from where answers end unless it is known of all of them.

Whatever else is in the file is an error that says the line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from amulet_local.common import private_files
from amulet_local.common.errors import InvalidTextError, LikedTextError
from amulet_local.common.named_arguments import named_arguments
from amulet_local.preferences.names import did_you_mean

MAX_FILE_BYTES = 64 * 2**20
MAX_TEXTS = 10_000

_QUESTION = ("question", "messages")
_ANSWER = ("answer", "response", "token_ids")
_KEYS = (*_QUESTION, *_ANSWER, "liked", "finished")


@named_arguments(
    "LikedText(messages='How do I sleep better?', answer='Go to bed at ten.')",
    {"question": "messages", "prompt": "messages", "response": "answer", "text": "answer"},
)
@dataclass(frozen=True, kw_only=True)
class LikedText:
    """An answer and what it answers.

    Attributes:
        messages: a question, or OpenAI-style messages.
        answer: its text, or its token ids.
        liked: False for an answer to stay away from.
        finished: whether the answer ends where the text does; None if that isn't known, or if the
            token ids say it.
        line: where it is in its file, 0 if it is in none.
    """

    messages: str | Sequence[Mapping[str, Any]]
    answer: str | Sequence[int]
    liked: bool = True
    finished: bool | None = None
    line: int = 0


def read_texts(path: str | os.PathLike[str]) -> list[LikedText]:
    """The texts of a file.

    Raises:
        FileAccessError: it can't be read, or has more than MAX_FILE_BYTES.
        LikedTextError: there is no text in it, or something that can't be used.
    """
    data = private_files.read(path, max_bytes=MAX_FILE_BYTES).removeprefix(b"\xef\xbb\xbf")
    texts: list[LikedText] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            if len(texts) == MAX_TEXTS:
                _refuse(number, f"more than {MAX_TEXTS:,} texts; use fewer")
            texts.append(_Line(number).text(line))
    if not texts:
        raise LikedTextError("there is no text in the file; it has to have one JSON object a line")
    return texts


class _Line:
    """Checks what one line says."""

    def __init__(self, number: int) -> None:
        self._number = number

    def text(self, line: bytes) -> LikedText:
        entry = self._parsed(line)
        for key in entry:
            if key not in _KEYS:
                hint = did_you_mean(key, _KEYS)
                self._fail(f"unknown key {key!r:.60}; {hint}there are {', '.join(_KEYS)}")
        question = self._only_one(entry, _QUESTION)
        answer = self._only_one(entry, _ANSWER)
        finished = self._flag(entry, "finished", None)
        return LikedText(
            messages=self._question(question, entry[question]),
            answer=self._answer(answer, entry[answer]),
            liked=self._flag(entry, "liked", True) is not False,
            finished=finished,
            line=self._number,
        )

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(line.decode(), object_pairs_hook=self._object)
        except UnicodeDecodeError as error:
            self._fail(f"not UTF-8 text (byte {error.start}); convert the file")
        except json.JSONDecodeError as error:
            self._fail(f"not JSON: {error.msg} at column {error.colno}; one object a line")
        except (RecursionError, ValueError):  # 10,000 brackets; a number of 5,000 digits
            self._fail("not JSON that can be read: nested too deep, or a number too large")
        if not isinstance(entry, dict):
            self._fail('has to be an object such as {"question": "...", "answer": "..."}')
        return entry

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                self._fail(f"the key {name!r:.60} is there twice")
        return dict(pairs)

    def _only_one(self, entry: dict[str, Any], names: Sequence[str]) -> str:
        given = [name for name in names if name in entry]
        if len(given) != 1:
            wanted = " or ".join(repr(name) for name in names)
            self._fail(f"needs {wanted}, {'one of them only' if given else 'which is missing'}")
        return given[0]

    def _question(self, name: str, value: Any) -> str | list[dict[str, Any]]:
        if name == "question":
            return self._string(name, value)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self._fail('"messages" has to be a list of objects with "role" and "content"')
        return value

    def _answer(self, name: str, value: Any) -> str | list[int]:
        if name != "token_ids":
            return self._string(name, value)
        if not isinstance(value, list) or not value or any(type(item) is not int for item in value):
            self._fail('"token_ids" has to be a list of whole numbers')
        return value

    def _string(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self._fail(f'"{name}" has to be a text in quotes that isn\'t blank')
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidTextError(
                f'line {self._number}: "{name}" has half of a surrogate pair (\\ud800 to \\udfff)'
            ) from None
        return value

    def _flag(self, entry: dict[str, Any], name: str, default: bool | None) -> bool | None:
        value = entry.get(name, default)
        if name in entry and not isinstance(value, bool):
            self._fail(f'"{name}" has to be true or false')
        return value

    def _fail(self, reason: str) -> NoReturn:
        _refuse(self._number, reason)


def _refuse(number: int, reason: str) -> NoReturn:
    raise LikedTextError(f"line {number}: {reason}", line=number)
