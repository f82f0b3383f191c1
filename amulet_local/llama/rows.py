"""The rows of one generation, stepped in lockstep: the plain prompt's and each preference's.

Knows nothing about what the rows mean or how they are combined. After a prefill every row has
logits for its next token; a step gives all rows the same token. A prefix that prompts share is
computed once, and what is in memory from the generation before is kept where it fits. When one row
fails or is stopped in a computation, all rows forget everything: rows never drift apart. Where
adapters are on preference rows alone, the plain row is bare: it has a context without them, and
nothing that was computed with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.context import ContextSettings, Logits
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model
from amulet_local.llama.row import Course, Row, Tail, common_length
from amulet_local.llama.row_store import RowStore
from amulet_local.llama.row_threads import RowThreads, relay
from amulet_local.llama.sequences import Part
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.worker import Task, Worker

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


class RowSet:
    """Rows on one model, made when first needed.

    Attributes:
        n_decoded: tokens computed since the creation, all rows together.
        n_kept: of the prompts of the last prefill, most tokens of one that were in memory before.
        keeps_all: whether a prefill goes on from all of a prompt that is in memory, whatever the
            plan says: its results depend then on what was asked before.
        opening: computed by itself, where rows are empty, or not at all if it was kept.
    """

    opening: Opening | None = None

    def __init__(
        self,
        model: Model,
        settings: ContextSettings,
        stop_flag: StopFlag,
        plan: ExecutionPlan,
        workers: list[Worker] | None = None,
    ) -> None:
        """No rows yet.

        Args:
            workers: of a pool whose sets share them and which ends them. A pool's own thread lasts
                and has no Ctrl-C to wait for, so it computes as well: that saves two hand-overs a
                token, and OpenMP keeps one set of threads for all. None: own ones.
        """
        self.n_decoded = self.n_kept = 0
        self.keeps_all = False
        self._model = model
        self._stop_flag = stop_flag
        self._has_bare_rows = settings.plain_row_is_bare
        self._threads = RowThreads(plan, stop_flag, workers)
        self._store = RowStore(model, settings, stop_flag, self._threads)
        self._check_plan()

    @property
    def plan(self) -> ExecutionPlan:
        """How they are computed."""
        return self._threads.plan

    @property
    def n_rows(self) -> int:
        """Rows in use since the last prefill."""
        return len(self._store.in_use)

    @property
    def n_made(self) -> int:
        """Rows that there are, in use or not."""
        return len(self._store.rows)

    @property
    def n_tokens(self) -> list[int]:
        """Tokens in each row in use."""
        return [len(row.tokens) for row in self._store.in_use]

    @property
    def n_outputs(self) -> int:
        """Most tokens that `extend` takes."""
        context = self._store.rows[0].context
        return context.n_outputs // context.settings.n_sequences

    def change_plan(self, plan: ExecutionPlan) -> None:
        """Compute rows in another way from the next prefill on."""
        if plan.schedule != self.plan.schedule:
            self.close()
        self._threads.plan = plan
        self._check_plan()

    def _check_plan(self) -> None:
        if self.plan.schedule == "batched" and self._has_bare_rows:
            raise InvalidParameterError(
                "schedule 'batched' computes all rows in one context, so adapters are on all of "
                "them or on none; use 'parallel' or 'serial', or adapters_on='all'"
            )

    def reserve(self, n_rows: int, *, has_plain: bool = True) -> None:
        """Make sure that there are `n_rows` rows, with or without the plain prompt's.

        Raises:
            ContextCreationError: llama.cpp can't.
        """
        self._store.reserve(self._store.bareness(n_rows, has_plain=has_plain))

    def prefill(
        self,
        prompts: Sequence[Sequence[int]],
        progress: Progress | None = None,
        *,
        has_plain: bool = True,
    ) -> None:
        """Start over with one prompt a row; afterwards `logits` has each row's next token.

        Args:
            prompts: token ids, at least one each; as many rows as prompts.
            progress: called with (tokens done, tokens in all) at first, with what is in memory, and
                after each chunk.
            has_plain: whether the first prompt is the plain one; the others are preferences'.

        Raises:
            StoppedError: the stop flag was set.
            DecodeError: llama.cpp failed. All rows are empty.
        """
        for _ in self.prefill_steps(prompts, progress, has_plain=has_plain):
            pass

    def prefill_steps(
        self,
        prompts: Sequence[Sequence[int]],
        progress: Progress | None = None,
        *,
        has_plain: bool = True,
    ) -> Iterator[None]:
        """`prefill`, with a pause after each chunk. What isn't run to its end leaves no logits.

        Args and Raises: as there.
        """
        bareness = self._store.bareness(len(prompts), has_plain=has_plain)
        self._store.reserve(bareness)
        self.check_stop()
        if not self.plan.reuse:
            self.discard()
        self._store.choose(prompts, bareness)
        groups = self._groups(prompts)
        exactly = self.plan.exact_reuse and not self.keeps_all
        for rows, texts, shared in groups:
            for row, prompt in zip(rows, texts, strict=True):
                row.keep_what_fits(prompt, shared, exactly=exactly)
        begins = not exactly and self._begins_with_opening(prompts)
        if begins:
            self._guarded([self._restore_opening])
        self.n_kept = max(len(row.tokens) for row in self._store.in_use)
        reporter = _Reporter(prompts, progress)
        reporter.update(self._store.in_use)
        if begins:
            yield from self._compute_opening(reporter)
        for rows, texts, shared in groups:
            if shared:
                yield from self._share_prefix(rows, texts[0][:shared], reporter)
        tails = [Tail(row, prompt) for row, prompt in zip(self._store.in_use, prompts, strict=True)]
        if self.plan.schedule == "batched":
            self._threads.share_out(self._store.in_use)
            yield from self._prefill_packed(tails, reporter)
        while unfinished := [tail for tail in tails if tail.unfinished]:
            if self._threads.are_uneven([len(tail.pending) for tail in unfinished]):
                unfinished = unfinished[:1]
            self._threads.share_out([tail.row for tail in unfinished])
            self._run([(tail.row, tail.next()) for tail in unfinished])
            reporter.update(self._store.in_use)
            yield
            self.check_stop()
        self._threads.share_out(self._store.in_use)
        if self.plan.reuse:
            for row, prompt in zip(self._store.in_use, prompts, strict=True):
                row.remember(prompt)

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory, each in the row that has most of it."""
        return self._store.in_memory(prompts)

    def step(self, token: int) -> None:
        """Give every row `token` and compute the logits of what comes next.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self.check_stop()
        self._threads.step(self._store.in_use, partial(self._append, (token,), 1))

    def extend(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give every row several tokens; for each token the logits of every row after it.

        Args:
            tokens: 1 to `n_outputs` token ids.

        Returns:
            Views, valid until the next step.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self.check_stop()
        n = len(tokens)
        self._append(tokens, n)
        return [
            [row.context.logits(row.output - n + 1 + index) for row in self._store.in_use]
            for index in range(n)
        ]

    @property
    def may_drop(self) -> bool:
        """Whether rows can be given tokens that are taken back by `drop`."""
        plan = self.plan
        return self._model.can_drop_tokens and plan.reuse and not plan.exact_reuse

    def drop(self, n_tokens: int) -> bool:
        """Take the last tokens back from every row; what comes next is a step or an extension.

        Returns False, with all rows empty, where llama.cpp refuses it.
        """
        lengths = [len(row.tokens) - n_tokens for row in self._store.in_use]
        for row, length in zip(self._store.in_use, lengths, strict=True):
            row.keep(length)
        if [len(row.tokens) for row in self._store.in_use] == lengths:
            return True
        self.discard()
        return False

    def follow(self, tokens: Sequence[int]) -> list[list[Logits]]:
        """Give every row several tokens, one by one; for each the logits of every row after it.

        The results are those of as many calls of `step`, to the bit. Rows don't wait for each other
        after each token, which evens out what threads have to do where they share rows.

        Returns:
            Copies, float32, shape (n_vocab,) each.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        if self._threads.at_once(len(self._store.in_use)) == 1:
            following = []
            for token in tokens:
                self.step(token)
                following.append([self.logits(row).copy() for row in range(self.n_rows)])
            return following
        self.check_stop()
        courses = [Course(row, tokens) for row in self._store.in_use]
        n_workers = self._threads.at_once(len(courses))
        self._guarded([relay(courses)] * n_workers, len(courses) * len(tokens))
        return [list(step) for step in zip(*(course.logits for course in courses), strict=True)]

    def leave_first(self) -> None:
        """Go on without the first row, which keeps what it has in memory."""
        self._store.in_use = self._store.in_use[1:]
        self._threads.share_out(self._store.in_use)

    def logits(self, row: int) -> Logits:
        """Logits of a row's next token, float32, shape (n_vocab,): a view until the next step."""
        return self._store.in_use[row].logits()

    def export(self) -> list[tuple[list[int], bytes, bool]]:
        """Of every row that llama.cpp can serialise: tokens, state, and whether it is bare.

        Of those that the last prompts have, be they computed still or not. A bare row lacks the
        adapters that others have.
        """
        exported = [
            (list(row.tokens), row.sequences.export(row.sequence), row.bare)
            for row in self._store.chosen
        ]
        return [row for row in exported if row[0] and row[1]]

    def restore(self, saved: Sequence[tuple[Sequence[int], bytes, bool]]) -> bool:
        """Take over rows that `export` returned, on the same model with the same settings.

        Returns False, with all rows empty, where llama.cpp refuses one.
        """
        bareness = [bare for _, _, bare in saved]
        self._store.reserve(bareness)
        self.discard()
        self._store.choose([()] * len(saved), bareness)
        for row, (tokens, state, _) in zip(self._store.in_use, saved, strict=True):
            if not row.restore(tokens, state):
                self.discard()
                return False
        return True

    def scale_adapters(self, scales: Sequence[float] | None) -> None:
        """Let the LoRA adapters count so from now on; what was computed otherwise is forgotten.

        Args:
            scales: one for each; the adapters' own if None.

        Raises:
            ContextCreationError: llama.cpp refuses.
        """
        self._store.scale_adapters(scales)

    def discard(self) -> None:
        """Forget the tokens of every row."""
        self._store.forget()

    def close(self) -> None:
        """End the threads and free the contexts."""
        self._threads.close()
        self._store.close()

    def check_stop(self) -> None:
        """Raise StoppedError if the stop flag is set."""
        if self._stop_flag.is_set():
            raise StoppedError

    def _begins_with_opening(self, prompts: Sequence[Sequence[int]]) -> bool:
        """Whether nothing is in memory, and each prompt begins with what may have been kept."""
        return (
            self.opening is not None
            and self.plan.reuse
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
            self._run([(row, tail.next())])
            reporter.update(self._store.in_use)
            yield
            self.check_stop()

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
        if not self.plan.reuse or len(prompts) < 2:
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
        self._guarded([partial(self._copy, source, targets, shared)])
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
            self._run_packed(work)
            reporter.update(self._store.in_use)
            for row, part in work:
                if part.n_outputs:
                    row.saved = row.logits().copy()
            yield
            self.check_stop()

    def _append(self, tokens: Sequence[int], n_outputs: int, *, here: bool = False) -> None:
        work = [(row, Part(row.sequence, tokens, n_outputs)) for row in self._store.in_use]
        if self.plan.schedule == "batched":
            self._run_packed(work, here=here)
        else:
            self._run(work, here=here)

    def _run_packed(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode all parts at once, in the one context."""

        def decode() -> None:
            outputs = work[0][0].sequences.decode([part for _, part in work])
            for (row, _), output in zip(work, outputs, strict=True):
                row.computed(output)

        self._guarded([decode], _n_tokens(work), here=here)

    def _run(self, work: Sequence[tuple[Row, Part]], *, here: bool = False) -> None:
        """Decode each row's part in its own context, at once or in turn."""
        decodes = [partial(row.decode, part) for row, part in work]
        at_once = self._threads.at_once(len(work))
        tasks = [partial(_in_turn, decodes[start::at_once]) for start in range(at_once)]
        self._guarded(tasks, _n_tokens(work), here=here)

    def _guarded(self, tasks: Sequence[Task], n_tokens: int = 0, *, here: bool = False) -> None:
        """Run native calls at once, as RowThreads.run does; they compute `n_tokens`.

        All rows are discarded if anything fails or interrupts before the end of that: what is in
        memory and what is noted of it stay the same.
        """
        try:
            self._threads.run(tasks, here=here)
            self.n_decoded += n_tokens
        except BaseException:
            self.discard()
            raise


def _in_turn(tasks: Iterable[Task]) -> None:
    for task in tasks:
        task()


def _n_tokens(work: Sequence[tuple[Row, Part]]) -> int:
    return sum(len(part.tokens) for _, part in work)


class _Reporter:
    """Reports progress in tokens of all prompts, whether computed, kept or copied."""

    def __init__(self, prompts: Sequence[Sequence[int]], progress: Progress | None) -> None:
        self._total = sum(len(prompt) for prompt in prompts)
        self._progress = progress

    def update(self, rows: Sequence[Row]) -> None:
        if self._progress is not None:
            self._progress(sum(len(row.tokens) for row in rows), self._total)
