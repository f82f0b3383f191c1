"""What a scheduler needs of the places on which requests are computed.

Two kinds: interleaved.py gives each place contexts of its own, so that it has a memory which can be
named; batched.py computes all in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from amulet_local.common.errors import AmuletError
from amulet_local.common.results import Chunk
from amulet_local.serving.ticket import Ticket

Outcome = tuple[Ticket, Chunk | AmuletError]

SavedState = tuple[Sequence[int], bytes, bool]
"""Of a row: its tokens, llama.cpp's state, and whether it lacks the adapters that others have."""


class Places(Protocol):
    """Places for requests. Used by one thread, but for `interrupt`."""

    scheduler: ClassVar[str]

    @property
    def n_places(self) -> int:
        """How many requests at once."""

    @property
    def n_active(self) -> int:
        """Places that are taken."""

    @property
    def max_rows(self) -> int:
        """Most rows that a request may have."""

    def admit(self, ticket: Ticket) -> None:
        """Give the request the place that it names, if places have names, or a free one."""

    def advance(self) -> Iterable[Outcome]:
        """One turn: a token for every answer under way, and a part of the prompts. To its end.

        A request that is complete, cancelled or failed has left its place.
        """

    def interrupt(self) -> None:
        """End what is being computed now, and everything after; from any thread."""

    def close(self) -> None:
        """Free the memory."""


@runtime_checkable
class NamedPlaces(Places, Protocol):
    """Places that a request may name, by their numbers, and have its own scales of adapters at."""

    def is_free(self, place: int) -> bool:
        """Whether nobody has a place."""

    def export(self, place: int) -> list[SavedState]:
        """What a free place has in memory of its last request, of each row."""

    def restore(self, place: int, rows: Sequence[SavedState]) -> bool:
        """Take over what a place of the same model and settings exported, in a free one.

        Returns False, with nothing in it, where llama.cpp refuses it.
        """

    def forget(self, place: int) -> int:
        """Empty a free place; how many tokens of a row there were."""
