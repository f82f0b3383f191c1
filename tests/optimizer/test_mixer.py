"""Mixes of preference rows against float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from amulet_local.optimizer.combined_row import CombinedRow
from amulet_local.optimizer.mixer import Mixer


def mixer(n_vocab: int) -> Mixer:
    return Mixer(CombinedRow(n_vocab))


def test_mix_equals_float64() -> None:
    rng = np.random.default_rng(1)
    plain, *preferences = (rng.normal(size=(4, 4000)) * 3).astype(np.float32)
    weights = [0.7, -0.4, 1.5]
    expected = plain.astype(np.float64)
    for row, weight in zip(preferences, weights, strict=True):
        expected = expected + weight * (row.astype(np.float64) - plain)
    mixed = mixer(4000).mix(plain, preferences, weights).row
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


def log_softmax(row: np.ndarray) -> np.ndarray:
    wide = row.astype(np.float64)
    return wide - np.logaddexp.reduce(wide)


@pytest.mark.parametrize("weights", [[0.7, -0.4, 1.5], [1.0, 1.0, 1.0], [-1.0, -2.0, 0.5]])
@pytest.mark.parametrize("most", [0.5, 3.0])
def test_a_mix_finds_no_token_much_likelier_than_the_row_that_likes_it_best(
    weights: list[float], most: float
) -> None:
    rng = np.random.default_rng(3)
    plain, *preferences = (rng.normal(size=(4, 4000)) * 4).astype(np.float32)
    log_plain, *logs = map(log_softmax, (plain, *preferences))
    free = log_plain + sum(w * (row - log_plain) for w, row in zip(weights, logs, strict=True))
    liked = [row for w, row in zip(weights, logs, strict=True) if w > 0]
    expected = np.minimum(free, np.max([log_plain, *liked], axis=0) + most)
    assert 100 < (expected < free).sum() < 3900
    mixed = mixer(4000).mix(plain, preferences, weights, most=most).row
    np.testing.assert_allclose(
        log_softmax(mixed), expected - np.logaddexp.reduce(expected), atol=1e-4
    )


def test_what_every_row_finds_unlikely_isnt_the_likeliest_of_a_mix() -> None:
    """The log-probabilities are those of a real step: "éta", in French and with emojis."""
    plain, french, emojis = np.full((3, 100), -40.0, dtype=np.float32)
    plain[:3], french[:3], emojis[:3] = (
        (-0.1, -32.6, -13.5),
        (-6.0, -19.0, -1.2),
        (-1.4, -13.2, -20),
    )
    ours = mixer(100)
    assert ours.mix(plain, [french, emojis], [1.0, 1.0]).row.argmax() == 1
    assert ours.mix(plain, [french, emojis], [1.0, 1.0], most=3.0).row.argmax() != 1


def test_mix_of_one_preference_with_weight_one_is_that_row() -> None:
    plain, preference = np.zeros((2, 100), dtype=np.float32)
    assert mixer(100).mix(plain, [preference], [1.0]).row is preference


def test_mix_keeps_impossible_tokens_impossible() -> None:
    plain, first, second = np.random.default_rng(5).normal(size=(3, 50)).astype(np.float32)
    plain[1] = first[2] = second[3] = -np.inf
    mixed = mixer(50).mix(plain, [first, second], [0.5, -0.5]).row
    assert set(np.flatnonzero(np.isneginf(mixed))) == {1, 2, 3}


def test_the_plain_rows_normaliser_comes_with_a_mix_that_was_cut() -> None:
    plain, preference = np.random.default_rng(4).normal(size=(2, 3000)).astype(np.float32)
    ours = mixer(3000)
    assert ours.mix(plain, [preference], [0.5]).plain_normaliser is None
    assert ours.mix(plain, [preference], [0.5], most=3.0).plain_normaliser == pytest.approx(
        np.logaddexp.reduce(plain.astype(np.float64)), abs=1e-5
    )
