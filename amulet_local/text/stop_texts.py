"""Ends a text where a stop text begins, the first of a few to be complete, wherever it is cut.

Knows nothing about tokens. What may be the beginning of a stop text is held back until it is
known, so that nothing of it is ever handed out.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.text.reasoning import held_back


class StopFinder:
    """Follows one text.

    Attributes:
        found: the stop text that ended it; None while it goes on.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Start.

        Args:
            stops: none of them empty.
        """
        self.found: str | None = None
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> str:
        """Take more text; returns what comes before any stop text for sure."""
        if not self._stops:
            return text
        if self.found is not None:
            return ""
        self._held += text
        places = [(self._held.find(stop), stop) for stop in self._stops]
        complete = [(start + len(stop), start, stop) for start, stop in places if start >= 0]
        if complete:
            _, start, self.found = min(complete)
            released, self._held = self._held[:start], ""
            return released
        n_held = held_back(self._held, self._stops)
        released = self._held[: len(self._held) - n_held]
        self._held = self._held[len(released) :]
        return released

    def finish(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held
