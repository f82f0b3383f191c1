"""The guards' formulas against float64 NumPy over the whole vocabulary, on real and made rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from amulet_local.common.errors import LogitsError
from amulet_local.optimizer.candidate_kernels import LANES
from amulet_local.optimizer.realigner import PLAUSIBLE, Realigner

BLOCK = 4 * LANES
SCALES = [0.0, 0.5, 1.0, 1.93, 4.0, 5.648699006951202]
Pair = tuple[np.ndarray, np.ndarray]


# --- the formulas, in float64 -------------------------------------------------------------------


def wide(*rows: np.ndarray) -> list[np.ndarray]:
    return [row.astype(np.float64) for row in rows]


def alive(plain: np.ndarray, preference: np.ndarray) -> np.ndarray:
    return ~(np.isneginf(plain) | np.isneginf(preference))


def combined64(pair: Pair, scale: float) -> np.ndarray:
    """l0 + a * (l1 - l0), -inf where either row is."""
    plain, preference = wide(*pair)
    result = np.full(len(plain), -np.inf)
    is_alive = alive(*pair)
    result[is_alive] = plain[is_alive] + scale * (preference[is_alive] - plain[is_alive])
    return result


def log_softmax(row: np.ndarray) -> np.ndarray:
    peak = row.max()
    return row - (peak + np.log(np.exp(row - peak).sum()))


def entropy64(row: np.ndarray) -> float:
    log_p = log_softmax(row)
    log_p = log_p[log_p > -np.inf]
    return float(-(np.exp(log_p) * log_p).sum())


def plausible64(pair: Pair, beta: float) -> np.ndarray:
    """Which tokens have at least beta times the largest probability under l1."""
    reference = combined64(pair, 1.0)
    return reference >= reference.max() + np.log(beta)


def divergence64(pair: Pair, scale: float, kept: np.ndarray) -> float:
    """KL(pi_a || pi_1) over the tokens `kept`."""
    log_p = log_softmax(combined64(pair, scale)[kept])
    log_q = log_softmax(combined64(pair, 1.0)[kept])
    counted = log_p > -700
    return float((np.exp(log_p[counted]) * (log_p[counted] - log_q[counted])).sum())


def scale64(pair: Pair, ceiling: float, budget: float, kept: np.ndarray) -> float:
    """Largest scale in [1, ceiling] within the budget, by bisection."""
    low, high = 1.0, ceiling
    if divergence64(pair, ceiling, kept) <= budget:
        return ceiling
    for _ in range(40):
        middle = (low + high) / 2
        if divergence64(pair, middle, kept) <= budget:
            low = middle
        else:
            high = middle
    return low


def center64(pair: Pair, counted: np.ndarray) -> float:
    plain, preference = wide(*pair)
    return float((preference[counted] - plain[counted]).mean())


# --- rows ---------------------------------------------------------------------------------------


def made_rows(n_vocab: int, seed: int = 0) -> Pair:
    rng = np.random.default_rng(seed)
    plain = (4 * rng.normal(size=n_vocab)).astype(np.float32)
    return plain, plain + rng.normal(size=n_vocab).astype(np.float32)


@st.composite
def pairs(draw: st.DrawFn, bound: float = 30.0) -> Pair:
    """Two rows with a token that is possible in both: ties, flat rows and -inf are common."""
    n = draw(st.integers(1, 60))
    value = st.floats(-bound, bound, width=32) | st.integers(-3, 3).map(float) | st.just(-np.inf)
    plain, preference = (
        draw(hnp.arrays(np.float32, n, elements=value, fill=st.integers(-3, 3).map(float)))
        for _ in range(2)
    )
    assume(alive(plain, preference).any())
    return plain, preference


@pytest.fixture(scope="session")
def real_pairs(real_rows: np.ndarray) -> list[Pair]:
    """Plain and preference rows of the embedded model, every third step of an answer."""
    return [(step[0], step[row]) for step in real_rows[::3] for row in (1, 2)]


def realigner_for(pair: Pair) -> Realigner:
    return Realigner(len(pair[0]))


def scale_within(pair: Pair, ceiling: float, budget: float, *mask: float) -> float:
    """The scale for a budget over all tokens, or over those that a mask leaves."""
    realigner = realigner_for(pair)
    tokens = realigner.plausible(*pair, *mask) if any(mask) else None
    return realigner.scale_within(*pair, ceiling, budget, tokens)


# --- cap ----------------------------------------------------------------------------------------


def assert_capped(pair: Pair, most: float) -> None:
    """The rows' difference of log-probabilities is min(that of the given rows, most)."""
    plain, preference = wide(*pair)
    capped = realigner_for(pair).cap(*pair, most)
    possible = alive(*pair)
    gains = log_softmax(preference)[possible] - log_softmax(plain)[possible]
    offset = offset64(plain, preference)
    found = preference[possible] - capped.astype(np.float64)[possible] - offset
    within = 2e-5 * (1 + np.abs(gains).max())
    np.testing.assert_allclose(found, np.minimum(gains, most), atol=within)
    assert np.array_equal(np.isneginf(capped), np.isneginf(plain))


