"""Makes rows and keeps them: a context for each or one for all, with the adapters or bare.

Knows nothing about how rows are computed. A prompt gets the row that has most of it in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from amulet_local.llama.context import Context, ContextSettings
from amulet_local.llama.model import Model
from amulet_local.llama.row import Row, common_length
from amulet_local.llama.row_threads import RowThreads
from amulet_local.llama.sequences import Sequences
from amulet_local.llama.stop_flag import StopFlag


class RowStore:
    """Rows of one model, made when first needed.

    Attributes:
        rows: all that there are.
        chosen: those of them that the last prompts have, in their order.
        in_use: those of these that are still computed.
    """

    def __init__(
        self, model: Model, settings: ContextSettings, stop_flag: StopFlag, threads: RowThreads
    ) -> None:
        """No rows yet.

        Args:
            threads: create the contexts.
        """
        self.rows: list[Row] = []
        self.chosen: list[Row] = []
        self.in_use: list[Row] = []
        self._model = model
        self._settings = settings
        self._stop_flag = stop_flag
        self._threads = threads
        self._sequences: list[Sequences] = []
        self._scales = () if settings.adapters is None else settings.adapters.scales

    def bareness(self, n_rows: int, *, has_plain: bool) -> list[bool]:
        """For each row, the plain one first if there is one, whether it is to lack the adapters."""
        first = has_plain and self._settings.plain_row_is_bare
        return [first and row == 0 for row in range(n_rows)]

    def reserve(self, bareness: Sequence[bool]) -> None:
        """Make the rows that are missing.

        Raises:
            ContextCreationError: llama.cpp can't.
        """
        n_rows = len(bareness)
        if self._threads.plan.schedule == "batched" and len(self.rows) < n_rows:
            self.close()
            self._sequences = [self._new_sequences(replace(self._settings, n_sequences=n_rows))]
            self.rows = [self._new_row(sequence=sequence) for sequence in range(n_rows)]
        for bare in (True, False):
            settings = replace(self._settings, adapters=None) if bare else self._settings
            n_there = sum(row.bare == bare for row in self.rows)
            for _ in range(bareness.count(bare) - n_there):
                self._sequences.append(self._new_sequences(settings))
                self.rows.append(self._new_row(bare=bare))

    def choose(self, prompts: Sequence[Sequence[int]], bareness: Sequence[bool]) -> None:
        """Take into use, for each prompt, the row, bare or not, that has most of it in memory."""
        chosen: list[Row] = []
        for prompt, bare in zip(prompts, bareness, strict=True):
            free = [
                row
                for row in self.rows
                if row.bare == bare and not any(row is taken for taken in chosen)
            ]
            chosen.append(max(free, key=lambda row: common_length(row.tokens, prompt)))
        self.chosen = self.in_use = chosen

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory, each in the row that has most of it."""
        return sum(
            max((common_length(row.tokens, prompt) for row in self.rows), default=0)
            for prompt in prompts
        )

    def scale_adapters(self, scales: Sequence[float] | None) -> None:
        """Let the LoRA adapters count so, in every row that has them, which forgets its tokens.

        Args:
            scales: one for each; the adapters' own if None.

        Raises:
            ContextCreationError: llama.cpp refuses.
        """
        adapters = self._settings.adapters
        if adapters is None:
            return
        wanted = adapters.scales if scales is None else tuple(scales)
        if wanted == self._scales:
            return
        self.forget()
        self._scales = wanted
        for sequences in self._sequences:
            if sequences.context.settings.adapters is not None:
                sequences.context.scale_adapters(wanted)

    def forget(self) -> None:
        """Forget the tokens of every row."""
        for sequences in self._sequences:
            sequences.forget_all()
        for row in self.rows:
            row.forget()

    def close(self) -> None:
        """Free the contexts; there are no rows then."""
        for sequences in self._sequences:
            sequences.close()
        self._sequences, self.rows, self.chosen, self.in_use = [], [], [], []

    def _new_row(self, *, sequence: int = 0, bare: bool = False) -> Row:
        """In the newest context."""
        return Row(sequences=self._sequences[-1], sequence=sequence, bare=bare)

    def _new_sequences(self, settings: ContextSettings) -> Sequences:
        """Created by a worker: llama.cpp's log comes in there, where Ctrl-C isn't raised."""
        task = partial(Context, self._model, settings, self._stop_flag)
        context: Context = self._threads.run([task])[0]
        adapters = settings.adapters
        if adapters is not None and self._scales != adapters.scales:
            context.scale_adapters(self._scales)
        return Sequences(context, can_drop=self._model.can_drop_tokens)
