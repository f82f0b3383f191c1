"""How the rows of a generation combine, token by token: mixes, guards, and changes on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from amulet_local import METHODS, AmuletParams, Engine, Preference, SamplingParams, errors
from amulet_local.llama.word_starts import WordStarts
from amulet_local.optimizer.realigner import PLAUSIBLE, Realigner
from amulet_local.steering.guards.early_end import LIKELY_END
from amulet_local.steering.guards.loop_watch import (
    STRAY_TOKENS,
    STRAYS,
    STRICTNESS,
)
from amulet_local.steering.guards.plausibility import DRAWN_SHARE
from amulet_local.steering.recital import OPENING_WORDS
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from amulet_local.steering.step import Combination
from amulet_local.text.json_position import JsonPosition

MESSAGES = [  # short, because most of the time goes into prompts
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I sleep?"},
]
MIXES = [(1.0,), (-1.0,), (0.3,), (1.0, 1.0), (0.7, -0.4), (1.0, -1.0), (-0.5, -1.0), (0.0, 1.0)]


def steering(
    realigner: Realigner,
    weights: Sequence[float] = (1.0,),
    prompts: Sequence[Sequence[int]] = (),
    **amulet: object,
) -> Steering:
    plan = RowPlan(has_plain=True, weights=tuple(weights))
    words: Any = Words()
    return Steering(plan, AmuletParams(**amulet), realigner, prompts=prompts, vocabulary=words)


@pytest.fixture(scope="module")
def realigner(real_rows: np.ndarray) -> Realigner:
    return Realigner(real_rows.shape[-1])


@pytest.fixture
def small() -> Realigner:
    return Realigner(60)


def small_rows(seed: int = 0, n_rows: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(2 * rng.normal(size=60)).astype(np.float32) for _ in range(n_rows)]


# --- the formulas, in float64 -------------------------------------------------------------------


def log_softmax(row: np.ndarray) -> np.ndarray:
    row = row.astype(np.float64)
    return row - np.logaddexp.reduce(row)


def mix64(rows: Sequence[np.ndarray], weights: Sequence[float], scale: float) -> np.ndarray:
    """l0 + a * sum_k w_k (l_k - l0)."""
    plain, *preferences = (row.astype(np.float64) for row in rows)
    differences = [w * (row - plain) for w, row in zip(weights, preferences, strict=True)]
    return plain + scale * np.sum(differences, axis=0)


def divergence64(chosen_from: np.ndarray, reference: np.ndarray) -> float:
    log_p, log_q = log_softmax(chosen_from), log_softmax(reference)
    return float((np.exp(log_p) * (log_p - log_q)).sum())


def shrunken64(plain: np.ndarray, preference: np.ndarray, threshold: float) -> np.ndarray:
    """The plain row whose differences from the preference row are soft-thresholded."""
    d = preference.astype(np.float64) - plain
    d -= d[preference >= preference.max() + np.log(PLAUSIBLE)].mean()
    return preference - np.sign(d) * np.maximum(np.abs(d) - threshold, 0)


# --- mixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", MIXES)
@pytest.mark.parametrize("scale", [0.5, 1.0, 5.648699006951202])
def test_a_mix_is_the_weighted_sum_of_the_differences(
    realigner: Realigner, real_rows: np.ndarray, weights: tuple[float, ...], scale: float
) -> None:
    for step in real_rows[::6]:
        rows = list(step[: 1 + len(weights)])
        chosen = steering(realigner, weights, guidance_scale=scale).combine(rows)
        expected = mix64(rows, weights, scale)
        np.testing.assert_allclose(realigner.combine(*chosen), expected, atol=5e-4)
        assert chosen.scale == scale
        assert chosen.tokens is None


def test_a_mix_of_one_preference_is_that_preference(
    realigner: Realigner, real_rows: np.ndarray
) -> None:
    plain, preference, _ = real_rows[3]
    chosen = steering(realigner, guidance_scale=4).combine([plain, preference])
    assert chosen.plain is plain
    assert chosen.preference is preference


def test_opposite_weights_of_one_preference_leave_the_plain_row(
    realigner: Realigner, real_rows: np.ndarray
) -> None:
    plain, preference, _ = real_rows[3]
    chosen = steering(realigner, (1.0, -1.0), guidance_scale=5).combine(
        [plain, preference, preference]
    )
    np.testing.assert_allclose(realigner.combine(*chosen), plain, atol=1e-4)


@pytest.mark.parametrize("weights", [(-1.0,), (-0.5, -1.0), (1.0, -1.0)])
def test_guards_of_a_mix_refer_to_its_combination_at_scale_one(
    realigner: Realigner, real_rows: np.ndarray, weights: tuple[float, ...]
) -> None:
    lowered = 0
    for step in real_rows[::4]:
        rows = list(step[: 1 + len(weights)])
        chosen = steering(
            realigner, weights, guidance_scale=6, kl_budget=0.3, min_plausibility=0.05
        ).combine(rows)
        reference = mix64(rows, weights, 1.0)
        distance = reference - reference.max() - np.log(0.05)
        assert np.abs(distance).min() > 1e-5
        assert chosen.tokens is not None
        assert set(chosen.tokens) == set(np.flatnonzero(distance > 0))
        among = chosen.tokens
        divergence = divergence64(mix64(rows, weights, chosen.scale)[among], reference[among])
        assert divergence <= 0.3 * 1.002
        assert chosen.scale == 6 or divergence >= 0.297
        lowered += chosen.scale < 6
    assert lowered


def test_rows_that_are_not_finite_are_an_error(small: Realigner) -> None:
    for row in range(3):
        rows = small_rows(n_rows=3)
        rows[row][7] = np.nan
        with pytest.raises(errors.LogitsError, match="7"):
            small.greedy(*steering(small, (0.5, -0.5), guidance_scale=3).combine(rows))


@pytest.mark.parametrize(
    ("method", "weights", "has_plain", "kept"),
    [
        ("base", (), True, ()),
        ("base", (1.0, 2.0), True, ()),
        ("pref", (1.0,), False, (1.0,)),
        ("pref", (0.5,), True, (0.5,)),
        ("pref", (1.0, 1.0), True, (1.0, 1.0)),
        ("amulet", (1.0,), True, (1.0,)),
        ("linear_alignment", (1.0, -1.0), True, (1.0, -1.0)),
    ],
)
def test_a_plan_has_the_rows_that_the_method_needs(
    method: str, weights: tuple[float, ...], has_plain: bool, kept: tuple[float, ...]
) -> None:
    plan = RowPlan.of(METHODS[method], weights)
    assert plan == RowPlan(has_plain=has_plain, weights=kept)
    assert plan.n_rows == has_plain + len(kept)


def test_what_to_avoid_counts_negative(scripted: Engine) -> None:
    strength = AmuletParams(guidance_scale=2)
    sampling = SamplingParams(max_tokens=6)
    avoided, negative = (
        scripted.generate(MESSAGES, amulet=strength, sampling=sampling, **wish)
        for wish in (
            {"preference": "concise", "avoid": "formal:0.5"},
            {"preference": ["concise", "formal:-0.5"]},
        )
    )
    assert avoided.token_ids == negative.token_ids
    assert avoided.preferences == negative.preferences


# --- adaptive weights ---------------------------------------------------------------------------


def ratios64(rows: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """sum_t log p_k(y_t) - log p_0(y_t), for each k."""
    steps = zip(rows, tokens, strict=True)
    log_p = np.array([[log_softmax(row)[token] for row in step] for step, token in steps])
    return (log_p[:, 1:] - log_p[:, :1]).sum(axis=0)


@pytest.mark.parametrize("temperature", [0.5, 10.0])
@pytest.mark.parametrize("initial", [(1.0, 1.0), (0.2, 1.3), (0.0, 1.0)])
def test_adaptive_weights_follow_the_running_ratios(
    realigner: Realigner,
    real_rows: np.ndarray,
    initial: tuple[float, float],
    temperature: float,
) -> None:
    moved = steering(realigner, initial, mix="adaptive", mix_temperature=temperature)
    assert moved.weights() == pytest.approx(initial)
    tokens = [int(step[1].argsort()[-1 - i % 3]) for i, step in enumerate(real_rows[:6])]
    for n, token in enumerate(tokens, start=1):
        moved.combine(list(real_rows[n - 1]))
        moved.accept(token, "")
        shares = np.array(initial) * np.exp(-ratios64(real_rows[:n], tokens[:n]) / temperature)
        assert moved.weights() == pytest.approx(sum(initial) * shares / shares.sum(), abs=1e-5)
        assert sum(moved.weights()) == pytest.approx(sum(initial))


def test_the_preference_that_lags_behind_gets_more_weight(small: Realigner) -> None:
    plain = np.zeros(60, dtype=np.float32)
    first, second = plain.copy(), plain.copy()
    first[5], second[5] = 3.0, -3.0
    moved = steering(small, (1.0, 1.0), mix="adaptive", mix_temperature=1.0)
    moved.combine([plain, first, second])
    moved.accept(5, "")
    assert moved.weights()[1] > 1.9


def test_a_large_temperature_keeps_the_weights(realigner: Realigner, real_rows: np.ndarray) -> None:
    fixed = steering(realigner, (0.5, 1.0), mix="adaptive", mix_temperature=1e6)
    for step in real_rows[:4]:
        fixed.combine(list(step))
        fixed.accept(int(step[1].argmax()), "")
    assert fixed.weights() == pytest.approx((0.5, 1.0), abs=1e-5)


def test_ratios_that_grow_without_bound_keep_the_weights_finite(small: Realigner) -> None:
    rows = small_rows(n_rows=3)
    rows[1][3] += 60
    moved = steering(small, (1.0, 1.0), mix="adaptive", mix_temperature=0.01)
    for _ in range(50):
        moved.combine(rows)
        moved.accept(3, "")
    assert moved.weights() == pytest.approx((0.0, 2.0))


def test_adaptive_weights_refuse_what_to_avoid(scripted: Engine) -> None:
    with pytest.raises(errors.InvalidParameterError, match="positive"):
        scripted.stream_generate(
            MESSAGES, preference="creative", avoid="formal", amulet=AmuletParams(mix="adaptive")
        )


# --- code ---------------------------------------------------------------------------------------

SCRIPT = [  # a piece of text, and whether what follows it is code
    ("Use ", False),
    ("`", True),
    ("pip", True),
    ("`", False),
    (" now", False),
    (".\n", False),
    ("``", True),
    ("`", True),
    ("py\n", True),
    ("x = '`'", True),
    ("\n\n", True),
    ("```", True),
    ("\n", False),
    ("done", False),
]


def scales_along(moved: Steering) -> list[float]:
    scales = []
    for position, (text, _) in enumerate(SCRIPT):
        moved.combine(small_rows(position))
        moved.accept(position, text)
        scales.append(moved.combine(small_rows(position)).scale)
    return scales


def test_scale_is_one_in_code_and_nowhere_else(small: Realigner) -> None:
    gated = steering(small, guidance_scale=4, region_gating=True)
    assert gated.combine(small_rows()).scale == 4
    assert scales_along(gated) == [1.0 if is_code else 4.0 for _, is_code in SCRIPT]


def test_without_gating_code_is_like_any_text(small: Realigner) -> None:
    assert scales_along(steering(small, guidance_scale=4)) == [4.0] * len(SCRIPT)


def test_in_code_the_preference_row_is_taken_as_it_is(small: Realigner) -> None:
    gated = steering(
        small,
        guidance_scale=4,
        region_gating=True,
        kl_budget=0.1,
        min_plausibility=0.5,
        noise_guard=2,
    )
    gated.noise = 0.5
    gated.combine(small_rows())
    gated.accept(0, "`")
    plain, preference = small_rows()
    chosen = gated.combine([plain, preference])
    assert chosen.tokens is None
    assert np.array_equal(small.combine(*chosen), preference)


# --- scale --------------------------------------------------------------------------------------


def test_max_guidance_is_a_bound_for_any_strength(small: Realigner) -> None:
    for strength, expected in (({"guidance_scale": 4.0}, 2.0), ({}, 2.0), ({"alpha": 0.0}, 1.0)):
        chosen = steering(small, max_guidance=2.0, **strength).combine(small_rows())
        assert chosen.scale == pytest.approx(expected)


def test_budget_with_a_bound_and_no_strength_goes_up_to_the_bound(small: Realigner) -> None:
    rows = small_rows()
    rows[1] = rows[0] + 0.001 * rows[1]
    for bound in (2.0, 30.0):
        assert steering(small, kl_budget=0.5, max_guidance=bound).combine(rows).scale == bound


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.7, 1.0])
def test_guards_leave_scales_up_to_one_alone(small: Realigner, scale: float) -> None:
    plain, preference = small_rows()
    chosen = steering(
        small,
        guidance_scale=scale,
        kl_budget=0.0,
        min_plausibility=1.0,
        noise_guard=5,
        region_gating=True,
        watch=True,
    ).combine([plain, preference])
    assert chosen == Combination(plain, preference, scale, None)


def test_a_row_alone_is_taken_as_it_is(small: Realigner) -> None:
    (row,) = small_rows(n_rows=1)
    for plan in (RowPlan(has_plain=True, weights=()), RowPlan(has_plain=False, weights=(1.0,))):
        alone = Steering(plan, AmuletParams(kl_budget=0.0, noise_guard=3), small)
        assert np.array_equal(small.combine(*alone.combine([row])), row)


# --- the cap of a token's gain --------------------------------------------------------------------


def after_a_word(small: Realigner, **settings: Any) -> Steering:
    """The steering of an answer that has begun."""
    begun = steering(small, **settings)
    begun.accept(1, "Word")
    return begun


@pytest.mark.parametrize(("most", "likeliest"), [(None, 1), (3.0, 2)])
def test_a_mix_is_cut_by_the_same_number_as_a_tokens_gain(
    small: Realigner, most: float | None, likeliest: int
) -> None:
    """Tokens: the plain one, one that no row says, one that the second preference says."""
    plain, first, second = np.full((3, small.n_vocab), -40.0, dtype=np.float32)
    plain[:3], first[:3], second[:3] = (
        (-0.1, -32.6, -13.5),
        (-6.0, -19.0, -9.0),
        (-1.4, -13.2, -1.2),
    )
    mixed = steering(small, weights=(1.0, 1.0), guidance_scale=1.5, max_gain=most)
    mixed.combine([plain, first, second])
    assert mixed.likeliest() == likeliest


def test_what_the_preference_prompt_finds_unlikely_isnt_pushed_into_the_answer(
    small: Realigner,
) -> None:
    """Token 7 is 5 nats below the likeliest, and 12 likelier than without the preference."""
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    preference[3], preference[7], plain[7] = 5.0, 0.0, -12.0
    for most, expected in ((None, 7), (13.0, 7), (2.0, 3)):
        begun = after_a_word(small, guidance_scale=2.5, max_gain=most)
        assert small.greedy(*begun.combine([plain, preference])) == expected


def test_the_first_token_of_an_answer_is_free_of_the_cap(small: Realigner) -> None:
    """It decides the language, which the plain prompt finds all but impossible."""
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    preference[3], preference[7], plain[7] = 5.0, 0.0, -12.0
    fresh = steering(small, guidance_scale=2.5, max_gain=2.0)
    assert small.greedy(*fresh.combine([plain, preference])) == 7
    fresh.accept(4, "\n")
    assert small.greedy(*fresh.combine([plain, preference])) == 7
    fresh.accept(7, "Das")
    assert small.greedy(*fresh.combine([plain, preference])) == 3


@pytest.mark.parametrize(
    ("said", "chosen"),
    [("1. ", 7), ("- **", 7), ('"', 7), ("2. ", 3), ("7", 3), ("é", 3), ("```", 3), ("¡¡", 3)],
)
def test_what_stands_before_the_first_word_does_not_end_that(
    small: Realigner, said: str, chosen: int
) -> None:
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    preference[3], preference[7], plain[7] = 5.0, 0.0, -12.0
    begun = steering(small, guidance_scale=2.5, max_gain=2.0)
    begun.accept(4, said)
    assert small.greedy(*begun.combine([plain, preference])) == chosen


def test_reasoning_is_no_part_of_the_answer_that_the_cap_waits_for(small: Realigner) -> None:
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    preference[3], preference[7], plain[7] = 5.0, 0.0, -12.0
    fresh = steering(small, guidance_scale=2.5, max_gain=2.0)
    fresh.in_reasoning = True
    fresh.accept(4, "Hm.")
    fresh.in_reasoning = False
    assert small.greedy(*fresh.combine([plain, preference])) == 7


def test_what_it_finds_likely_still_overtakes_what_was_likely_anyhow(small: Realigner) -> None:
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    preference[3], preference[7], plain[3] = 5.0, 4.0, 5.0
    begun = after_a_word(small, guidance_scale=2.0, max_gain=3.0)
    assert small.greedy(*steering(small, guidance_scale=1.0).combine([plain, preference])) == 3
    assert small.greedy(*begun.combine([plain, preference])) == 7


# --- noise guard, and the order of the guards ---------------------------------------------------


def test_noise_guard_is_in_units_of_the_models_noise(
    realigner: Realigner, real_rows: np.ndarray
) -> None:
    plain, preference, _ = real_rows[5]
    for noise, guard in ((0.15, 1.0), (0.05, 4.0), (0.0, 3.0)):
        guarded = steering(realigner, guidance_scale=4, noise_guard=guard)
        guarded.noise = noise
        chosen = guarded.combine([plain, preference])
        shrunken = shrunken64(plain, preference, guard * noise)
        expected = preference + 3.0 * (preference - shrunken)
        np.testing.assert_allclose(realigner.combine(*chosen), expected, atol=5e-4)


def test_budget_is_spent_on_what_the_noise_guard_left(
    realigner: Realigner, real_rows: np.ndarray
) -> None:
    lowered = 0
    for step in real_rows[::4]:
        plain, preference, _ = step
        guarded = steering(realigner, guidance_scale=20, noise_guard=1, kl_budget=0.2)
        guarded.noise = 0.15
        scale = guarded.combine([plain, preference]).scale
        shrunken = shrunken64(plain, preference, 0.15)
        combined = preference + (scale - 1) * (preference - shrunken)
        divergence = divergence64(combined, preference)
        assert divergence <= 0.2 * 1.002
        assert scale == 20 or divergence >= 0.198
        lowered += scale < 20
    assert lowered


def say(moved: Steering, token: int, text: str = "word ") -> None:
    """Let the answer go on with a token that is all but certain."""
    row = np.full(60, -30, dtype=np.float32)
    row[token] = 0
    moved.combine([row, row])
    moved.accept(token, text)


def loop(moved: Steering) -> list[int]:
    """Let the answer begin to repeat itself; the tokens that go on with it, "w2" of "w20" too."""
    stretch = list(range(20, 22 + STRICTNESS[0][0]))
    for token in [*stretch, *stretch]:
        say(moved, token)
    return [2, 20]


def test_after_a_loop_the_excess_over_one_is_halved_and_the_next_copy_refused(
    small: Realigner,
) -> None:
    rows = small_rows()
    watched = steering(small, guidance_scale=4, watch=True)
    assert watched.combine(rows).scale == 4
    refused = loop(watched)
    chosen = watched.combine(rows)
    assert chosen.scale == 2.5
    assert list(np.flatnonzero(np.isneginf(small.combine(*chosen)))) == refused
    assert "began to repeat itself (once)" in watched.warnings[0]
    assert not np.isneginf(rows[1]).any()


def test_a_word_may_stand_three_times_in_a_row_and_a_mark_as_often_as_it_likes(
    small: Realigner,
) -> None:
    class Pieces(Words):
        def piece(self, token: int) -> bytes:
            return {1: b" perhaps", 2: b"!", 3: b" ha"}[token]

    for token, refused in ((1, [1]), (2, []), (3, [])):
        words: Any = Pieces()
        plan = RowPlan(has_plain=True, weights=(1.0,))
        amulet = AmuletParams(guidance_scale=4, watch=True)
        watched = Steering(plan, amulet, small, vocabulary=words)
        for _ in range(3):
            say(watched, token)
        combined = small.combine(*watched.combine(small_rows()))
        assert list(np.flatnonzero(np.isneginf(combined))) == refused


@pytest.mark.parametrize(("mark", "is_refused"), [(b".", True), (b")", True), (b" apples", False)])
def test_a_list_that_repeats_its_item_is_broken_off(
    small: Realigner, mark: bytes, is_refused: bool
) -> None:
    class Pieces(Words):
        def piece(self, token: int) -> bytes:
            return {1: b"1", 2: b"2", 3: b"3", 4: mark}.get(token, b" rest")

    words: Any = Pieces()
    plan = RowPlan(has_plain=True, weights=(1.0,))
    amulet = AmuletParams(guidance_scale=4, watch=True)
    watched = Steering(plan, amulet, small, vocabulary=words)
    item = list(range(20, 19 + STRICTNESS[0][0] - 1))
    for token in [1, 4, *item, 2, 4, *item, 3, 4]:
        say(watched, token)
    combined = small.combine(*watched.combine(small_rows()))
    assert list(np.flatnonzero(np.isneginf(combined))) == (item[:1] if is_refused else [])


def test_a_loop_in_code_is_left_alone(small: Realigner) -> None:
    watched = steering(small, guidance_scale=4, watch=True)
    watched.combine(small_rows())
    watched.accept(1, "```\n")
    loop(watched)
    assert np.isfinite(small.combine(*watched.combine(small_rows()))).all()


def test_refused_tokens_count_neither_for_the_mask_nor_for_the_budget(small: Realigner) -> None:
    rows = small_rows()
    rows[1][20] = 30.0
    watched = steering(small, guidance_scale=4, watch=True, min_plausibility=0.3, kl_budget=0.2)
    refused = loop(watched)
    chosen = watched.combine(rows)
    assert chosen.tokens is not None
    left = rows[1].copy()
    left[refused] = -np.inf
    assert list(chosen.tokens) == list(np.flatnonzero(left >= left.max() + np.log(0.3)))


def test_collapsed_entropy_lowers_the_scale(small: Realigner) -> None:
    """Two words are equally likely, and the strength makes one of them certain."""
    watched = steering(small, guidance_scale=200, watch=True)
    scales = []
    for token in (*range(0, 60, 2), *range(1, 7, 2)):
        plain = np.full(60, -30, dtype=np.float32)
        plain[[token, token ^ 1]] = -3, 0
        preference = np.full(60, -30, dtype=np.float32)
        preference[[token, token ^ 1]] = 0
        scales.append(watched.combine([plain, preference]).scale)
        watched.accept(token, "word ")
    assert scales[:16] == [200.0] * 16
    assert scales[17] == 1 + 199 / 2
    assert scales[32] == 1 + 199 / 4
    assert "stopped having a choice of words (2 times)" in watched.warnings[0]


@pytest.mark.parametrize("is_drawn", [False, True])
def test_improbable_text_is_not_strengthened_until_it_is_probable_again(
    small: Realigner, is_drawn: bool
) -> None:
    plain, preference = small_rows()
    plan = RowPlan(has_plain=True, weights=(1.0,))
    amulet = AmuletParams(guidance_scale=4, watch=True)
    watched = Steering(plan, amulet, small, is_drawn=is_drawn)
    from_nats, until_nats = STRAYS[is_drawn]
    log_p = log_softmax(preference)
    expected = (np.exp(log_p) * log_p).sum() if is_drawn else log_p.max()
    surprise = expected - log_p
    unlikely = [int(token) for token in np.argsort(log_p)[20 : 20 + STRAY_TOKENS]]
    assert surprise[unlikely].mean() > from_nats
    for token in unlikely:
        assert watched.combine([plain, preference]).scale == 4
        watched.accept(token, "word ")
    scales = []
    for token in range(STRAY_TOKENS + 1):
        scales.append(watched.combine([plain, preference]).scale)
        say(watched, token)
    mean_after = [surprise[unlikely[n:]].sum() / STRAY_TOKENS for n in range(STRAY_TOKENS + 1)]
    assert scales == [1.0 if mean > until_nats else 2.5 for mean in mean_after]
    assert set(scales) == {1.0, 2.5}  # and the excess over 1 is halved
    assert "became improbable (once)" in watched.warnings[0]


@pytest.mark.parametrize("is_drawn", [False, True])
def test_what_the_reference_finds_implausible_is_never_drawn(
    small: Realigner, is_drawn: bool
) -> None:
    """However much the preference raised it; but greedily, or as the first token, it may come."""
    plain, preference = small_rows()
    raised = int(np.argmin(preference))
    preference[raised] = preference.max() + np.log(0.9 * DRAWN_SHARE)
    plain[raised] = preference[raised] - 30.0
    plan, amulet = (
        RowPlan(has_plain=True, weights=(1.0,)),
        {"guidance_scale": 4, "draw_guard": True},
    )
    guarded = Steering(plan, AmuletParams(**amulet), small, is_drawn=is_drawn)
    assert guarded.combine([plain, preference]).tokens is None
    guarded.accept(0, "word ")
    chosen = guarded.combine([plain, preference])
    assert (guarded.likeliest() == raised) != is_drawn
    if is_drawn:
        assert chosen.tokens is not None
        least = preference.max() + np.log(DRAWN_SHARE)
        assert set(chosen.tokens) == set(np.flatnonzero(preference >= least))
    else:
        assert chosen.tokens is None


class Words:
    """A vocabulary of 60 words, w0 to w59."""

    word_starts = WordStarts([f" w{token}".encode() for token in range(60)])

    def piece(self, token: int) -> bytes:
        return f" w{token}".encode()


INSTRUCTED = [[1, 2, 3], [1, 2, 10, 11, 12, 13, 14, 15, 3]]
"""Prompts, the second with an instruction of the words 10 to 15."""


def test_recited_word_gains_nothing_and_is_refused_if_it_goes_on(small: Realigner) -> None:
    plain, preference = small_rows()
    preference[[12, 13]] = plain[[12, 13]] + 5
    echoing = steering(small, guidance_scale=4, prompts=INSTRUCTED, echo_guard=True)
    for token in range(20, 20 + OPENING_WORDS):
        echoing.accept(token, "")
    full = small.combine(*echoing.combine([plain, preference])).copy()
    np.testing.assert_allclose(full, mix64([plain, preference], (1.0,), 4.0), atol=1e-4)
    for token in (10, 11):
        echoing.accept(token, "")
    held = small.combine(*echoing.combine([plain, preference])).copy()
    others = ~np.isin(np.arange(60), (1, 12))  # " w1" is how " w12" may begin
    np.testing.assert_allclose(held[others], full[others], atol=1e-5)
    assert held[12] < full[12] - 5
    echoing.accept(12, "")
    refused = small.combine(*echoing.combine([plain, preference]))
    assert list(np.flatnonzero(np.isneginf(refused))) == [1, 13]


def test_the_opening_doesnt_begin_with_the_instruction(small: Realigner) -> None:
    echoing = steering(small, guidance_scale=4, prompts=INSTRUCTED, echo_guard=True)
    plain, preference = small_rows()
    plain[[1, 10]] = preference[[1, 10]] = -2.0  # " w1" is how " w10" may begin
    opening = small.combine(*echoing.combine([plain, preference]))
    assert np.isfinite(opening).all()
    preference[10] = 6.0
    opening = small.combine(*echoing.combine([plain, preference]))
    assert list(np.flatnonzero(np.isneginf(opening))) == [1, 10]


# --- the end of an answer, and JSON -------------------------------------------------------------


@pytest.mark.parametrize("share", [0.49, 0.51])
def test_in_mid_sentence_only_a_likely_end_is_left(small: Realigner, share: float) -> None:
    plain, preference = small_rows()
    others = np.delete(preference, [5, 6]).astype(np.float64)
    total = np.logaddexp.reduce(others) + np.log(share / (1 - share))
    preference[[5, 6]] = total + np.log(0.5)
    plain[[5, 6]] = preference[[5, 6]] - 6
    plan = RowPlan(has_plain=True, weights=(1.0,))
    guarded = Steering(
        plan, AmuletParams(guidance_scale=4, end_guard=True), small, end_tokens={5, 6}
    )
    full = mix64([plain, preference], (1.0,), 4.0)
    for token, (text, ends) in enumerate(
        [("Go to", False), (" bed", False), (".", True), ("\n\n", True), ("Then", False)]
    ):
        guarded.combine([plain, preference])
        guarded.accept(token, text)
        expected = full.copy()
        if not ends and share < LIKELY_END:
            expected[[5, 6]] = -np.inf
        combined = small.combine(*guarded.combine([plain, preference]))
        np.testing.assert_allclose(combined, expected, atol=1e-4)
    plainly = Steering(plan, AmuletParams(guidance_scale=1, end_guard=True), small, end_tokens={5})
    assert np.isfinite(small.combine(*plainly.combine([plain, preference]))).all()


@pytest.mark.parametrize("share", [0.49, 0.51])
def test_behind_an_only_question_an_end_is_left_that_is_likely_in_the_plain_row(
    small: Realigner, share: float
) -> None:
    plain, preference = small_rows()
    others = np.delete(plain, [5, 6]).astype(np.float64)
    plain[[5, 6]] = np.logaddexp.reduce(others) + np.log(share / (1 - share)) + np.log(0.5)
    preference[[5, 6]] = preference.max() + 3
    plan = RowPlan(has_plain=True, weights=(1.0,))
    guarded = Steering(
        plan, AmuletParams(guidance_scale=2, end_guard=True), small, end_tokens={5, 6}
    )
    refused = []
    for token, text in enumerate(["Do you", " sleep?", " ", "Why?", " Go to bed.", " Sure?"]):
        guarded.combine([plain, preference])
        guarded.accept(token, text)
        combined = small.combine(*guarded.combine([plain, preference]))
        refused.append(bool(np.isneginf(combined[[5, 6]]).all()))
    in_mid_sentence = False
    only_a_question = share < LIKELY_END
    assert refused == [in_mid_sentence, only_a_question, only_a_question, False, False, False]


def test_of_json_only_string_values_are_steered(small: Realigner) -> None:
    plan = RowPlan(has_plain=True, weights=(1.0,))
    amulet = AmuletParams(guidance_scale=4, region_gating=True, watch=True)
    structured = Steering(plan, amulet, small, json_position=JsonPosition())
    scales = [structured.combine(small_rows()).scale]
    for token, text in enumerate(['{"', "name", '": ', '"A', "`nn`", '"', ", ", '"n": 1}']):
        structured.accept(token, text)
        scales.append(structured.combine(small_rows()).scale)
    assert scales == [1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 1.0, 1.0, 1.0]


def test_json_may_repeat_itself(small: Realigner) -> None:
    plan = RowPlan(has_plain=True, weights=(1.0,))
    amulet = AmuletParams(guidance_scale=4, watch=True)
    structured = Steering(plan, amulet, small, json_position=JsonPosition())
    loop(structured)
    assert np.isfinite(small.combine(*structured.combine(small_rows()))).all()


# --- a divergence on average --------------------------------------------------------------------


def run_on(moved: Steering, n_tokens: int, spread: float) -> tuple[list[float], list[float]]:
    """The scales and divergences of tokens whose rows differ by normal noise of this size."""
    rng = np.random.default_rng(5)
    scales, divergences = [], []
    for _ in range(n_tokens):
        plain = (2 * rng.normal(size=60)).astype(np.float32)
        preference = plain + (spread * rng.normal(size=60)).astype(np.float32)
        scale = moved.combine([plain, preference]).scale
        ours, theirs = (log_softmax(mix64([plain, preference], [1.0], a)) for a in (scale, 1.0))
        scales.append(scale)
        divergences.append(float((np.exp(ours) * (ours - theirs)).sum()))
        moved.accept(0, "a ")
    return scales, divergences


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_a_target_is_the_mean_divergence_of_the_answer(small: Realigner, spread: float) -> None:
    scales, divergences = run_on(steering(small, guidance_scale=2, kl_target=0.12), 600, spread)
    assert scales[0] == 2
    assert np.mean(divergences[100:]) == pytest.approx(0.12, rel=0.05)
    fixed = run_on(steering(small, guidance_scale=2), 600, spread)[1]
    assert abs(np.mean(fixed[100:]) - 0.12) > 0.05


def test_a_target_moves_the_scale_within_bounds_alone(small: Realigner) -> None:
    rising, _ = run_on(steering(small, guidance_scale=2, kl_target=0.12), 60, 0.01)
    assert (min(rising), max(rising)) == (2, 4)
    falling, _ = run_on(steering(small, guidance_scale=2, kl_target=0.0), 60, 5.0)
    assert (min(falling), max(falling)) == (1.5, 2)
    limited = steering(small, guidance_scale=2, kl_target=0.12, max_guidance=3)
    assert max(run_on(limited, 60, 0.01)[0]) == 3


def test_one_token_costs_a_target_no_more_than_a_nat(small: Realigner) -> None:
    moved = steering(small, guidance_scale=5, kl_target=0.5)
    plain, preference = np.zeros((2, 60), dtype=np.float32)
    plain[7] = -6.0  # so that the scale takes it from 1/60 to nearly 1, which is 4.1 nats
    moved.combine([plain, preference])
    moved.accept(7, "a ")
    assert moved.combine(small_rows()).scale == pytest.approx(4.5)


def test_a_scale_that_the_watch_lowered_isnt_raised_again(small: Realigner) -> None:
    moved = steering(small, guidance_scale=2, kl_target=0.12, watch=True)
    loop(moved)
    scales = []
    for token in range(40, 50):
        row = np.zeros(60, dtype=np.float32)
        row[token] = 12.0  # likely, so that nothing strays
        scales.append(moved.combine([row, row]).scale)
        moved.accept(token, "a ")
    assert set(scales) == {2.5}  # the scale had risen to 4, of which the excess is halved


def test_a_target_outlives_a_change_and_another_scale_begins_anew(small: Realigner) -> None:
    moved = steering(small, guidance_scale=2, kl_target=0.12)
    risen = run_on(moved, 10, 0.01)[0][-1]
    assert risen > 2.9
    amulet = AmuletParams(guidance_scale=2, kl_target=0.2)
    moved.change(moved.plan, amulet, same_rows=True)
    assert moved.combine(small_rows()).scale > risen
    moved.accept(1, "a ")
    moved.change(moved.plan, amulet.replace(guidance_scale=1.2, kl_target=0.2), same_rows=True)
    assert moved.combine(small_rows()).scale == pytest.approx(1.2)


# --- changes on the way -------------------------------------------------------------------------


def test_changed_strength_holds_from_the_next_token_on(small: Realigner) -> None:
    moved = steering(small, guidance_scale=4)
    moved.combine(small_rows())
    moved.accept(1, "a ")
    moved.change(moved.plan, AmuletParams(guidance_scale=2), same_rows=True)
    assert moved.combine(small_rows()).scale == 2


def test_gating_that_is_turned_on_inside_code_knows_it(small: Realigner) -> None:
    moved = steering(small, guidance_scale=4)
    moved.combine(small_rows())
    moved.accept(1, "```py\n")
    moved.change(moved.plan, AmuletParams(guidance_scale=4, region_gating=True), same_rows=True)
    assert moved.combine(small_rows()).scale == 1
    moved.accept(2, "x\n```\n")
    assert moved.combine(small_rows()).scale == 4


def test_running_ratios_outlive_a_change_of_strength_and_not_one_of_preferences(
    small: Realigner,
) -> None:
    adaptive = AmuletParams(mix="adaptive", mix_temperature=1.0)
    moved = Steering(RowPlan(has_plain=True, weights=(1.0, 1.0)), adaptive, small)
    moved.combine(small_rows(n_rows=3))
    moved.accept(5, "")
    before = moved.weights()
    assert before != (1.0, 1.0)
    moved.change(moved.plan, adaptive.replace(guidance_scale=2), same_rows=True)
    assert moved.weights() == before
    moved.change(moved.plan, adaptive, same_rows=False)
    assert moved.weights() == (1.0, 1.0)


def test_preferences_can_be_added_and_taken_away(small: Realigner) -> None:
    rows = small_rows(n_rows=3)
    strength = AmuletParams(guidance_scale=3, mix="adaptive")
    moved = Steering(RowPlan(has_plain=True, weights=()), strength, small)
    for weights in ((), (1.0,), (0.5, 0.5), (), (1.0, 1.0)):
        plan = RowPlan(has_plain=True, weights=weights)
        moved.change(plan, strength, same_rows=False)
        chosen = moved.combine(rows[: plan.n_rows])
        expected = mix64(rows[: plan.n_rows], weights, 3.0) if weights else rows[0]
        np.testing.assert_allclose(small.combine(*chosen), expected, atol=1e-4)
        moved.accept(1, "")


# --- where a grammar or a bias wants what guards rule out ---------------------------------------


def test_a_grammar_may_demand_what_the_echo_guard_refuses(scripted: Engine) -> None:
    text = "in short and clear words like a good teacher"
    answer = scripted.generate(
        MESSAGES,
        preference=Preference(text=text),
        amulet=AmuletParams(guidance_scale=3, echo_guard=True),
        sampling=SamplingParams(max_tokens=120, grammar=f'root ::= "{text}. {text}."'),
    )
    assert answer.text == f"{text}. {text}."
    assert answer.finish_reason == "stop"


def test_a_grammar_may_demand_what_the_mask_and_the_watch_refuse(scripted: Engine) -> None:
    answer = scripted.generate(
        MESSAGES,
        preference="concise",
        amulet=AmuletParams(guidance_scale=3, min_plausibility=0.9, watch=True),
        sampling=SamplingParams(max_tokens=90, grammar='root ::= ("1, 2, 3, 4, 5. "){4}'),
    )
    assert answer.text == "1, 2, 3, 4, 5. " * 4


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_bias_may_rule_out_everything_plausible(scripted: Engine, temperature: float) -> None:
    amulet = AmuletParams(guidance_scale=3, min_plausibility=1.0)
    first = scripted.generate(
        MESSAGES, preference="concise", amulet=amulet, sampling=SamplingParams(max_tokens=1)
    )
    answer = scripted.generate(
        MESSAGES,
        preference="concise",
        amulet=amulet,
        sampling=SamplingParams(
            max_tokens=2,
            temperature=temperature,
            seed=1,
            logit_bias={first.token_ids[0]: -np.inf},
        ),
    )
    assert len(answer.token_ids) == 2
    assert answer.token_ids[0] != first.token_ids[0]
