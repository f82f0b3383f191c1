"""The closed form against the published recurrence, computed here from its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amulet_local import AmuletParams
from amulet_local.common.errors import InvalidParameterError
from amulet_local.optimizer import recurrence
from amulet_local.optimizer.iterative import iterate


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.logaddexp.reduce(x)


def published_policy(
    log_p0: np.ndarray, log_p1: np.ndarray, alpha: float, lambda_: float, eta: float, steps: int
) -> np.ndarray:
    """Equations of arXiv 2502.19148 in float64 NumPy, every step over the whole vocabulary."""
    policy = log_p1
    utilities = []
    for i in range(1, steps + 1):
        utilities.append(alpha * (policy - log_p0))
        numerator = lambda_ * log_p1 + np.mean(utilities, axis=0) + policy / (eta * i)
        policy = log_softmax(numerator / (lambda_ + 1 / (eta * i)))
    return policy


def test_paper_parameters_give_the_papers_scale() -> None:
    assert AmuletParams().guidance_scale == pytest.approx(5.648699006951202, abs=1e-12)


@pytest.mark.parametrize("steps", [1, 5, 10, 20, 60, 100])
def test_scale_is_the_slope_of_the_published_policy(steps: int) -> None:
    rng = np.random.default_rng(7)
    log_p0, log_p1 = log_softmax(rng.normal(size=64)), log_softmax(rng.normal(size=64))
    policy = published_policy(log_p0, log_p1, 2.0, 2.0, 10.0, steps)
    slope = np.polyfit(log_p1 - log_p0, policy - log_p0, 1)[0]
    assert recurrence.guidance_scale(2.0, 2.0, 10.0, steps) == pytest.approx(slope, abs=1e-12)


@given(
    alpha=st.floats(0, 3),
    lambda_=st.floats(0.5, 5),
    eta=st.floats(0.1, 50),
    steps=st.integers(1, 80),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=60)
def test_loop_and_closed_form_agree(
    alpha: float, lambda_: float, eta: float, steps: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    log_p0, log_p1 = log_softmax(rng.normal(size=40)), log_softmax(rng.normal(size=40))
    scale = recurrence.guidance_scale(alpha, lambda_, eta, steps)
    closed = log_softmax(log_p0 + scale * (log_p1 - log_p0))
    loop = iterate(log_p0, log_p1, alpha=alpha, lambda_=lambda_, eta=eta, num_iterations=steps)
    tolerance = 1e-9 * max(1.0, abs(scale))
    np.testing.assert_allclose(closed, loop, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        loop, published_policy(log_p0, log_p1, alpha, lambda_, eta, steps), rtol=0, atol=tolerance
    )


@given(
    alpha=st.floats(0.1, 3),
    lambda_=st.floats(0.5, 5),
    eta=st.floats(0.1, 50),
    factor=st.floats(0.2, 5),
)
def test_scale_depends_on_two_ratios_only(
    alpha: float, lambda_: float, eta: float, factor: float
) -> None:
    scale = recurrence.guidance_scale(alpha, lambda_, eta, 30)
    scaled = recurrence.guidance_scale(alpha * factor, lambda_ * factor, eta / factor, 30)
    assert scaled == pytest.approx(scale, rel=1e-9)


def test_no_utility_leaves_the_preference_prompt() -> None:
    assert recurrence.guidance_scale(0.0, 2.0, 10.0, 60) == pytest.approx(1.0, abs=1e-12)


def test_strength_grows_with_iterations_without_converging() -> None:
    scales = [recurrence.guidance_scale(2.0, 2.0, 10.0, steps) for steps in (10, 100, 1000)]
    assert scales[1] - scales[0] == pytest.approx(scales[2] - scales[1], rel=0.05)  # like ln T


@given(st.floats(-50, 50))
def test_converters_are_each_others_inverse(value: float) -> None:
    for to, back in (
        (recurrence.from_cfg_gamma, recurrence.to_cfg_gamma),
        (recurrence.from_linear_alignment_ratio, recurrence.to_linear_alignment_ratio),
        (recurrence.from_context_steering_lambda, recurrence.to_context_steering_lambda),
    ):
        assert back(to(value)) == pytest.approx(value, abs=1e-12)


def test_linear_alignment_with_ratio_two_is_scale_three() -> None:
    rng = np.random.default_rng(3)
    log_p0, log_p1 = log_softmax(rng.normal(size=30)), log_softmax(rng.normal(size=30))
    published = log_softmax(log_p1 + 2.0 * (log_p1 - log_p0))
    scale = recurrence.from_linear_alignment_ratio(2.0)
    np.testing.assert_allclose(
        log_softmax(log_p0 + scale * (log_p1 - log_p0)), published, atol=1e-12
    )


def test_loop_refuses_rows_of_different_shapes() -> None:
    with pytest.raises(InvalidParameterError, match=r"float64\[3\].*float64\[4\]"):
        iterate(np.zeros(3), np.zeros(4))
