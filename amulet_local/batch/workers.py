"""Workers that answer lines elsewhere: what is asked of them, and what is heard from them.

Knows nothing about clusters: Ray's workers and simulated ones are such workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from amulet_local.batch.line_answers import KeyedLine, LineOutcome


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker has loaded its model.

    Attributes:
        worker: its number.
        where: the machine that it is on.
        warnings: what the user should know.
    """

    worker: int
    where: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Came:
    """A worker's reply.

    Attributes:
        worker: its number.
        outcomes: of lines that it has got.
        n_running_tokens: of its answers under way.
        n_tokens: that it has made since it is ready.
    """

    worker: int
    outcomes: Sequence[LineOutcome]
    n_running_tokens: int
    n_tokens: int


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A worker is no more: whatever it had is lost.

    Attributes:
        worker: its number.
        reason: why, as far as it is known.
    """

    worker: int
    reason: str


Event: TypeAlias = Ready | Came | Lost


class Workers(Protocol):
    """Where workers come from."""

    def now(self) -> float:
        """Seconds on their clock."""

    def room(self) -> int:
        """How many there can be at once."""

    def start(self) -> int:
        """Begin to start one, which is Ready or Lost before long; returns its number."""

    def exchange(
        self, worker: int, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float
    ) -> None:
        """Give a worker lines. It Came, or is Lost, when it has outcomes or some time has passed.

        Args:
            worker: no other exchange with it is under way.
            ends: whether it gets no other lines before these are done.
            gather_seconds: how long it waits for more outcomes once there is one.
        """

    def wait(self, seconds: float) -> Sequence[Event]:
        """What is heard within this time; returns as soon as there is something."""

    def stop(self, worker: int) -> None:
        """End a worker of which nothing is heard from then on."""