def offset64(plain: np.ndarray, preference: np.ndarray) -> float:
    """What two rows' normalisers differ by: logits less it are log-probabilities' differences."""
    return float(np.logaddexp.reduce(preference) - np.logaddexp.reduce(plain))


@pytest.mark.parametrize("most", [0.01, 1.0, 3.0, 20.0])
def test_gains_of_real_rows_are_capped_as_float64_caps_them(
    real_pairs: list[Pair], most: float
) -> None:
    for pair in real_pairs:
        assert_capped(pair, most)


@given(pairs(), st.floats(0.01, 50.0))
@settings(deadline=None)
def test_gains_of_any_rows_are_capped_as_float64_caps_them(pair: Pair, most: float) -> None:
    assert_capped(pair, most)


def test_a_cap_doesnt_depend_on_the_constants_of_the_rows() -> None:
    plain, preference = made_rows(500)
    realigner = Realigner(500)
    expected = realigner.combine(realigner.cap(plain, preference, 0.5), preference, 3.0)
    expected = log_softmax(expected.astype(np.float64))
    shifted = plain + np.float32(7), preference - np.float32(4)
    found = realigner.combine(realigner.cap(*shifted, 0.5), shifted[1], 3.0)
    np.testing.assert_allclose(log_softmax(found.astype(np.float64)), expected, atol=1e-4)


# --- mask ---------------------------------------------------------------------------------------


def assert_plausible(pair: Pair, beta: float) -> None:
    found = realigner_for(pair).plausible(*pair, beta)
    assert found.dtype == np.int32
    reference = combined64(pair, 1.0)
    distance = reference - reference.max() - np.log(beta)
    sure = np.abs(distance) > 1e-5 * (1 + abs(reference.max()))
    expected = np.flatnonzero((distance >= 0) & sure)
    assert list(found) == sorted(set(found))
    assert set(expected) <= set(found) <= set(expected) | set(np.flatnonzero(~sure))
    assert int(reference.argmax()) in found


@pytest.mark.parametrize("beta", [1e-6, 0.01, 0.1, 0.5, 1.0])
def test_plausible_tokens_of_real_rows_are_those_of_float64(
    real_pairs: list[Pair], beta: float
) -> None:
    for pair in real_pairs:
        assert_plausible(pair, beta)


@given(pairs(), st.floats(1e-30, 1.0))
@settings(deadline=None)
def test_plausible_tokens_of_any_rows_are_those_of_float64(pair: Pair, beta: float) -> None:
    assert_plausible(pair, beta)


@pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 3 * BLOCK + 4])
def test_plausible_token_is_found_wherever_it_is(position: int) -> None:
    plain = np.full(3 * BLOCK + 5, -9.0, dtype=np.float32)
    preference = plain.copy()
    preference[[7, position]] = 2.0
    assert set(Realigner(len(plain)).plausible(plain, preference, 0.5)) == {7, position}


def test_beta_one_keeps_the_tied_best_only() -> None:
    plain, preference = made_rows(500)
    preference[[3, 400]] = preference.max() + 1
    assert list(Realigner(500).plausible(plain, preference, 1.0)) == [3, 400]


