"""The kernels on candidates against NumPy and plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local.optimizer import candidate_kernels as kernels

LOGITS = hnp.arrays(
    np.float32,
    st.integers(1, 400),
    elements=st.floats(-60, 60, width=32) | st.just(float("-inf")) | st.sampled_from([0.0, -0.0]),
)


def candidates(logits: np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
    table = np.zeros((len(logits), 3), dtype=np.int32)
    table[:, 0] = np.arange(len(logits)) if ids is None else ids
    table[:, 1] = logits.view(np.int32)
    return table.reshape(-1)


def columns(table: np.ndarray, n: int) -> tuple[list[int], np.ndarray]:
    return table[: 3 * n : 3].tolist(), table[1 : 3 * n : 3].copy().view(np.float32)


def top_p(logits: np.ndarray, p: float) -> tuple[list[int], np.ndarray]:
    out = np.empty(3 * len(logits), dtype=np.int32)
    return columns(out, kernels.top_p(candidates(logits), p, out))


@given(LOGITS)
@settings(deadline=None)
def test_sorting_is_stable_and_leaves_out_the_impossible(logits: np.ndarray) -> None:
    out = np.empty(3 * len(logits), dtype=np.int32)
    n = kernels.sort_candidates(candidates(logits), out)
    ids, values = columns(out, n)
    possible = np.flatnonzero(logits > -np.inf)
    order = np.lexsort((np.signbit(logits[possible]), -logits[possible]))  # 0 comes before -0
    expected = possible[order]
    assert ids == expected.tolist()
    np.testing.assert_array_equal(values, logits[expected])


@given(LOGITS, st.sampled_from([0.01, 0.3, 0.5, 0.9, 0.95, 0.999]))
@settings(deadline=None)
def test_top_p_keeps_the_likeliest_that_make_up_p(logits: np.ndarray, p: float) -> None:
    ids, values = top_p(logits, p)
    if np.isneginf(logits).all():
        assert ids == []
        return
    assert len(set(ids)) == len(ids)
    assert (np.diff(values) <= 0).all()
    others = np.delete(logits, ids)
    assert others.size == 0 or others.max() <= values[-1]
    mass = np.exp(logits.astype(np.float64) - logits.max())
    mass /= mass.sum()
    assert mass[ids].sum() >= p - 1e-5 or len(ids) == len(logits)
    assert mass[ids[:-1]].sum() < p + 1e-5


def added_up_in_order(logits: np.ndarray, p: float) -> int:
    """How many tokens llama.cpp's top-p keeps: every term is added, and every token is sorted."""
    mass = np.exp((logits - logits.max()).astype(np.float64)).astype(np.float32)
    total = np.float32(0)
    for term in mass:
        total += term
    so_far = np.float32(0)
    for n, term in enumerate(np.sort(mass)[::-1], 1):
        so_far += term / total
        if so_far >= np.float32(p):
            return n
    return len(mass)


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("likeliest_at", [0, 700, 5_999])
@pytest.mark.parametrize("p", [0.5, 0.95, 0.999, 1 - 1e-7])
def test_terms_that_no_sum_notices_change_no_nucleus(
    scale: float, likeliest_at: int, p: float
) -> None:
    logits = (scale * np.random.default_rng(1).normal(size=6_000)).astype(np.float32)
    logits[likeliest_at] = logits.max() + 1
    logits[-1] = -np.inf
    expected = added_up_in_order(logits, p)
    found, _ = top_p(logits, p)
    assert len(found) == expected
    if p < 0.99:
        near = kernels.countable(logits)
        out = np.empty(3 * len(logits), dtype=np.int32)
        n = kernels.top_p(candidates(logits[near], near), p, out)
        assert columns(out, n)[0] == found


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 3.0, 8.0])
def test_top_p_of_a_whole_vocabulary(scale: float) -> None:
    logits = (scale * np.random.default_rng(0).normal(size=49_152)).astype(np.float32)
    mass = np.sort(np.exp(logits.astype(np.float64) - logits.max()))[::-1]
    mass /= mass.sum()
    for p in (0.1, 0.9, 0.95):
        expected = int(np.searchsorted(mass.cumsum(), p)) + 1
        assert abs(len(top_p(logits, p)[0]) - expected) <= 1e-3 * expected


@given(LOGITS, st.data())
@settings(deadline=None)
def test_allowed_candidates_move_to_the_front_in_order(
    logits: np.ndarray, data: st.DataObject
) -> None:
    n = len(logits)
    ids = np.array(data.draw(st.permutations(range(n))), dtype=np.int32)
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    table = candidates(logits, ids)
    kept = [j for j in range(n) if allowed[ids[j]] and logits[j] > -np.inf]
    assert kernels.keep_allowed(table, allowed) == len(kept)
    found, values = columns(table, len(kept))
    assert found == ids[kept].tolist()
    np.testing.assert_array_equal(values, logits[kept])
