"""Rows of logits become candidates: exact on a vocabulary of which nothing has to be left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from amulet_local import errors
from amulet_local.learning.teacher_forcing import ForcedAnswers, GivenAnswer, force
from amulet_local.llama import memory
from amulet_local.optimizer.weights_fit import log_likelihood

V, ENDS = 12, frozenset({3, 7})
WEIGHTS = np.array([1.5, -0.5])


class ScriptedRows:
    """Rows whose logits depend on row, position and the token before, in place of a RowSet."""

    n_outputs = 4

    def __init__(self) -> None:
        self.prompts: Sequence[Sequence[int]] = ()
        self.given: list[int] = []
        self.widths: list[int] = []

    def prefill(self, prompts: Sequence[Sequence[int]]) -> None:
        self.prompts, self.given = prompts, []

    def check_stop(self) -> None:
        """Nothing stops them."""

    def logits(self, row: int) -> np.ndarray:
        return scripted(row, self.given)

    def extend(self, tokens: Sequence[int]) -> list[list[np.ndarray]]:
        self.widths.append(len(tokens))
        return self.follow(tokens)

    def follow(self, tokens: Sequence[int]) -> list[list[np.ndarray]]:
        result = []
        for token in tokens:
            self.given.append(token)
            result.append([scripted(row, self.given) for row in range(len(self.prompts))])
        return result


def scripted(row: int, given: Sequence[int]) -> np.ndarray:
    seed = [row, len(given), given[-1] if given else 99]
    return np.random.default_rng(seed).normal(0, 2, V).astype(np.float32)


def answer(tokens: Sequence[int], *, ended: bool | None = None, liked: bool = True) -> GivenAnswer:
    return GivenAnswer(prompts=((1,), (2,), (3,)), tokens=tuple(tokens), ended=ended, liked=liked)


def forced(*answers: GivenAnswer, fast: bool = False, n_top: int = V) -> ForcedAnswers:
    rows = ScriptedRows()
    result = force(
        answers,
        rows,  # type: ignore[arg-type]
        n_vocab=V,
        end_tokens=ENDS,
        n_top=n_top,
        n_tail=2,
        fast=fast,
    )
    assert all(1 <= width <= rows.n_outputs for width in rows.widths)
    assert bool(rows.widths) == fast
    return result


def expected(one: GivenAnswer) -> float:
    """The answer's log-likelihood under WEIGHTS, token by token over the whole vocabulary."""
    total = 0.0
    for position in range(one.n_positions):
        rows = np.array([scripted(row, one.tokens[:position]) for row in range(3)], dtype=float)
        if one.ended is None:
            rows = np.delete(rows, sorted(ENDS), axis=1)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        weights = WEIGHTS if one.liked else -WEIGHTS
        scores = rows[0] + weights @ (rows[1:] - rows[0])
        names = [token for token in range(V) if one.ended is not None or token not in ENDS]
        if position < len(one.tokens):
            place = names.index(one.tokens[position])
        else:
            place = max(ENDS, key=lambda token: rows[0, token])
        total += scores[place] - math.log(np.exp(scores).sum())
    return total


ANSWERS = [
    answer([4, 5, 0, 11]),
    answer([4, 5, 0, 11], ended=False),
    answer([4, 5, 0, 11], ended=True),
    answer([8]),
    answer([2, 2, 6, 6, 2, 2, 6], ended=True, liked=False),
]


@pytest.mark.parametrize("one", ANSWERS)
def test_likelihood_is_that_of_the_whole_vocabulary(one: GivenAnswer) -> None:
    result = forced(one)
    assert result.choices.n_tokens == one.n_positions
    assert log_likelihood(result.choices, WEIGHTS) == pytest.approx(expected(one), abs=1e-4)


def test_answers_come_one_after_the_other() -> None:
    result = forced(*ANSWERS)
    assert result.answer_of.tolist() == [0] * 4 + [1] * 4 + [2] * 5 + [3] + [4] * 8
    total = sum(expected(one) for one in ANSWERS)
    assert log_likelihood(result.choices, WEIGHTS) == pytest.approx(total, abs=1e-3)


def test_several_tokens_at_once_give_the_same() -> None:
    one, several = forced(*ANSWERS), forced(*ANSWERS, fast=True)
    np.testing.assert_array_equal(several.choices.base, one.choices.base)
    np.testing.assert_array_equal(several.choices.chosen, one.choices.chosen)


def test_samples_are_spread_over_all_positions_and_know_their_token() -> None:
    many = [answer([position % 3 for position in range(200)], liked=False)]
    samples = forced(*many).samples
    places = [sample.position for sample in samples]
    assert len(places) >= 4
    assert max(np.diff([0, *places, 200])) < 2 * 200 / len(places)
    for sample in samples:
        assert sample.token == sample.position % 3
        assert not sample.liked


def test_what_does_not_fit_memory_is_refused_before_it_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
    with pytest.raises(errors.InvalidParameterError, match="top_tokens"):
        forced(*ANSWERS)