def nucleus64(reference: np.ndarray, temperature: float) -> np.ndarray:
    """For each token the probability of all that are likelier, by float64."""
    weights = np.exp((reference - reference.max()) / temperature)
    order = np.argsort(-weights, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    before = np.empty_like(shares)
    before[order] = np.concatenate(([0.0], shares[:-1]))
    return before


@pytest.mark.parametrize("temperature", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("probability", [1e-9, 0.3, 0.8, 0.999999])
def test_nucleus_of_real_rows_is_that_of_float64(
    real_pairs: list[Pair], probability: float, temperature: float
) -> None:
    for pair in real_pairs:
        found = realigner_for(pair).plausible(*pair, 0.0, probability, temperature)
        before = nucleus64(combined64(pair, 1.0), temperature)
        assert list(found) == sorted(set(found))
        # Neighbours whose logits are as good as equal in float32 may change places.
        places = 1e-7 + 2 / len(before)
        assert set(np.flatnonzero(before < probability - places)) <= set(found)
        assert set(found) <= set(np.flatnonzero(before < probability + places))


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.8, 0.99])
def test_nucleus_is_what_top_p_of_llama_cpp_leaves(
    real_pairs: list[Pair], probability: float
) -> None:
    import llama_cpp

    sampler = llama_cpp.llama_sampler_init_top_p(probability, 1)
    for pair in real_pairs:
        n = len(pair[1])
        table = (llama_cpp.llama_token_data * n)()
        for token, value in enumerate(pair[1]):
            table[token] = llama_cpp.llama_token_data(token, value, 0.0)
        array = llama_cpp.llama_token_data_array(table, n, -1, False)
        llama_cpp.llama_sampler_apply(sampler, array)
        left = {array.data[place].id for place in range(array.size)}
        differing = left ^ set(realigner_for(pair).plausible(*pair, 0.0, probability))
        before = nucleus64(combined64(pair, 1.0), 1.0)  # llama.cpp adds up in float32
        assert all(abs(before[token] - probability) < 2e-4 for token in differing)
    llama_cpp.llama_sampler_free(sampler)


def test_nucleus_is_taken_from_what_the_plausibility_leaves() -> None:
    probabilities = np.array([0.4, 0.3, 0.2, 0.1], dtype=np.float32)
    row = np.log(probabilities)
    assert list(Realigner(4).plausible(row, row, 0.6, 0.5)) == [0]  # 4/7 and 3/7
    assert list(Realigner(4).plausible(row, row, 0.0, 0.5)) == [0, 1]


def test_nucleus_leaves_out_what_the_plain_row_rules_out() -> None:
    plain = np.array([-np.inf, 0, 0, 0], dtype=np.float32)
    preference = np.array([5, 1, 0, -9], dtype=np.float32)
    assert list(Realigner(4).plausible(plain, preference, 0.0, 0.9)) == [1, 2]


@pytest.mark.parametrize("ceiling", [1.5, 6.0])
def test_budget_counts_the_nucleus_alone(ceiling: float) -> None:
    """Of two tokens left, at scale a the odds are those of l1 + (a - 1)(l1 - l0)."""
    plain = np.array([0, 1, -4, -4], dtype=np.float32)
    preference = np.array([1, 0.9, -4, -3], dtype=np.float32)
    scale = scale_within((plain, preference), ceiling, 0.1, 0.0, 0.9)
    free = Realigner(4).scale_within(plain[:2], preference[:2], ceiling, 0.1)
    assert scale == pytest.approx(free, rel=1e-6)


# --- KL budget ----------------------------------------------------------------------------------


