"""Places whose rows are all computed in one llama_decode.

On a GPU a step of many rows costs little more than a step of one, and on a CPU, from some number of
rows on, less than as many steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError, BackendError, unexpected
from amulet_local.common.results import Chunk
from amulet_local.llama.context import ContextSettings
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.serving.cohort import Cohort, Cost
from amulet_local.serving.places import Outcome
from amulet_local.serving.ticket import Ticket


class BatchedPlaces:
    """Places in one context of a loaded model.

    Attributes:
        n_places: requests at once.
        max_rows: most rows that a request may have.
    """

    scheduler: ClassVar[str] = "batched"

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        *,
        n_places: int,
        max_rows: int,
        n_threads: int,
        n_sequences: int | None = None,
        cost: Cost | None = None,
        noise: Callable[[Request, StopFlag], float],
    ) -> None:
        """Allocate the memory.

        Args:
            settings: n_ctx is that of one row, n_batch the tokens computed at once.
            n_sequences, cost: as for Cohort.
            noise: the rounding noise for a request's noise guard.

        Raises:
            ContextCreationError: no memory, or settings that this model excludes.
        """
        self.n_places, self.max_rows = n_places, max_rows
        self._noise = noise
        self._stop_flag = StopFlag()
        self._cohort = Cohort(
            model,
            settings,
            self._stop_flag,
            n_places=n_places,
            n_rows=max_rows,
            n_threads=n_threads,
            n_sequences=n_sequences,
            cost=cost,
        )
        self._tickets: dict[int, Ticket] = {}
        self._failed: list[Outcome] = []

    @property
    def n_active(self) -> int:
        """Places that are taken."""
        return len(self._tickets) + len(self._failed)

    def admit(self, ticket: Ticket) -> None:
        """Give the request a free place, and the rows that have most of its prompts in memory."""
        request = ticket.request
        place = next(place for place in range(self.n_places) if place not in self._tickets)
        try:
            noise = self._noise(request, self._stop_flag)
            self._cohort.admit(
                place, request, noise=noise, control=ticket.control, progress=ticket.progress
            )
        except StoppedError:
            self._failed.append((ticket, BackendError("the computation was stopped")))
        except AmuletError as error:
            self._failed.append((ticket, error))
        except Exception as error:  # a bug: the others' answers go on
            self._failed.append((ticket, unexpected(error)))
        else:
            self._tickets[place] = ticket

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory."""
        return self._cohort.in_memory(prompts)

    def advance(self) -> Sequence[Outcome]:
        """One computation for all."""
        outcomes, self._failed = self._failed, []
        pieces: Sequence[tuple[int, Chunk | AmuletError]]
        try:
            pieces = self._cohort.step()
        except StoppedError:
            pieces = self._cohort.cut()
        except AmuletError as error:
            return [*outcomes, *self._all_fail(error)]
        for place, piece in pieces:
            outcomes.append((self._tickets[place], piece))
            if isinstance(piece, AmuletError) or piece.generation is not None:
                del self._tickets[place]
        return outcomes

    def interrupt(self) -> None:
        """End what is being computed now, and everything after."""
        self._stop_flag.set()

    def close(self) -> None:
        """Free the memory."""
        self._cohort.abandon()
        self._cohort.close()

    def _all_fail(self, error: AmuletError) -> list[Outcome]:
        self._cohort.abandon()
        outcomes: list[Outcome] = [(ticket, error) for ticket in self._tickets.values()]
        self._tickets.clear()
        return outcomes
