"""An engine's own rows, at which its callers take turns, and what is measured on them once.

Knows nothing about requests or answers; who works on the rows asks for the turn first.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

from amulet_local.common.errors import CancelledError
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.loading.cost_meter import CostMeter
from amulet_local.loading.costs import GUESS_WIDTHS
from amulet_local.loading.engine_parts import EngineParts
from amulet_local.loading.stream_lock import StreamLock
from amulet_local.optimizer.realigner import Realigner
from amulet_local.params.amulet import AmuletParams

NO_COSTS = dict.fromkeys(GUESS_WIDTHS, 1.0)
"""As if more tokens cost nothing."""


class Guest(Protocol):
    """Something with memory of its own on the model."""

    def close(self) -> None:
        """Free it. May be called twice."""


class SharedRows:
    """The rows of an engine's parts. The parts are freed with them, at the latest.

    Attributes:
        parts: what the engine is made of.
        stop_flag: ends what is computed in the present turn.
        rows: of one answer after the other.
        realigner: combines them.
        lock: whose turn it is.
        guests: what has memory of its own on the model, and is closed before it.
        meter: what computing costs, and what is chosen from it.
    """

    def __init__(self, parts: EngineParts) -> None:
        """Make the first row.

        Raises:
            As `Engine.from_parts`; the parts are freed.
        """
        self.parts = parts
        self.stop_flag = StopFlag()
        self.meter = CostMeter(parts, self.stop_flag)
        self.guests: weakref.WeakSet[Guest] = weakref.WeakSet()
        try:
            self.rows = parts.new_rows(parts.model, parts.settings, self.stop_flag, parts.plan)
        except BaseException:
            parts.close()
            raise
        self.lock = StreamLock(self.stop_flag, partial(_free, self.rows, parts))
        weakref.finalize(self, self.lock.close, timeout_seconds=5)
        try:
            self.rows.reserve(1)
            self.realigner = Realigner(parts.model.vocabulary.n_tokens)
        except BaseException:
            self.lock.close()
            raise

    def close(self) -> None:
        """Free everything; what is running ends first. May be called twice."""
        for guest in list(self.guests):
            guest.close()
        self.lock.close()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Have the turn and the memory inside the block, which doesn't yield.

        Raises:
            EngineClosedError, EngineBusyError: see StreamLock.
        """
        with self.lock.turn(), self.lock.using():
            yield

    @contextmanager
    def cancellable(self, what: str) -> Iterator[None]:
        """`at_work` for what has nothing to return when it is stopped.

        Args:
            what: is going on there, for the message.

        Raises:
            CancelledError: the stop flag was set.
            EngineClosedError, EngineBusyError: see StreamLock.
        """
        with self.at_work():
            try:
                yield
            except StoppedError:
                raise CancelledError(f"{what} was cancelled") from None

    def noise(self, amulet: AmuletParams, stop_flag: StopFlag | None = None) -> float:
        """The model's rounding noise where these guards need it, else 0.

        Args:
            stop_flag: ends the measurement; the turn's if None.

        Raises:
            StoppedError: it was set.
        """
        if amulet.noise_guard == 0:
            return 0.0
        parts = self.parts
        return parts.measure_noise(parts.model, parts.settings, stop_flag or self.stop_flag)

    def settle_schedule(self, n_rows: int) -> None:
        """Measure, where it pays, which schedule is fastest for so many rows.

        Raises:
            StoppedError: the stop flag was set.
        """
        if not self.parts.chooses_schedule or n_rows < 2:
            return
        choice = self.meter.schedule(n_rows)
        self.rows.change_plan(replace(self.rows.plan, schedule=choice.schedule))

    def draft_costs(self, n_rows: int) -> Mapping[int, float] | None:
        """What computing several tokens of so many rows costs, by tokens; None for no guesses.

        Raises:
            BackendError: llama.cpp failed.
            StoppedError: the stop flag was set.
        """
        draft = self.parts.runtime.draft
        if draft != "auto":
            return None if draft == "off" else NO_COSTS
        return self.meter.guesses(self.rows.plan, n_rows)


def _free(rows: RowSet, parts: EngineParts) -> None:
    rows.close()
    parts.close()