def assert_within(pair: Pair, ceiling: float, budget: float, beta: float, slack: float) -> None:
    """The result's divergence, by float64, is the whole budget unless the scale is the ceiling."""
    kept = plausible64(pair, beta) if beta else alive(*pair)
    scale = scale_within(pair, ceiling, budget, beta)
    assert 1.0 <= scale <= ceiling
    divergence = divergence64(pair, scale, kept)
    assert divergence <= budget + slack
    assert scale == ceiling or divergence >= 0.99 * budget - slack


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("budget", [0.02, 0.5, 2.0])
@pytest.mark.parametrize("ceiling", [1.5, 5.648699006951202, 20.0])
def test_scale_of_real_rows_spends_the_budget_or_is_the_ceiling(
    real_pairs: list[Pair], ceiling: float, budget: float, beta: float
) -> None:
    for pair in real_pairs:
        assert_within(pair, ceiling, budget, beta, slack=1e-3 * budget)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_scale_of_real_rows_is_that_of_a_bisection_in_float64(
    real_pairs: list[Pair], beta: float
) -> None:
    scales = []
    ceiling = 3.5  # processors round differently, and so write different answers
    for pair in real_pairs[::2]:
        kept = plausible64(pair, beta) if beta else alive(*pair)
        expected = scale64(pair, ceiling, 0.2, kept)
        scale = scale_within(pair, ceiling, 0.2, beta)
        assert scale == pytest.approx(expected, rel=2e-3)
        scales.append(expected)
    assert min(scales) < ceiling <= max(scales)


@given(
    pairs(),
    st.floats(1.0, 20.0, exclude_min=True),
    st.floats(0.001, 10.0),
    st.sampled_from([0.0, 0.03, 0.5]),
)
@settings(deadline=None)
def test_scale_of_any_rows_spends_the_budget_or_is_the_ceiling(
    pair: Pair, ceiling: float, budget: float, beta: float
) -> None:
    reference = combined64(pair, 1.0)
    assume(not beta or np.abs(reference - reference.max() - np.log(beta)).min() > 1e-4)
    assert_within(pair, ceiling, budget, beta, slack=1e-3 * budget + 1e-3)


@given(pairs(bound=1e4), st.floats(0.01, 5.0))
@settings(deadline=None)
def test_huge_differences_stay_within_the_budget(pair: Pair, budget: float) -> None:
    scale = realigner_for(pair).scale_within(*pair, 6.0, budget)
    assert 1.0 <= scale <= 6.0
    assert divergence64(pair, scale, alive(*pair)) <= 1.01 * budget + 0.01


def test_differences_of_any_finite_size_give_a_scale() -> None:
    for size in (1e6, 1e15, 1e30):
        plain = np.array([0, -size, size], dtype=np.float32)
        preference = np.array([0, size, -size], dtype=np.float32)
        assert 1.0 <= Realigner(3).scale_within(plain, preference, 6.0, 0.5) <= 6.0


def test_likelihoods_that_cross_late_spend_the_budget() -> None:
    """Next to no divergence until the logits cross, then a step (once broken)."""
    pair = np.array([3.0, -22.75], dtype=np.float32), np.array([21.0, -3.0], dtype=np.float32)
    for ceiling in (14.0, 16.0, 30.0):
        assert_within(pair, ceiling, 1.0, 0.0, slack=1e-3)


def test_larger_budget_never_gives_a_smaller_scale(real_pairs: list[Pair]) -> None:
    for pair in real_pairs:
        realigner = realigner_for(pair)
        scales = [
            realigner.scale_within(*pair, 8.0, budget)
            for budget in (0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 1.0, 3.0, 1000.0)
        ]
        assert scales == sorted(scales)
        assert scales[0] == pytest.approx(1.0)
        assert scales[-1] == 8.0


def test_equal_rows_take_the_ceiling() -> None:
    row = np.arange(4, dtype=np.float32)
    assert Realigner(4).scale_within(row, row, 7.0, 0.01) == 7.0
    assert Realigner(4).scale_within(row - 5, row, 7.0, 0.01) == 7.0


