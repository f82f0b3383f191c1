"""Places that are computed together, and one beside them for who is alone.

A realigned answer that nobody else is computed with is faster with a context for each of its rows.
It moves to the others when one comes before its first token, and stays where it is if not: for the
length of one answer both are computed in turn. Knows nothing about how either computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from amulet_local.serving.batched import BatchedPlaces
from amulet_local.serving.interleaved import InterleavedPlaces
from amulet_local.serving.places import Outcome
from amulet_local.serving.ticket import Ticket

WORTH_A_TURN = 256
"""Tokens in the memory of the place for one that make it worth being computed in turn."""


class AdaptivePlaces:
    """Places of both kinds on one model."""

    scheduler: ClassVar[str] = "batched"

    def __init__(self, together: BatchedPlaces, alone: InterleavedPlaces) -> None:
        """Take over both.

        Args:
            alone: one place.
        """
        self._together, self._alone = together, alone

    @property
    def n_places(self) -> int:
        """How many requests at once."""
        return self._together.n_places

    @property
    def max_rows(self) -> int:
        """Most rows that a request may have."""
        return self._together.max_rows

    @property
    def n_active(self) -> int:
        """Places that are taken."""
        return self._together.n_active + self._alone.n_active

    def admit(self, ticket: Ticket) -> None:
        """Give the request a place: alone if it is, with the others if not."""
        if self._is_for_one(ticket):
            self._alone.admit(ticket)
            return
        early = self._alone.take_back()
        for moved in (ticket,) if early is None else (early, ticket):
            self._together.admit(moved)

    def _is_for_one(self, ticket: Ticket) -> bool:
        prompts = ticket.request.prompts
        if len(prompts) < 2 or self._alone.n_active:
            return False
        if not self._together.n_active:
            return True
        here, there = self._alone.in_memory(prompts), self._together.in_memory(prompts)
        return here - there >= WORTH_A_TURN

    def advance(self) -> Iterator[Outcome]:
        """A turn of both."""
        if self._alone.n_active:
            yield from self._alone.advance()
        if self._together.n_active:
            yield from self._together.advance()

    def interrupt(self) -> None:
        """End what is being computed now, and everything after; from any thread."""
        self._alone.interrupt()
        self._together.interrupt()

    def close(self) -> None:
        """Free the memory."""
        self._alone.close()
        self._together.close()
