"""The rows of one generation, stepped in lockstep: the plain prompt's and each preference's.

Knows nothing about what the rows mean or how they are combined. After a prefill every row has
logits for its next token; a step gives all rows the same token. A prefix that prompts share is
computed once, and what is in memory from the generation before is kept where it fits. When one row
fails or is stopped in a computation, all rows forget everything: rows never drift apart. Where
adapters are on preference rows alone, the plain row is bare: it has a context without them, and
nothing that was computed with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama.context import ContextSettings, Logits
from amulet_local.llama.execution_plan import ExecutionPlan
from amulet_local.llama.model import Model
from amulet_local.llama.prefill import Prefiller, Progress
from amulet_local.llama.row_computer import RowComputer
from amulet_local.llama.row_store import RowStore
from amulet_local.llama.row_threads import RowThreads
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.llama.worker import Worker


class RowSet:
    """Rows on one model, made when first needed.

    Attributes:
        prefiller: reads their prompts.
    """

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
        self._model = model
        self._has_bare_rows = settings.plain_row_is_bare
        self._threads = RowThreads(plan, stop_flag, workers)
        self._store = RowStore(model, settings, stop_flag, self._threads)
        self._computer = RowComputer(self._store, self._threads, stop_flag)
        self.prefiller = Prefiller(model, self._store, self._threads, self._computer)
        self._check_plan()

    @property
    def plan(self) -> ExecutionPlan:
        """How they are computed."""
        return self._threads.plan

    @property
    def n_decoded(self) -> int:
        """Tokens computed since the creation, all rows together."""
        return self._computer.n_decoded

    @property
    def n_kept(self) -> int:
        """Of the prompts of the last prefill, most tokens of one that were in memory before."""
        return self.prefiller.n_kept

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
        yield from self.prefiller.steps(prompts, progress, has_plain=has_plain)

    def in_memory(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens of these prompts are in memory, each in the row that has most of it."""
        return self._store.in_memory(prompts)

    def step(self, token: int) -> None:
        """Give every row `token` and compute the logits of what comes next.

        Raises:
            StoppedError, DecodeError: as for `prefill`.
        """
        self.check_stop()
        self._threads.step(self._store.in_use, partial(self._computer.append, (token,), 1))

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
        self._computer.append(tokens, n)
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
        return self._computer.follow(tokens)

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
        self._computer.check_stop()