@pytest.mark.parametrize("scale", [-3.0, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_scale_up_to_one_is_left_alone(scale: float, beta: float) -> None:
    assert scale_within(made_rows(300), scale, 1e-6, beta) == scale


# --- shrinking and restraining ------------------------------------------------------------------


def assert_shrunken(pair: Pair, threshold: float) -> None:
    plain, preference = wide(*pair)
    is_alive = alive(*pair)
    reference = combined64(pair, 1.0)
    likely = is_alive & (reference >= reference.max() + np.log(PLAUSIBLE))
    center = center64(pair, likely)
    expected = np.full(len(plain), -np.inf)
    d = preference[is_alive] - plain[is_alive] - center
    expected[is_alive] = preference[is_alive] - np.sign(d) * np.maximum(np.abs(d) - threshold, 0)
    found = realigner_for(pair).shrink(*pair, threshold)
    np.testing.assert_allclose(found, expected, atol=2e-5 * (1 + np.abs(d).max()))


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.15, 1.0, 50.0])
def test_shrunken_differences_of_real_rows_are_those_of_float64(
    real_pairs: list[Pair], threshold: float
) -> None:
    for pair in real_pairs:
        assert_shrunken(pair, threshold)


@given(pairs(), st.floats(0, 10))
@settings(deadline=None)
def test_shrunken_differences_of_any_rows_are_those_of_float64(
    pair: Pair, threshold: float
) -> None:
    assert_shrunken(pair, threshold)


def test_shrinking_away_every_difference_leaves_the_preference_row_at_any_scale(
    real_pairs: list[Pair],
) -> None:
    plain, preference = real_pairs[0]
    realigner = Realigner(len(plain))
    shrunken = realigner.shrink(plain, preference, 1000.0)
    assert np.array_equal(realigner.combine(shrunken, preference, 5.65), preference)


def assert_restrained(pair: Pair, held: np.ndarray) -> None:
    plain, preference = wide(*pair)
    is_alive = alive(*pair)
    reference = combined64(pair, 1.0)
    likely = is_alive & (reference >= reference.max() + np.log(PLAUSIBLE))
    is_held = np.isin(np.arange(len(plain)), held)
    counted = likely & ~is_held
    if not counted.any():
        counted = np.arange(len(plain)) == reference.argmax()
    center = center64(pair, counted)
    expected = plain.copy()
    touched = is_alive & is_held
    expected[touched] = preference[touched] - np.minimum(
        preference[touched] - plain[touched], center
    )
    found = realigner_for(pair).restrain(*pair, held)
    assert np.array_equal(found[~is_held], pair[0][~is_held])
    np.testing.assert_allclose(
        found[is_held], expected[is_held], atol=2e-5 * (1 + np.abs(expected[is_alive]).max())
    )


def test_restrained_tokens_of_real_rows_are_those_of_float64(real_pairs: list[Pair]) -> None:
    for pair in real_pairs:
        for row in pair:
            assert_restrained(pair, np.argsort(-row)[[0, 2, 5, 300]].astype(np.int32))


@given(pairs(), st.data())
@settings(deadline=None)
def test_restrained_tokens_of_any_rows_are_those_of_float64(pair: Pair, data: Any) -> None:
    token = st.integers(0, len(pair[0]) - 1)
    held = sorted(data.draw(st.sets(token, min_size=1), label="held"))
    assert_restrained(pair, np.array(held, dtype=np.int32))


def test_restrained_token_gains_nothing_on_the_other_likely_ones() -> None:
    plain = np.array([2.0, 1.0, 1.0, -20.0], dtype=np.float32)
    preference = np.array([2.0, 1.0, 2.0, -20.0], dtype=np.float32)
    realigner = Realigner(4)
    assert realigner.greedy(plain, preference, 4.0) == 2
    restrained = realigner.restrain(plain, preference, np.array([2], dtype=np.int32))
    assert np.ptp(realigner.combine(restrained, preference, 4.0) - preference) < 1e-6


# --- entropy and normaliser ---------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_entropy_of_real_rows_is_that_of_float64(real_pairs: list[Pair], scale: float) -> None:
    for pair in real_pairs:
        found = realigner_for(pair).entropy(*pair, scale)
        assert found == pytest.approx(entropy64(combined64(pair, scale)), abs=2e-5)


@given(pairs(), st.sampled_from([-2.0, *SCALES]))
@settings(deadline=None)
def test_entropy_of_any_rows_is_that_of_float64(pair: Pair, scale: float) -> None:
    found = realigner_for(pair).entropy(*pair, scale)
    assert found == pytest.approx(entropy64(combined64(pair, scale)), abs=1e-3)


