"""What visits got, compared with what the first ones got.

Knows nothing about how anything is asked.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable

from amulet_local.common.errors import AmuletError


class Book:
    """The first answer to each question, and what was wrong with later ones. For any thread.

    Attributes:
        counts: how visits ended.
        faults: what was wrong, in words.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self._first: dict[Hashable, object] = {}
        self._lock = threading.Lock()

    def whole(self, question: Hashable, answer: object) -> None:
        """Note a whole answer, of any kind that compares: it is the first, or has to be as that."""
        with self._lock:
            first = self._first.setdefault(question, answer)
            self.counts["whole"] += 1
            if answer != first:
                self.faults.append(f"{question}: {answer!r:.200} instead of {first!r:.200}")

    def part(self, question: Hashable, answer: str) -> None:
        """Note a text that was cut: what the first one began with."""
        with self._lock:
            first = str(self._first.get(question, answer))
            self.counts["cut"] += 1
            if not first.startswith(answer):
                self.faults.append(f"{question}: {answer!r:.200} instead of {first!r:.200} cut")

    def refused(self, question: Hashable, call: Callable[[], object]) -> None:
        """Do what can't be done, and note with which error it was refused."""
        try:
            given = call()
        except AmuletError as error:
            self.whole(question, f"{type(error).__name__}: {error}")
            self.count("refused")
        else:
            self.fault(f"{question}: it wasn't refused: {given!r:.200}")

    def count(self, how: str) -> None:
        """Count an end that has no text."""
        with self._lock:
            self.counts[how] += 1

    def fault(self, what: str) -> None:
        """Note something that is wrong."""
        with self._lock:
            self.faults.append(what)
