"""One generation on its own rows: from prompts as token ids to an answer, token by token.

Knows nothing about chat templates or about who may use the engine when; engine.py does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from amulet_local.answering.answer import Answer
from amulet_local.answering.drafts import Costs
from amulet_local.answering.request import Request
from amulet_local.answering.rows_ahead import RowsAhead
from amulet_local.common.results import Chunk
from amulet_local.llama.prefill import Progress
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag, StoppedError
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.optimizer.realigner import Realigner


class Control:
    """Tells one generation what it is to go on as, or to end, from any thread.

    Attributes:
        n_cached: of the longest prompt, tokens that were in memory; 0 until the prompts are read.
    """

    def __init__(self) -> None:
        self.n_cached = 0
        self._next: Request | None = None
        self._taken: Request | None = None
        self._lock = threading.RLock()  # re-entrant: a signal handler may cancel anywhere
        self._cancelled = False
        self._stop_flag: StopFlag | None = None

    @contextmanager
    def running(self, stop_flag: StopFlag) -> Iterator[None]:
        """The generation runs inside the block; `stop_flag` ends what is computed there."""
        with self._lock:
            self._stop_flag = stop_flag
            if self._cancelled:
                stop_flag.set()
        try:
            yield
        finally:
            with self._lock:
                self._stop_flag = None

    def cancel(self) -> None:
        """End the generation: now if it runs, else as soon as it begins. Never another one."""
        with self._lock:
            self._cancelled = True
            if self._stop_flag is not None:
                self._stop_flag.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def change(self, request: Request) -> None:
        """Go on with the rows, prompts, strength and guards of `request` at the next token."""
        self._next = request

    def take(self) -> Request | None:
        """What was handed over last, once."""
        request, self._next = self._next, None
        self._taken = request or self._taken
        return request

    def begin_again(self) -> None:
        """The generation begins anew elsewhere: what was taken is handed over once more."""
        self._next = self._next or self._taken


def generate(
    request: Request,
    rows: RowSet,
    realigner: Realigner,
    vocabulary: Vocabulary,
    control: Control,
    *,
    prepare: Callable[[Request], float],
    prompt_progress: Progress | None = None,
    costs: Callable[[int], Costs | None] | None = None,
) -> Generator[Chunk | None, None, None]:
    """Run a generation, step by step; the last chunk has the whole answer.

    None comes after each part of the prompts that was computed: another one may take its turn.

    Args:
        control: changes to it.
        prepare: called before the first prefill and after each change, and ended by a
            cancellation as well; returns the standard deviation of the model's rounding noise in
            l1 - l0, for the noise guard.
        prompt_progress: called with (tokens done, tokens in all) during prefill.
        costs: what computing several tokens of so many rows costs, for guesses of what comes next;
            None for none.

    Raises:
        BackendError: llama.cpp failed. The rows are empty and usable.
    """
    computed_before = rows.n_decoded
    answer = Answer(request, realigner, vocabulary)
    try:
        changed = control.take()
        if changed is not None:
            answer.change(changed)
            request = changed
        answer.steering.noise = prepare(request)
        answer.clock.prompt_starts()
        steps = rows.prefill_steps(
            request.prompts, prompt_progress, has_plain=request.plan.has_plain
        )
        for _ in steps:
            yield None
        answer.clock.prompt_done()
        answer.n_cached = control.n_cached = rows.n_kept
        ahead = RowsAhead(rows, request, costs)
        while True:
            chunk = answer.take(ahead.logits())
            if chunk is None:
                break
            yield chunk
            answer.clock.resumes()
            if answer.finish_reason is not None:
                break
            same_rows = True
            changed = control.take()
            if changed is not None:
                request = changed
                same_rows = answer.change(request)
                if answer.finish_reason is not None:
                    break
                answer.steering.noise = prepare(request)
            elif (alone := answer.without_plain()) is not None:
                request = alone
                answer.change(request)
                same_rows = ahead.leave_plain(request)
            if not same_rows:
                ahead = RowsAhead(rows, request, costs)
            if not (same_rows and ahead.step(answer.tokens)):
                prompts = [(*prompt, *answer.tokens) for prompt in request.prompts]
                for _ in rows.prefill_steps(prompts, has_plain=request.plan.has_plain):
                    yield None
    except StoppedError:
        answer.finish_reason = "cancelled"
    finally:
        answer.close()
    yield answer.last_chunk(rows.n_decoded - computed_before)
