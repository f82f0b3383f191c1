"""The fit of weights: right derivatives, a concave problem, and weights that come back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amulet_local import errors
from amulet_local.optimizer.weights_fit import Choices, derivatives, fit, log_likelihood


def random_choices(
    n_tokens: int, n_candidates: int, truth: list[float], *, seed: int, spread: float = 0.5
) -> Choices:
    """Rows at random, and tokens drawn from their combination with the weights `truth`."""
    generator = np.random.default_rng(seed)
    base = generator.normal(0, 2, (n_tokens, n_candidates)).astype(np.float32)
    differences = generator.normal(0, spread, (n_tokens, n_candidates, len(truth)))
    differences = differences.astype(np.float32)
    scores = base + differences @ np.array(truth)
    noise = generator.gumbel(size=scores.shape)  # the maximum of both is a draw
    chosen = (scores + noise).argmax(axis=1).astype(np.int32)
    return Choices(base=base, differences=differences, chosen=chosen)


@pytest.fixture(scope="module")
def choices() -> Choices:
    return random_choices(40, 30, [1.0, -0.5, 0.0], seed=1)


POINTS = [[0.0, 0.0, 0.0], [1.0, -2.0, 0.5], [-6.0, 3.0, 8.0]]


@pytest.mark.parametrize("point", POINTS)
def test_log_likelihood_is_that_of_a_softmax(choices: Choices, point: list[float]) -> None:
    total = 0.0
    for base, differences, chosen in zip(
        choices.base, choices.differences, choices.chosen, strict=True
    ):
        scores = [
            float(b) + math.fsum(float(d) * c for d, c in zip(row, point, strict=True))
            for b, row in zip(base, differences, strict=True)
        ]
        total += scores[chosen] - math.log(math.fsum(map(math.exp, scores)))
    assert log_likelihood(choices, np.array(point)) == pytest.approx(total, rel=1e-9)
    assert derivatives(choices, np.array(point))[0] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("point", POINTS)
def test_derivatives_are_those_of_numeric_differences(choices: Choices, point: list[float]) -> None:
    at, step = np.array(point), 1e-5
    _, gradient, information = derivatives(choices, at)
    for k, direction in enumerate(np.eye(3)):
        above, below = at + step * direction, at - step * direction
        slope = (log_likelihood(choices, above) - log_likelihood(choices, below)) / (2 * step)
        assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-5)
        bend = (derivatives(choices, above)[1] - derivatives(choices, below)[1]) / (2 * step)
        np.testing.assert_allclose(-information[k], bend, rtol=1e-5, atol=1e-5)


def test_log_likelihood_is_concave(choices: Choices) -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        left, right = generator.normal(0, 4, (2, 3))
        middle = log_likelihood(choices, (left + right) / 2)
        assert middle >= (log_likelihood(choices, left) + log_likelihood(choices, right)) / 2 - 1e-9
        assert np.linalg.eigvalsh(derivatives(choices, left)[2]).min() >= -1e-9


@pytest.mark.parametrize("seed", range(4))
def test_weights_come_back_within_three_standard_errors(seed: int) -> None:
    truth = [1.5, -1.0, 0.0, 0.7]
    fitted = fit(random_choices(2000, 60, truth, seed=10 + seed), ridge=0)
    assert (np.abs(fitted.weights - truth) < 3 * fitted.standard_errors).all()
    assert (fitted.standard_errors < 0.2).all()


def test_standard_errors_are_the_spread_of_repeated_fits() -> None:
    truth = [1.0, -0.5]
    fits = [fit(random_choices(300, 30, truth, seed=100 + n), ridge=0) for n in range(120)]
    spread = np.std([item.weights for item in fits], axis=0)
    claimed = np.mean([item.standard_errors for item in fits], axis=0)
    np.testing.assert_allclose(spread, claimed, rtol=0.25)  # 120 fits: 6.5% at one sigma


def test_the_maximum_has_no_slope_and_every_other_point_is_lower() -> None:
    choices = random_choices(300, 30, [2.0, -1.0], seed=3)
    fitted = fit(choices, ridge=0)
    np.testing.assert_allclose(derivatives(choices, fitted.weights)[1], 0, atol=1e-3)
    for step in np.random.default_rng(4).normal(0, 0.3, (20, 2)):
        assert log_likelihood(choices, fitted.weights + step) < fitted.log_likelihood


def test_with_a_ridge_the_slope_is_the_priors() -> None:
    choices = random_choices(300, 30, [2.0, -1.0], seed=3)
    fitted = fit(choices, ridge=50)
    np.testing.assert_allclose(
        derivatives(choices, fitted.weights)[1], 50 * fitted.weights, atol=1e-3
    )
    assert np.abs(fitted.weights).sum() < np.abs(fit(choices, ridge=0).weights).sum()


def test_a_step_that_is_too_long_is_taken_back() -> None:
    """Far out the likelihood is nearly flat, and a whole Newton step overshoots."""
    choices = random_choices(400, 200, [14.0, -9.0], seed=5, spread=1.0)
    fitted = fit(choices, ridge=0)
    assert (np.abs(fitted.weights - [14.0, -9.0]) < 3 * fitted.standard_errors).all()


def test_mirrored_tokens_are_those_of_the_negated_weights() -> None:
    truth = np.array([1.2, -0.6])
    disliked = random_choices(1500, 40, list(-truth), seed=6)
    mirrored = Choices(
        base=disliked.base, differences=-disliked.differences, chosen=disliked.chosen
    )
    assert log_likelihood(mirrored, truth) == pytest.approx(log_likelihood(disliked, -truth))
    fitted = fit(mirrored, ridge=0)
    assert (np.abs(fitted.weights - truth) < 3 * fitted.standard_errors).all()


def test_equal_rows_share_their_weight_and_have_no_standard_error() -> None:
    one = random_choices(500, 30, [1.0], seed=7)
    two = Choices(
        base=one.base, differences=np.repeat(one.differences, 2, axis=2), chosen=one.chosen
    )
    alone, together = fit(one, ridge=0), fit(two, ridge=0)
    np.testing.assert_allclose(together.weights, alone.weights[0] / 2, rtol=1e-6)
    assert np.isinf(together.standard_errors).all()
    assert np.isfinite(fit(two, ridge=1).standard_errors).all()


def test_a_row_like_the_plain_one_has_weight_zero_and_no_standard_error() -> None:
    choices = random_choices(50, 30, [1.0, 0.0], seed=8)
    choices.differences[:, :, 1] = 0
    fitted = fit(choices, ridge=0)
    assert fitted.weights[1] == 0
    assert math.isinf(fitted.standard_errors[1])
    assert math.isfinite(fitted.standard_errors[0])


def test_tokens_that_only_one_sign_explains_have_no_maximum_without_a_ridge() -> None:
    choices = random_choices(5, 10, [0.0], seed=9)
    always_best = choices.differences[:, :, 0].argmax(axis=1).astype(np.int32)
    choices = Choices(base=choices.base, differences=choices.differences, chosen=always_best)
    with pytest.raises(errors.InvalidParameterError, match="ridge"):
        fit(choices, ridge=0)
    assert 0 < fit(choices, ridge=1).weights[0] < 10


def test_places_without_a_candidate_change_nothing(choices: Choices) -> None:
    padded = Choices(
        base=np.pad(choices.base, ((0, 0), (0, 4)), constant_values=-np.inf),
        differences=np.pad(choices.differences, ((0, 0), (0, 4), (0, 0))),
        chosen=choices.chosen,
    )
    np.testing.assert_allclose(fit(padded, ridge=1).weights, fit(choices, ridge=1).weights)
