"""Says whether the next character of an answer is said to the user, or belongs to a tool call.

Knows nothing about how calls are written. What is said may be JSON, of which only string values
are text.
"""

from __future__ import annotations

from collections.abc import Callable

from amulet_local.text.json_position import JsonPosition


class SaidPosition(JsonPosition):
    """Follows one answer; inside of a call nothing is text."""

    def __init__(self, said: JsonPosition | None, in_call: Callable[[], bool]) -> None:
        """Start.

        Args:
            said: follows what is said where that is JSON.
            in_call: whether the next character belongs to a call.
        """
        super().__init__()
        self._said, self._in_call = said, in_call

    @property
    def in_string_value(self) -> bool:
        """Whether the next character is text for the user."""
        return not self._in_call() and (self._said is None or self._said.in_string_value)

    def push(self, text: str) -> None:
        """Take the next piece of the text."""
        if self._said is not None:
            self._said.push(text)
