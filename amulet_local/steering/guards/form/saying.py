"""Says a text token by token. Knows nothing about what the text is for."""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position


class Saying(Hold):
    """Says a text once it has begun to; each token is the longest that goes on with it."""

    def __init__(self) -> None:
        """Say nothing yet."""
        self._left = b""

    def required(self, at: Position) -> Sequence[int]:
        """The tokens that go on with the text."""
        return at.saying(self._left) if self._left else ()

    def accept(self, piece: bytes) -> None:
        """Take note of what was said of it."""
        self._left = self._left[len(piece) :] if self._left.startswith(piece) else b""
