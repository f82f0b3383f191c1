"""Methods with a strength, by name."""

from __future__ import annotations

import pytest

from amulet_local import METHODS, PRESETS, errors
from amulet_local.evaluation.experiment.contestants import Contestant, contestants
from amulet_local.steering.presets import adjusted_strength


def one(name: str) -> Contestant:
    (found,) = contestants(name)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_compared(name: str) -> None:
    assert one(name).method is METHODS[name]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_named_after_a_colon_or_alone(preset: str) -> None:
    amulet = PRESETS[preset].amulet
    assert one(f"amulet:{preset}").amulet == one(preset).amulet == amulet


def test_a_strength_alone_has_no_guards() -> None:
    found = one("amulet:scale=2.5").amulet
    assert found.guidance_scale == 2.5
    assert not any((found.watch, found.echo_guard, found.end_guard))
    assert one("amulet:kl=0.35").amulet.kl_budget == 0.35


def test_a_preset_may_be_changed() -> None:
    found = one("amulet:balanced+kl=0.3").amulet
    assert found == adjusted_strength("balanced", {"kl_budget": 0.3})
    balanced = PRESETS["balanced"].amulet
    assert one("amulet:balanced+max=2").amulet == balanced.replace(max_guidance=2)


def test_a_guard_is_switched_on_and_off() -> None:
    assert one("amulet:balanced+form=0").amulet == PRESETS["balanced"].amulet.replace(
        form_guard=False
    )
    assert one("amulet:scale=1+form=1").amulet.form_guard


def test_context_steering_is_one_plus_lambda_and_linear_alignment_one_plus_ratio() -> None:
    assert one("context_steering").amulet.guidance_scale == 2.0
    assert one("linear_alignment").amulet.guidance_scale == 3.0


def test_linear_alignment_has_its_mask_where_it_says_so() -> None:
    assert one("linear_alignment").amulet.mask == ()
    assert one("linear_alignment_masked").amulet.mask == (0.0, 0.8, 0.5)
    assert one("linear_alignment_masked:mask=0.3").amulet.mask == (0.3, 1.0, 1.0)
    assert one("linear_alignment_masked:nucleus=0.9").amulet.mask == (0.0, 0.9, 1.0)


def test_mato_has_adaptive_weights_whatever_its_strength() -> None:
    assert one("mato:strong").amulet == PRESETS["strong"].amulet.replace(mix="adaptive")


def test_a_method_may_be_limited_to_preferences() -> None:
    found = one("beam@creative+concise")
    assert found.name == "beam"
    assert found.only == ("creative", "concise")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "nothing",
        "amulet:nothing",
        "amulet:scale=",
        "amulet:scale=nan",
        "amulet:scale=1e9",
        "amulet:other=1",
        "amulet:form=2",
        "amulet:form=on",
        "pref:scale=2",
        "beam:balanced",
        "base@creative",
        "pref@",
        "beam,beam@concise",
        "context_steering:alpha=2",
    ],
)
def test_what_names_no_method_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidRequestError):
        contestants(text)