def test_entropy_of_a_flat_row_is_the_logarithm_of_its_length() -> None:
    row = np.full(3 * BLOCK + 1, 2.5, dtype=np.float32)
    assert Realigner(len(row)).entropy(row, row, 5.0) == pytest.approx(np.log(len(row)), abs=1e-5)


def test_entropy_among_tokens_is_that_of_their_distribution(real_pairs: list[Pair]) -> None:
    for pair in real_pairs:
        realigner = realigner_for(pair)
        tokens = realigner.plausible(*pair, 0.02)
        expected = entropy64(combined64(pair, 4.0)[tokens])
        assert realigner.entropy(*pair, 4.0, tokens) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_divergence_of_real_rows_is_that_of_float64(real_pairs: list[Pair], scale: float) -> None:
    for pair in real_pairs:
        everything = np.ones(len(pair[0]), dtype=bool)
        expected = divergence64(pair, scale, everything)
        assert realigner_for(pair).divergence(*pair, scale) == pytest.approx(expected, abs=1e-4)


def test_divergence_among_tokens_is_from_all_that_scale_one_has(real_pairs: list[Pair]) -> None:
    for pair in real_pairs:
        realigner = realigner_for(pair)
        tokens = realigner.plausible(*pair, 0.02).copy()
        log_p = log_softmax(combined64(pair, 4.0)[tokens])
        log_q = log_softmax(combined64(pair, 1.0))[tokens]
        expected = float((np.exp(log_p) * (log_p - log_q)).sum())
        assert realigner.divergence(*pair, 4.0, tokens) == pytest.approx(expected, abs=1e-4)


def test_normaliser_of_real_rows_is_that_of_float64(real_rows: np.ndarray) -> None:
    for row in real_rows.reshape(-1, real_rows.shape[-1]):
        expected = np.logaddexp.reduce(row.astype(np.float64))
        assert Realigner(len(row)).log_normaliser(row) == pytest.approx(expected, abs=3e-6)


@given(pairs())
@settings(deadline=None)
def test_normaliser_of_any_row_is_that_of_float64(pair: Pair) -> None:
    for row in pair:
        expected = np.logaddexp.reduce(row.astype(np.float64))
        assert Realigner(len(row)).log_normaliser(row) == pytest.approx(expected, abs=1e-5)


# --- choosing among tokens ----------------------------------------------------------------------


def assert_chosen_among(pair: Pair, scale: float, beta: float) -> None:
    realigner = realigner_for(pair)
    tokens = realigner.plausible(*pair, beta).copy()
    expected = combined64(pair, scale)
    tolerance = 1e-4 * (1 + abs(scale))
    row = realigner.combine(*pair, scale, tokens)
    assert set(np.flatnonzero(row > -np.inf)) == set(tokens)
    assert np.ptp(row[tokens] - expected[tokens]) < tolerance
    table = realigner.fill_candidates(*pair, scale, tokens).reshape(-1, 3)
    np.testing.assert_array_equal(table[:, 0], tokens)
    np.testing.assert_array_equal(table[:, 1].copy().view(np.float32), row[tokens])
    np.testing.assert_array_equal(table[:, 2], 0)
    best = realigner.greedy(*pair, scale, tokens)
    assert best == tokens[row[tokens].argmax()]
    assert expected[best] >= expected[tokens].max() - tolerance


@pytest.mark.parametrize("scale", SCALES)
def test_choices_among_plausible_tokens_of_real_rows_are_those_of_float64(
    real_pairs: list[Pair], scale: float
) -> None:
    for pair in real_pairs:
        assert_chosen_among(pair, scale, 0.01)


@given(pairs(), st.sampled_from([-2.0, *SCALES]), st.sampled_from([1e-20, 0.1, 1.0]))
@settings(deadline=None)
def test_choices_among_plausible_tokens_of_any_rows_are_those_of_float64(
    pair: Pair, scale: float, beta: float
) -> None:
    assert_chosen_among(pair, scale, beta)


