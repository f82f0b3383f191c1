"""What a scheduler needs of the places on which requests are computed.

Two kinds: interleaved.py gives each place contexts of its own, batched.py computes all in one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol

from amulet_local.common.errors import AmuletError
from amulet_local.common.results import Chunk
from amulet_local.serving.ticket import Ticket

Outcome = tuple[Ticket, Chunk | AmuletError]


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
        """Give the request the free place that has most of its prompts in memory."""

    def advance(self) -> Iterable[Outcome]:
        """One turn: a token for every answer under way, and a part of the prompts. To its end.

        A request that is complete, cancelled or failed has left its place.
        """

    def interrupt(self) -> None:
        """End what is being computed now, and everything after; from any thread."""

    def close(self) -> None:
        """Free the memory."""
