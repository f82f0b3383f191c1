"""The kernels against float64 NumPy, on ordinary, extreme and broken rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local import AmuletParams
from amulet_local.common.errors import LogitsError
from amulet_local.optimizer.candidate_kernels import LANES, among_likeliest
from amulet_local.optimizer.realigner import Realigner

BLOCK = 4 * LANES
SIZES = [1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 49_152]


def rows(n_vocab: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    plain = (4 * rng.normal(size=n_vocab)).astype(np.float32)
    return plain, plain + rng.normal(size=n_vocab).astype(np.float32)


def oracle(plain: np.ndarray, preference: np.ndarray, scale: float) -> np.ndarray:
    """l0 + a * (l1 - l0) in float64, -inf where either row is -inf."""
    l0, l1 = plain.astype(np.float64), preference.astype(np.float64)
    dead = np.isneginf(l0) | np.isneginf(l1)
    l0, l1 = np.where(dead, 0, l0), np.where(dead, 0, l1)
    return np.where(dead, -np.inf, l0 + scale * (l1 - l0))


def candidate_table(realigner: Realigner) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = realigner.combined.candidates.reshape(-1, 3)
    return table[:, 0], table[:, 1].copy().view(np.float32), table[:, 2].copy().view(np.float32)


@pytest.mark.parametrize("n_vocab", SIZES)
@pytest.mark.parametrize("scale", [-2.0, 0.0, 0.5, 1.0, 3.0, 5.648699006951202])
def test_combination_equals_float64(n_vocab: int, scale: float) -> None:
    plain, preference = rows(n_vocab)
    realigner = Realigner(n_vocab)
    expected = oracle(plain, preference, scale)
    tolerance = 1e-5 * (1 + abs(scale))
    np.testing.assert_allclose(
        realigner.combine(plain, preference, scale), expected, atol=tolerance
    )
    realigner.fill_candidates(plain, preference, scale)
    ids, logits, probabilities = candidate_table(realigner)
    np.testing.assert_array_equal(ids, np.arange(n_vocab))
    np.testing.assert_allclose(logits, expected, atol=tolerance)
    np.testing.assert_array_equal(probabilities, 0)
    assert expected[realigner.greedy(plain, preference, scale)] >= expected.max() - 2 * tolerance


def test_kernel_equals_the_authors_combined_logits(golden_logits: dict[str, np.ndarray]) -> None:
    scale = AmuletParams().guidance_scale
    for plain, preference, combined in zip(
        golden_logits["base_logits"],
        golden_logits["pref_logits"],
        golden_logits["combined"],
        strict=True,
    ):
        realigner = Realigner(len(plain))
        difference = realigner.combine(plain, preference, scale) - combined
        assert np.ptp(difference) < 1e-3
        realigner.fill_candidates(plain, preference, scale)
        assert np.ptp(candidate_table(realigner)[1] - combined) < 1e-3
        assert realigner.greedy(plain, preference, scale) == combined.argmax()


@given(
    hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-100, 100, width=32)),
    st.floats(-5, 10),
)
@settings(deadline=None)
def test_greedy_is_a_largest_candidate(row: np.ndarray, scale: float) -> None:
    preference = np.roll(row, 1)
    realigner = Realigner(len(row))
    realigner.fill_candidates(row, preference, scale)
    logits = candidate_table(realigner)[1]
    assert logits[realigner.greedy(row, preference, scale)] == logits.max()


@pytest.mark.parametrize("n_vocab", [1, 255, 256, 257, *SIZES])
@pytest.mark.parametrize("k", [1, 2, 40, 10**6])
def test_candidates_for_a_top_k_have_the_likeliest_among_them(n_vocab: int, k: int) -> None:
    plain, preference = rows(n_vocab)
    realigner = Realigner(n_vocab)
    combined = realigner.combine(plain, preference, 3.0).copy()
    table = realigner.fill_candidates(
        plain, preference, 3.0, which=partial(among_likeliest, k)
    ).reshape(-1, 3)
    ids = table[:, 0]
    assert np.array_equal(np.unique(ids), ids)
    assert set(np.argsort(-combined)[:k]) <= set(ids)
    assert np.array_equal(table[:, 1].copy().view(np.float32), combined[ids])
    assert not table[:, 2].any()
    if n_vocab > 10_000 and k <= 40:
        assert len(ids) < n_vocab / 20


@given(
    hnp.arrays(np.float32, st.integers(1, 1500), elements=st.integers(-3, 3)),
    st.integers(1, 6),
)
@settings(deadline=None)
def test_all_that_equal_the_last_of_a_top_k_are_candidates(row: np.ndarray, k: int) -> None:
    realigner = Realigner(len(row))
    ids = realigner.fill_candidates(row, row, 1.0, which=partial(among_likeliest, k))[0::3]
    least = np.sort(row)[-min(k, len(row))]
    assert set(np.flatnonzero(row >= least)) <= set(ids)


def test_candidates_for_a_top_k_survive_impossible_tokens_and_refuse_nan() -> None:
    plain, preference = rows(30_000)
    plain[:29_000] = -np.inf
    realigner = Realigner(30_000)
    ids = realigner.fill_candidates(plain, preference, 3.0, which=partial(among_likeliest, 5))[0::3]
    assert set(np.argsort(-oracle(plain, preference, 3.0))[:5]) <= set(ids)
    preference[7] = np.nan
    with pytest.raises(LogitsError, match="7"):
        realigner.fill_candidates(plain, preference, 3.0, which=partial(among_likeliest, 5))


def test_first_of_equal_maxima_is_taken() -> None:
    row = np.zeros(2 * BLOCK, dtype=np.float32)
    row[[17, 40, BLOCK + 3]] = 2.0
    assert Realigner(2 * BLOCK).greedy(row, row, 5.65) == 17


@pytest.mark.parametrize("position", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 4])
def test_maximum_is_found_wherever_it_is(position: int) -> None:
    n_vocab = 2 * BLOCK + 5
    plain = np.full(n_vocab, -3.0, dtype=np.float32)
    plain[position] = -2.0
    assert Realigner(n_vocab).greedy(plain, plain, 5.0) == position


def test_scale_one_returns_the_preference_row_exactly() -> None:
    plain, preference = rows(5000)
    assert np.array_equal(Realigner(5000).combine(plain, preference, 1.0), preference)


def test_equal_rows_come_back_exactly_at_any_scale() -> None:
    plain, _ = rows(5000)
    for scale in (0.0, 0.7, 5.65):
        assert np.array_equal(Realigner(5000).combine(plain, plain, scale), plain)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 5.65])
def test_token_that_is_impossible_in_any_row_stays_impossible(scale: float) -> None:
    plain, preference = rows(3000)
    plain[[5, 100]] = -np.inf
    preference[[7, 100, 2999]] = -np.inf
    best = int(oracle(plain, preference, scale).argmax())
    realigner = Realigner(3000)
    realigner.fill_candidates(plain, preference, scale)
    logits = candidate_table(realigner)[1]
    assert set(np.flatnonzero(np.isneginf(logits))) == {5, 7, 100, 2999}
    assert realigner.greedy(plain, preference, scale) == best


@pytest.mark.parametrize("bad", [np.nan, np.inf, np.copysign(np.nan, -1)])
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.65])
def test_nan_or_infinity_is_an_error_and_never_a_token(bad: float, row: int, scale: float) -> None:
    pair = rows(3000)
    pair[row][1234] = bad
    realigner = Realigner(3000)
    with pytest.raises(LogitsError, match="1234"):
        realigner.greedy(*pair, scale)
    with pytest.raises(LogitsError, match="1234"):
        realigner.fill_candidates(*pair, scale)


def test_nan_beside_an_impossible_token_is_an_error() -> None:
    plain, preference = rows(10)
    plain[3], preference[3] = np.nan, -np.inf
    with pytest.raises(LogitsError):
        Realigner(10).greedy(plain, preference, 5.0)


def test_nothing_left_is_an_error() -> None:
    dead = np.full(100, -np.inf, dtype=np.float32)
    with pytest.raises(LogitsError, match="no token is left"):
        Realigner(100).greedy(dead, dead, 5.0)


def test_overflow_of_finite_logits_is_an_error() -> None:
    plain = np.array([-3e38, 0], dtype=np.float32)
    with pytest.raises(LogitsError):
        Realigner(2).greedy(plain, -plain, 5.0)


def test_error_leaves_the_realigner_usable() -> None:
    plain, preference = rows(3000)
    broken = plain.copy()
    broken[0] = np.nan
    realigner = Realigner(3000)
    before = realigner.greedy(plain, preference, 3.0)
    with pytest.raises(LogitsError):
        realigner.greedy(broken, preference, 3.0)
    assert realigner.greedy(plain, preference, 3.0) == before
