"""What is fuzzed: something that takes what strangers make."""

from __future__ import annotations

import random
from pathlib import Path

REFUSED = "refused"


def refused(error: Exception) -> str:
    """The word for a case that ended in this error, which has to be a line of text."""
    message = str(error)
    if not message.isprintable():
        raise ValueError(f"what the case says acts on a terminal: {message!r:.200}")
    return REFUSED


class Target:
    """One of them."""

    def __init__(self, folder: Path) -> None:
        """Get ready.

        Args:
            folder: an empty one of its own.
        """

    def make(self, rng: random.Random) -> bytes:
        """One case."""
        raise NotImplementedError

    def run(self, data: bytes) -> str:
        """What became of it, in a word; anything but a typed error is raised."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what was opened."""