def test_first_of_equal_maxima_among_tokens_is_taken() -> None:
    row = np.zeros(2 * BLOCK, dtype=np.float32)
    row[[17, 40, BLOCK + 3]] = 2.0
    realigner = Realigner(len(row))
    assert realigner.greedy(row, row, 5.65, realigner.plausible(row, row, 0.5)) == 17


def test_mask_changes_what_is_chosen_where_the_best_is_implausible() -> None:
    plain = np.array([0.0, 0.0, -30.0], dtype=np.float32)
    preference = np.array([0.0, 0.5, -10.0], dtype=np.float32)
    realigner = Realigner(3)
    assert realigner.greedy(plain, preference, 5.0) == 2
    assert (
        realigner.greedy(plain, preference, 5.0, realigner.plausible(plain, preference, 0.01)) == 1
    )


# --- honest -------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Realigner, np.ndarray, np.ndarray], Any]] = {
    "greedy": lambda r, plain, preference: r.greedy(plain, preference, 3.0),
    "fill_candidates": lambda r, plain, preference: r.fill_candidates(plain, preference, 3.0),
    "combine": lambda r, plain, preference: r.combine(plain, preference, 3.0),
    "entropy": lambda r, plain, preference: r.entropy(plain, preference, 3.0),
    "shrink": lambda r, plain, preference: r.shrink(plain, preference, 0.1),
    "restrain": lambda r, plain, preference: r.restrain(
        plain, preference, np.array([1], dtype=np.int32)
    ),
    "scale_within": lambda r, plain, preference: r.scale_within(plain, preference, 3.0, 0.5),
    "plausible": lambda r, plain, preference: r.plausible(plain, preference, 0.1),
    "log_normaliser": lambda r, plain, preference: (
        r.log_normaliser(plain),
        r.log_normaliser(preference),
    ),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("name", CALLS)
def test_nan_or_infinity_is_an_error_in_every_method(name: str, row: int, bad: float) -> None:
    realigner = Realigner(3000)
    pair = made_rows(3000)
    CALLS[name](realigner, *pair)
    pair[row][1234] = bad
    with pytest.raises(LogitsError, match="1234"):
        CALLS[name](realigner, *pair)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("name", CALLS)
def test_row_without_a_possible_token_is_an_error_in_every_method(name: str, row: int) -> None:
    pair = made_rows(3000)
    pair[row][:] = -np.inf
    with pytest.raises(LogitsError, match="no token is left"):
        CALLS[name](Realigner(3000), *pair)


@pytest.mark.parametrize("name", CALLS)
def test_rows_are_left_as_they_are(name: str) -> None:
    pair = made_rows(3000)
    pair[0][5] = pair[1][6] = -np.inf
    before = [row.copy() for row in pair]
    CALLS[name](Realigner(3000), *pair)
    assert all(np.array_equal(row, kept) for row, kept in zip(pair, before, strict=True))


@pytest.mark.parametrize("method", ["greedy", "fill_candidates", "combine", "entropy"])
def test_overflow_among_tokens_is_an_error(method: str) -> None:
    plain = np.array([0.0, 1e37], dtype=np.float32)
    preference = np.zeros(2, dtype=np.float32)
    realigner = Realigner(2)
    tokens = realigner.plausible(plain, preference, 0.5)
    assert list(tokens) == [0, 1]
    with pytest.raises(LogitsError, match="1000"):
        getattr(realigner, method)(plain, preference, 1000.0, tokens)


def test_the_normaliser_of_what_was_combined_is_that_of_float64(real_pairs: list[Pair]) -> None:
    """The row is the realigner's own, with impossible tokens in it (once overwritten)."""
    for plain, preference in real_pairs[:3]:
        reference = preference.copy()
        reference[[3, 5]] = -np.inf
        realigner = Realigner(len(plain))
        combined = realigner.combine(plain, reference, 2.0)
        expected = np.logaddexp.reduce(combined64((plain, reference), 2.0))
        assert realigner.log_normaliser(combined) == pytest.approx(expected, abs=3e-5)
