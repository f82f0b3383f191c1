"""Strength and guards: every limit, and what a copy keeps."""

from __future__ import annotations

import re
from typing import Any

import pytest

from amulet_local import AmuletParams, SamplingParams
from amulet_local.common.errors import InvalidParameterError

PAPER_SCALE = 5.648699006951202

LIMITS = {  # field: (lowest, highest) that are accepted
    "guidance_scale": (-1000, 1000),
    "max_guidance": (0, 1000),
    "max_gain": (0.01, 1000),
    "min_plausibility": (0, 1),
    "nucleus": (0, 1),
    "nucleus_temperature": (0.01, 100),
    "kl_budget": (0, 1000),
    "noise_guard": (0, 100),
    "mix_temperature": (0.01, 1e6),
}


@pytest.mark.parametrize("field", LIMITS)
def test_limits_themselves_are_accepted(field: str) -> None:
    for value in LIMITS[field]:
        assert getattr(AmuletParams(**{field: value}), field) == value


@pytest.mark.parametrize("field", LIMITS)
@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 10**400, "much", "", [1], {}],
)
def test_what_is_no_number_within_reason_is_a_typed_error(field: str, bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{field}: "):
        AmuletParams(**{field: bad})


@pytest.mark.parametrize("field", LIMITS)
def test_just_beyond_a_limit_is_a_typed_error(field: str) -> None:
    low, high = LIMITS[field]
    step = 1e-6 * (1 + high)
    for bad in (low - min(step, 1e-3), high + step):
        with pytest.raises(InvalidParameterError, match=f"^{field}: "):
            AmuletParams(**{field: bad})


@pytest.mark.parametrize("field", ["min_plausibility", "nucleus", "noise_guard", "mix_temperature"])
def test_a_guard_that_has_a_number_for_off_refuses_none(field: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{field}: "):
        AmuletParams(**{field: None})


@pytest.mark.parametrize("field", ["echo_guard", "end_guard", "region_gating", "watch"])
def test_switches_refuse_what_is_neither_on_nor_off(field: str) -> None:
    for bad in (2, "maybe", None, []):
        with pytest.raises(InvalidParameterError, match=f"^{field}: "):
            AmuletParams(**{field: bad})
    assert getattr(AmuletParams(**{field: True}), field) is True


@pytest.mark.parametrize("bad", ["fix", "", None, 1])
def test_unknown_mix_is_a_typed_error(bad: Any) -> None:
    with pytest.raises(InvalidParameterError, match=r"^mix: "):
        AmuletParams(mix=bad)


@pytest.mark.parametrize("name", ["fixed_scale", "lambda", "beta", "surprisal_budget"])
def test_unknown_names_are_a_typed_error(name: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"{name}: no such parameter"):
        AmuletParams(**{name: 1})


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (AmuletParams, "scale", "did you mean 'guidance_scale'?"),
        (AmuletParams, "strength", "did you mean 'guidance_scale'?"),
        (AmuletParams, "kl", "did you mean 'kl_target'?"),
        (AmuletParams, "kl_budgt", "did you mean 'kl_budget'?"),
        (AmuletParams, "temperature", "a field of SamplingParams: SamplingParams(temperature=...)"),
        (AmuletParams, "preference", "engine.generate(..., preference=...)"),
        (AmuletParams, "preferences", "engine.generate(..., preference=...)"),
        (SamplingParams, "temp", "did you mean 'temperature'?"),
        (SamplingParams, "max_new_tokens", "did you mean 'max_tokens'?"),
        (SamplingParams, "scale", "a field of AmuletParams: AmuletParams(guidance_scale=...)"),
        (SamplingParams, "n_ctx", "a field of RuntimeParams: RuntimeParams(n_ctx=...)"),
    ],
)
def test_a_name_of_another_place_is_answered_with_what_to_write(
    kind: Any, name: str, hint: str
) -> None:
    with pytest.raises(InvalidParameterError, match=re.escape(hint)):
        kind(**{name: 1})


def test_parameters_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AmuletParams().kl_budget = 1.0


