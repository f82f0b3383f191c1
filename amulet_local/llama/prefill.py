"""Reads the prompts of some rows: what is in memory is kept, what they share is computed once.

Knows nothing about what rows mean and how they go on. An opening that an earlier process kept is
taken from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from amulet_local.llama.model import Model
from amulet_local.llama.row import Row, Tail, common_length
from amulet_local.llama.row_computer import RowComputer
from amulet_local.llama.row_store import RowStore
from amulet_local.llama.row_threads import RowThreads

Progress = Callable[[int, int], None]


class Opening(Protocol):
    """What prompts begin with, and what memory had after it in an earlier process."""

    @property
    def tokens(self) -> Sequence[int]:
        """Its token ids; none if there is no opening."""

    def begins(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt begins with it and goes on."""

    def load(self, n_sequences: int) -> bytes:
        """The state that was kept of a context with so many sequences; empty if there is none."""

    def keep(self, state: bytes, n_sequences: int) -> None:
        """Keep a state of a sequence that has the opening and nothing else."""


class Prefiller:
    """What reads prompts into the rows of a store.

    Attributes:
        n_kept: of the last prompts, most tokens of one that were in memory before.
        keeps_all: whether it goes on from all of a prompt that is in memory, whatever the plan
            says: its results depend then on what was asked before.
        opening: computed by itself, where rows are empty, or not at all if it was kept.
    """

    def __init__(
        self, model: Model, store: RowStore, threads: RowThreads, computer: RowComputer
    ) -> None:
        """Read prompts into the rows of this store, which this computer computes."""
        self.n_kept = 0
        self.keeps_all = False
        self.opening: Opening | None = None
        self._model = model
        self._store = store
        self._threads = threads
        self._computer = computer

    def steps(
        self,
        prompts: Sequence[Sequence[int]],
        progress: Progress | None = None,
        *,
        has_plain: bool = True,
    ) -> Iterator[None]:
        """Start over with one prompt a row, with a pause after each chunk.

        Args and Raises: as for rows.RowSet.prefill.
        """
        bareness = self._store.bareness(len(prompts), has_plain=has_plain)
        self._store.reserve(bareness)
        self._computer.check_stop()
        if not self._threads.plan.reuse:
            self._store.forget()
        self._store.choose(prompts, bareness)
        groups = self._groups(prompts)
        exactly = self._threads.plan.exact_reuse and not self.keeps_all
        for rows, texts, shared in groups:
            for row, prompt in zip(rows, texts, strict=True):
                row.keep_what_fits(prompt, shared, exactly=exactly)
        begins = not exactly and self._begins_with_opening(prompts)
        if begins:
            self._computer.guarded([self._restore_opening])
        self.n_kept = max(len(row.tokens) for row in self._store.in_use)
        reporter = _Reporter(prompts, progress)
        reporter.update(self._store.in_use)
        if begins:
            yield from self._compute_opening(reporter)
        for rows, texts, shared in groups:
            if shared:
                yield from self._share_prefix(rows, texts[0][:shared], reporter)
        tails = [Tail(row, prompt) for row, prompt in zip(self._store.in_use, prompts, strict=True)]
        if self._threads.plan.schedule == "batched":
            self._threads.share_out(self._store.in_use)
            yield from self._prefill_packed(tails, reporter)
        while unfinished := [tail for tail in tails if tail.unfinished]:
            if self._threads.are_uneven([len(tail.pending) for tail in unfinished]):
                unfinished = unfinished[:1]
            self._threads.share_out([tail.row for tail in unfinished])
            self._computer.run([(tail.row, tail.next()) for tail in unfinished])
            reporter.update(self._store.in_use)
            yield
            self._computer.check_stop()
        self._threads.share_out(self._store.in_use)
        if self._threads.plan.reuse:
            for row, prompt in zip(self._store.in_use, prompts, strict=True):
                row.remember(prompt)

    def _begins_with_opening(self, prompts: Sequence[Sequence[int]]) -> bool:
        """Whether nothing is in memory, and each prompt begins with what may have been kept."""
        return (
            self.opening is not None
            and self._threads.plan.reuse
            and not any(row.tokens for row in self._store.in_use)
            and all(map(self.opening.begins, prompts))
        )

    def _restore_opening(self) -> None:
        assert self.opening is not None
        row = self._store.in_use[0]
        if state := self.opening.load(row.context.settings.n_sequences):
            row.restore(self.opening.tokens, state)

    def _compute_opening(self, reporter: _Reporter) -> Iterator[None]:
        """Compute it in one row, unless it is there, and have it kept."""
        assert self.opening is not None
        row = self._store.in_use[0]
        if row.tokens:
            return
        yield from self._compute_alone(row, self.opening.tokens, reporter)
        state = row.sequences.export(row.sequence)
        self.opening.keep(state, row.context.settings.n_sequences)

    def _compute_alone(
        self, row: Row, prefix: Sequence[int], reporter: _Reporter
    ) -> Iterator[None]:
        """Compute what a row lacks of a prefix, without logits."""
        self._threads.share_out([row])
        tail = Tail(row, prefix, n_outputs=0)
        while tail.unfinished:
            self._computer.run([(row, tail.next())])
            reporter.update(self._store.in_use)
            yield
            self._computer.check_stop()

    def _groups(
        self, prompts: Sequence[Sequence[int]]
    ) -> list[tuple[list[Row], list[Sequence[int]], int]]:
        """Rows that can share what is computed, their prompts, and the length of what they do."""
        groups = []
        for bare in (True, False):
            pairs = [
                (row, prompt)
                for row, prompt in zip(self._store.in_use, prompts, strict=True)
                if row.bare == bare
            ]
            texts = [prompt for _, prompt in pairs]
            groups.append(([row for row, _ in pairs], texts, self._shared_length(texts)))
        return groups

    def _shared_length(self, prompts: Sequence[Sequence[int]]) -> int:
        """Length of the prefix that is computed once for all prompts."""
        if not self._threads.plan.reuse or len(prompts) < 2:
            return 0
        return min(
            *(common_length(prompts[0], prompt) for prompt in prompts[1:]),
            *(len(prompt) - 1 for prompt in prompts),
        )

    def _share_prefix(
        self, rows: Sequence[Row], prefix: Sequence[int], reporter: _Reporter
    ) -> Iterator[None]:
        """Compute the prefix that all prompts share in one row and copy it to the others."""
        shared = len(prefix)
        lacking = [row for row in rows if len(row.tokens) < shared]
        if not lacking:
            return
        source = max(rows, key=lambda row: len(row.tokens))
        if len(source.tokens) > shared and not self._model.can_drop_tokens:
            return
        yield from self._compute_alone(source, prefix, reporter)
        targets = [row for row in lacking if row is not source]
        self._computer.guarded([partial(self._copy, source, targets, shared)])
        reporter.update(self._store.in_use)

    def _copy(self, source: Row, targets: Sequence[Row], n_tokens: int) -> None:
        apart = any(row.sequences is not source.sequences for row in targets)
        state = source.sequences.export(source.sequence) if apart else b""
        for row in targets:
            row.copy(source, state)
            if row.tokens:
                row.keep(n_tokens)

    def _prefill_packed(self, tails: Sequence[Tail], reporter: _Reporter) -> Iterator[None]:
        """All rows in one context: fill each decode with as many tokens as fit."""
        sequences = self._store.in_use[0].sequences
        while unfinished := [tail for tail in tails if tail.unfinished]:
            parts = sequences.pack((tail.row.sequence, tail.pending) for tail in unfinished)
            work = [(tail.row, part) for tail, part in zip(unfinished, parts, strict=False)]
            self._computer.run_packed(work)
            reporter.update(self._store.in_use)
            for row, part in work:
                if part.n_outputs:
                    row.saved = row.logits().copy()
            yield
            self._computer.check_stop()


class _Reporter:
    """Reports progress in tokens of all prompts, whether computed, kept or copied."""

    def __init__(self, prompts: Sequence[Sequence[int]], progress: Progress | None) -> None:
        self._total = sum(len(prompt) for prompt in prompts)
        self._progress = progress

    def update(self, rows: Sequence[Row]) -> None:
        if self._progress is not None:
            self._progress(sum(len(row.tokens) for row in rows), self._total)
