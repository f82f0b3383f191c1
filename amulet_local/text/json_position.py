"""Says where in a JSON text the next character is: inside a string value, or anywhere else.

Knows nothing about tokens or schemas; it is fed text. It doesn't check the text: of something that
isn't JSON it says something, and goes on.
"""

from __future__ import annotations


class JsonPosition:
    """Follows one JSON text from its beginning."""

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False
        self._in_key = False
        self._objects: list[bool] = []  # of each open bracket, whether it is {
        self._expects_key = False

    @property
    def in_string_value(self) -> bool:
        """Whether the next character belongs to a string that is a value, or closes it."""
        return self._in_string and not self._in_key

    def push(self, text: str) -> None:
        """Take the next piece of the text."""
        for char in text:
            if self._in_string:
                self._take_in_string(char)
            else:
                self._take(char)

    def _take_in_string(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self._in_string = False

    def _take(self, char: str) -> None:
        if char == '"':
            self._in_string, self._in_key = True, self._expects_key
        elif char in "{[":
            self._objects.append(char == "{")
            self._expects_key = char == "{"
        elif char in "}]":
            if self._objects:
                self._objects.pop()
            self._expects_key = False
        elif char == ",":
            self._expects_key = bool(self._objects) and self._objects[-1]
        elif char == ":":
            self._expects_key = False