# --- strength -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "scale"),
    [
        ({}, PAPER_SCALE),
        ({"guidance_scale": 3}, 3.0),
        ({"guidance_scale": None}, PAPER_SCALE),
        ({"num_iterations": 1}, 1.9523809523809523),
        ({"max_guidance": 4}, 4.0),
        ({"max_guidance": 40}, PAPER_SCALE),
        ({"guidance_scale": 3, "max_guidance": 2}, 2.0),
        ({"guidance_scale": 3, "max_guidance": 20}, 3.0),
        ({"guidance_scale": -3, "max_guidance": 2}, -3.0),
        # with a budget and no strength the bound is the scale
        ({"kl_budget": 0.5}, PAPER_SCALE),
        ({"kl_budget": 0.5, "max_guidance": 2}, 2.0),
        ({"kl_budget": 0.5, "max_guidance": 40}, 40.0),
        ({"kl_budget": 0.5, "max_guidance": 40, "guidance_scale": None}, 40.0),
        ({"kl_budget": 0.5, "max_guidance": 40, "guidance_scale": 3}, 3.0),
        ({"kl_budget": 0.5, "max_guidance": 40, "num_iterations": 60}, PAPER_SCALE),
    ],
)
def test_the_scale_is_what_the_strength_amounts_to_within_its_bound(
    given: dict[str, Any], scale: float
) -> None:
    assert AmuletParams(**given).guidance_scale == pytest.approx(scale, rel=1e-14)


def test_a_scale_that_is_left_to_the_default_sets_no_strength() -> None:
    for given in ({}, {"guidance_scale": None}, {"kl_budget": 1}, {"max_guidance": 3}):
        assert not AmuletParams(**given).sets_strength
    for given in ({"guidance_scale": 0}, {"alpha": 2}, {"num_iterations": 60}):
        assert AmuletParams(**given).sets_strength


@pytest.mark.parametrize("field", ["alpha", "lambda_", "eta", "num_iterations"])
def test_scale_and_hyper_parameters_exclude_each_other(field: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"leave out {field}"):
        AmuletParams(guidance_scale=3, **{field: 2})
    assert AmuletParams(guidance_scale=None, **{field: 2}).sets_strength


def test_steep_strength_warns_unless_a_budget_bounds_it() -> None:
    assert AmuletParams(guidance_scale=20).warnings == ()
    (warning,) = AmuletParams(guidance_scale=-21).warnings
    assert "-21" in warning
    assert AmuletParams(guidance_scale=30, kl_budget=0.5).warnings == ()
    assert AmuletParams(guidance_scale=30, max_guidance=10).warnings == ()
    (warning,) = AmuletParams(alpha=4).warnings
    assert "num_iterations" in warning


# --- copies -------------------------------------------------------------------------------------


def test_a_copy_keeps_what_is_not_changed() -> None:
    amulet = AmuletParams(guidance_scale=4, kl_budget=0.5, watch=True, mix_temperature=3)
    copy = amulet.replace(kl_budget=0.2)
    assert copy == AmuletParams(guidance_scale=4, kl_budget=0.2, watch=True, mix_temperature=3)
    assert amulet.kl_budget == 0.5
    assert amulet.replace() == amulet


def test_a_copy_without_a_strength_of_its_own_still_sets_none() -> None:
    copy = AmuletParams(kl_budget=0.5).replace(max_guidance=30)
    assert not copy.sets_strength
    assert copy.guidance_scale == 30


def test_a_new_strength_replaces_the_old_one_whole() -> None:
    steered = AmuletParams(alpha=1, eta=5, watch=True)
    scaled = steered.replace(guidance_scale=3)
    assert scaled == AmuletParams(guidance_scale=3, watch=True)
    back = scaled.replace(alpha=4)
    assert back == AmuletParams(alpha=4, watch=True)
    assert back.eta == 10


def test_a_strength_can_be_taken_back() -> None:
    amulet = AmuletParams(guidance_scale=3, kl_budget=0.5).replace(guidance_scale=None)
    assert amulet.guidance_scale == pytest.approx(PAPER_SCALE)
    assert not amulet.sets_strength
    assert amulet.kl_budget == 0.5


def test_a_guard_can_be_taken_off() -> None:
    amulet = AmuletParams(guidance_scale=3, kl_budget=0.5, max_guidance=2)
    assert amulet.replace(kl_budget=None, max_guidance=None) == AmuletParams(guidance_scale=3)


@pytest.mark.parametrize(
    "changes",
    [
        {"kl_budget": -1},
        {"guidance_scale": 2000},
        {"nonsense": 1},
        {"guidance_scale": 3, "alpha": 2},
        {"alpha": None},
        {"fixed_scale": 3},
    ],
)
def test_a_copy_is_checked_like_the_original(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError):
        AmuletParams(guidance_scale=4, watch=True).replace(**changes)
