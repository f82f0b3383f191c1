"""How much likelier each preference's prompt makes a given answer than the plain one does.

Knows nothing about what is learned from it. The answer is computed several tokens at a time, in a
row of its own that is as long as it needs and freed afterwards: what other rows have in memory
stays there. That rounds otherwise than a generation does, which a mean over an answer's tokens
bears; `score` is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from amulet_local.answering.scoring import answer_ids
from amulet_local.common.errors import PromptTooLongError
from amulet_local.common.results import LogRatios
from amulet_local.llama.context import Logits
from amulet_local.llama.rows import RowSet
from amulet_local.loading.shared_rows import SharedRows
from amulet_local.params.choices import Placement
from amulet_local.preferences.preference import Preference
from amulet_local.prompts.prompter import Messages, Prompter

N_OUTPUTS = 32
"""Tokens of an answer that are computed at once."""
N_LIKELIEST = 64
"""Tokens that the plain row's expectation is taken over one by one; the others are lumped."""

Floats = NDArray[np.float64]


def log_ratios(
    shared: SharedRows,
    prompter: Prompter,
    messages: Messages,
    responses: Sequence[str | Sequence[int]],
    bank: Sequence[Preference],
    *,
    finished: bool | Sequence[bool],
    max_tokens: int | None,
    system: str | None,
    placement: Placement,
) -> tuple[LogRatios, ...]:
    """The log-probability ratios of answers to the same messages, per token.

    Each prompt is computed once, and each answer after it.

    Args:
        shared: of the model.
        prompter: of this model.
        bank: at least one preference; weights don't matter.
        others: as for `Engine.log_ratios`.

    Raises:
        As `Engine.log_ratios`.
    """
    parts = shared.parts
    ends = np.array(sorted(parts.model.vocabulary.end_tokens), dtype=np.int64)
    are_finished = [finished] * len(responses) if isinstance(finished, bool) else finished
    answers = [
        _cut(answer_ids(shared, response), ends, whole, max_tokens)
        for response, whole in zip(responses, are_finished, strict=True)
    ]
    with shared.lock.using():
        instructions = ["", *(item.instruction for item in bank)]
        prompts = prompter.prompts(messages, instructions, system=system, placement=placement).rows
    n_needed = max(map(len, prompts)) + max(len(answer) for answer, _ in answers)
    if n_needed > parts.settings.n_ctx:
        raise PromptTooLongError(
            f"question and answer have {n_needed} tokens, and the context holds "
            f"{parts.settings.n_ctx}",
            n_prompt_tokens=n_needed,
            n_ctx=parts.settings.n_ctx,
        )
    settings = replace(parts.settings, n_ctx=n_needed, n_outputs=N_OUTPUTS)
    plan = replace(parts.plan, schedule="serial", reuse=True)
    compared = [_Compared(answer, ends if whole else ends[:0]) for answer, whole in answers]
    with shared.cancellable("the comparison"):
        rows = parts.new_rows(parts.model, settings, shared.stop_flag, plan)
        try:
            for number, prompt in enumerate(prompts):
                for one in compared:
                    one.take(_positions(rows, prompt, one.answer, is_plain=number == 0))
        finally:
            rows.close()
    return tuple(one.result() for one in compared)


def _cut(
    answer: Sequence[int], ends: NDArray[np.int64], finished: bool, max_tokens: int | None
) -> tuple[Sequence[int], bool]:
    """An answer's tokens without one that ends it, and whether it ends after them."""
    if answer[-1] in ends:
        answer, finished = answer[:-1], True
    if max_tokens is not None and len(answer) > max_tokens:
        answer, finished = answer[:max_tokens], False
    return answer, finished


def _positions(
    rows: RowSet, prompt: Sequence[int], answer: Sequence[int], *, is_plain: bool
) -> Iterator[Logits]:
    """The logits that each token of the answer, and what follows it, is chosen from."""
    rows.prefill([prompt], has_plain=is_plain)
    yield rows.logits(0)
    for start in range(0, len(answer), N_OUTPUTS):
        for (logits,) in rows.extend(answer[start : start + N_OUTPUTS]):
            yield logits
        rows.check_stop()


class _Compared:
    """Takes the rows of one answer one after the other, the plain one first."""

    def __init__(self, answer: Sequence[int], ends: NDArray[np.int64]) -> None:
        self.answer, self._ends = answer, ends
        self._likeliest: list[tuple[NDArray[np.int64], Floats, float]] = []
        self._chosen: list[Floats] = []
        self._expected: list[float] = []

    def take(self, positions: Iterator[Logits]) -> None:
        chosen, expected = [], []
        n = len(self.answer) + (len(self._ends) > 0)
        is_plain = not self._chosen
        for place, logits in zip(range(n), positions, strict=False):
            logs = logits - _log_sum(logits)
            if place < len(self.answer):
                chosen.append(float(logs[self.answer[place]]))
            else:
                chosen.append(_log_sum(logs[self._ends]))
            if is_plain:
                self._likeliest.append(_likeliest(logs))
            else:
                expected.append(_expected(logs, *self._likeliest[place]))
        self._chosen.append(np.array(chosen))
        if not is_plain:
            self._expected.append(float(np.mean(expected)))

    def result(self) -> LogRatios:
        plain, *others = self._chosen
        return LogRatios(
            means=tuple(float(np.mean(row - plain)) for row in others),
            expected=tuple(self._expected),
            n_tokens=len(plain),
        )


def _log_sum(values: NDArray[np.float32]) -> float:
    peak = float(values.max())
    return peak + float(np.log(np.exp(values - peak).sum(dtype=np.float64)))


def _likeliest(logs: NDArray[np.float32]) -> tuple[NDArray[np.int64], Floats, float]:
    """The plain row's likeliest tokens, their log-probabilities, and that of the rest."""
    n = min(N_LIKELIEST, len(logs) - 1)
    ids = np.argpartition(logs, -n)[-n:]
    own = logs[ids].astype(np.float64)
    return ids, own, _log_rest(own)


def _expected(
    logs: NDArray[np.float32], ids: NDArray[np.int64], plain: Floats, rest: float
) -> float:
    """The expectation of log p_k - log p_0 under p_0: minus a divergence, so at most 0."""
    own = logs[ids].astype(np.float64)
    return float(np.exp(plain) @ (own - plain) + np.exp(rest) * (_log_rest(own) - rest))


def _log_rest(logs: Floats) -> float:
    """The log-probability of what isn't among these, at least a rounding error's."""
    return float(np.log(max(1.0 - np.exp(logs).sum(), 1e-7)))
