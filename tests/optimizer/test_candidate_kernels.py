"""The kernels on candidates against NumPy and plain Python."""

from __future__ import annotations

from typing import Any

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


def scratch(n: int) -> tuple[np.ndarray, ...]:
    return (
        np.empty((2, n), dtype=np.uint32),
        np.empty((2, n), dtype=np.int32),
        np.empty((3, kernels.RADIX), dtype=np.int32),
        np.empty(3 * n, dtype=np.int32),
    )


def top_p(logits: np.ndarray, p: float) -> tuple[list[int], np.ndarray]:
    *arrays, out = scratch(len(logits))
    bins = np.empty(kernels.N_BINS)
    n = kernels.top_p(candidates(logits), np.float32(p), bins, *arrays, out)
    return columns(out, n)


@given(LOGITS)
@settings(deadline=None)
def test_sorting_is_stable_and_leaves_out_the_impossible(logits: np.ndarray) -> None:
    *arrays, out = scratch(len(logits))
    n = kernels.sort_candidates(candidates(logits), *arrays, out)
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
    allowed = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=np.uint8)
    table = candidates(logits, ids)
    kept = [j for j in range(n) if allowed[ids[j]] and logits[j] > -np.inf]
    assert kernels.keep_allowed(table, allowed) == len(kept)
    found, values = columns(table, len(kept))
    assert found == ids[kept].tolist()
    np.testing.assert_array_equal(values, logits[kept])


def vocabulary(texts: list[bytes]) -> tuple[Any, Any, Any]:
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    shared = np.empty(len(texts), dtype=np.int32)
    kernels.shared_prefixes(data, offsets, shared)
    return data, offsets, shared


@given(st.lists(st.binary(min_size=1, max_size=5).map(lambda text: bytes(b % 4 for b in text))))
@settings(deadline=None)
def test_prefixes_that_neighbours_share(texts: list[bytes]) -> None:
    texts.sort()
    shared = vocabulary(texts)[2]
    for i, text in enumerate(texts):
        before = texts[i - 1] if i else b""
        assert before[: shared[i]] == text[: shared[i]]
        longer = shared[i] + 1
        assert longer > min(len(before), len(text)) or before[:longer] != text[:longer]


@given(
    st.lists(st.binary(min_size=1, max_size=5).map(lambda text: bytes(b % 3 for b in text))),
    hnp.arrays(np.int32, (5, 256), elements=st.integers(0, 4)),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_walking_takes_what_the_table_takes_and_asks_for_what_it_lacks(
    texts: list[bytes], full: np.ndarray, first: int
) -> None:
    texts.sort()
    full[0] = 0
    known = np.full_like(full, -1)
    known[0] = 0
    data, offsets, shared = vocabulary(texts)
    ids = np.arange(len(texts), dtype=np.int32)[::-1].copy()
    allowed = np.full(len(texts), 7, dtype=np.uint8)
    path = np.empty(6, dtype=np.int32)
    index, alive, asked = 0, 0, set()
    while True:
        index, alive, state, byte = kernels.walk_tokens(
            known, first, data, offsets, shared, ids, index, alive, path, allowed
        )
        if index == len(texts):
            break
        assert (state, byte) not in asked
        asked.add((state, byte))
        known[state, byte] = full[state, byte]
    for i, text in enumerate(texts):
        state = first
        for byte in text:
            state = full[state, byte]
        assert allowed[ids[i]] == (state != 0)
