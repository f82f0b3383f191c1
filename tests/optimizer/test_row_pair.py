"""The rows of one step: their maximum is found once, and never that of other rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local.common.errors import LogitsError
from amulet_local.optimizer.realigner import Realigner
from amulet_local.optimizer.row_pair import RowPair
from amulet_local.steering.presets import PRESETS
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering

Pair = tuple[np.ndarray, np.ndarray]


class CountingRealigner(Realigner):
    """Counts the passes over rows that look for a maximum at scale 1."""

    def __init__(self, n_vocab: int) -> None:
        super().__init__(n_vocab)
        self.n_passes = 0

    def peak(self, plain: np.ndarray, preference: np.ndarray) -> tuple[int, bool]:
        self.n_passes += 1
        return super().peak(plain, preference)

    def greedy(
        self,
        plain: np.ndarray,
        preference: np.ndarray,
        guidance_scale: float,
        tokens: np.ndarray | None = None,
    ) -> int:
        self.n_passes += guidance_scale == 1.0 and tokens is None
        return super().greedy(plain, preference, guidance_scale, tokens)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Rows where ties and impossible tokens are common, with one that is possible in both."""
    n = draw(st.integers(2, 40))
    value = st.integers(-3, 3).map(float) | st.just(-np.inf)
    plain, preference = (draw(hnp.arrays(np.float32, n, elements=value)) for _ in range(2))
    assume(np.isfinite(plain + preference).any())
    return plain, preference


@given(pairs(), st.data())
@settings(deadline=None)
def test_what_is_remembered_is_what_the_rows_say(pair: Pair, data: st.DataObject) -> None:
    plain, preference = pair
    realigner = Realigner(len(plain))
    rows = RowPair(realigner, plain, preference)
    if data.draw(st.booleans(), label="asked before"):
        rows.log_p(0)
    refused = data.draw(st.lists(st.integers(0, len(plain) - 1), max_size=4), label="refused")
    left = rows.without(refused)
    assume(np.isfinite(left.plain + left.preference).any())
    for asked in (left, rows, left.restrained(np.array([1], dtype=np.int32))):
        alive = (asked.plain > -np.inf) & (asked.preference > -np.inf)
        assert asked.best == np.where(alive, asked.preference, -np.inf).argmax()
        assert asked.top == asked.preference.argmax()
        entropy = realigner.entropy(asked.preference, asked.preference, 1.0)
        assert asked.entropy() == pytest.approx(entropy, abs=1e-5)
        normaliser = realigner.log_normaliser(asked.preference)
        assert asked.log_p(1) == pytest.approx(float(asked.preference[1]) - normaliser, abs=1e-5)
        assert asked.scale_within(4.0, 0.3, None) == realigner.scale_within(
            asked.plain, asked.preference, 4.0, 0.3
        )


def test_rows_are_searched_once_whatever_is_asked_of_them() -> None:
    rng = np.random.default_rng(3)
    plain, preference = rng.normal(size=(2, 5000)).astype(np.float32)
    likely = int(preference.argmax())
    realigner = CountingRealigner(5000)
    rows = RowPair(realigner, plain, preference)
    rows.log_p(7)
    guarded = rows.without([t for t in (3, 4, 5) if t != likely]).shrunken(0.1)
    guarded = guarded.restrained(np.array([likely], dtype=np.int32))
    guarded.plausible(0.01, 1.0, 1.0)
    guarded.scale_within(4.0, 0.2, None)
    guarded.entropy()
    assert realigner.n_passes == 1


@pytest.mark.parametrize("text", ["word ", "End. "])
@pytest.mark.parametrize("preset", ["balanced", "strong"])
def test_a_guarded_step_searches_its_rows_once(preset: str, text: str) -> None:
    rng = np.random.default_rng(3)
    realigner = CountingRealigner(900)
    plan = RowPlan(has_plain=True, weights=(1.0,))
    steering = Steering(plan, PRESETS[preset].amulet, realigner, end_tokens=(900 - 1,))
    for token in range(20):
        rows = list(rng.normal(size=(2, 900)).astype(np.float32))
        rows[1][token] = rows[0][token] = 9.0
        assert steering.combine(rows).scale > 1
        steering.likeliest()
        steering.accept(token, text)
        assert realigner.n_passes == token + 1


def test_rows_without_their_likeliest_token_are_searched_again() -> None:
    plain, preference = np.zeros((2, 9), dtype=np.float32)
    preference[[4, 6]] = 3.0, 2.0
    rows = RowPair(Realigner(9), plain, preference)
    assert (rows.best, rows.without([4]).best, rows.without([4, 6]).best) == (4, 6, 0)
    assert preference[4] == 3.0


def test_a_likeliest_token_that_the_plain_row_rules_out_is_not_the_pairs() -> None:
    plain = np.array([-np.inf, 0, 0], dtype=np.float32)
    preference = np.array([5, 1, 2], dtype=np.float32)
    rows = RowPair(Realigner(3), plain, preference)
    assert (rows.best, rows.top) == (2, 0)


@pytest.mark.parametrize("row", [0, 1])
def test_a_nan_in_either_row_is_an_error(row: int) -> None:
    pair = np.zeros((2, 9), dtype=np.float32)
    pair[row, 5] = np.nan
    with pytest.raises(LogitsError, match="5"):
        RowPair(Realigner(9), *pair).log_p(1)


@given(pairs(), st.data())
@settings(deadline=None)
def test_a_gain_is_the_ratio_of_what_tokens_have_in_the_rows(
    pair: Pair, data: st.DataObject
) -> None:
    plain, preference = pair
    tokens = data.draw(st.lists(st.integers(0, len(plain) - 1), min_size=1, unique=True))
    shares = [
        np.logaddexp.reduce(row[tokens].astype(np.float64))
        - np.logaddexp.reduce(row.astype(np.float64))
        for row in (preference, plain)
    ]
    gain = RowPair(Realigner(len(plain)), plain, preference).gain(tokens)
    if shares[0] == -np.inf:
        assert gain == -np.inf
    else:
        assert gain == pytest.approx(shares[0] - shares[1], abs=1e-5)
