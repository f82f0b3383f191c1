"""Presets: what each name means, and who gets which."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amulet_local import METHODS, AmuletParams, Engine, SamplingParams, errors
from amulet_local.llama.rows import RowSet
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.preferences.preference import resolve
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering import presets
from amulet_local.steering.presets import (
    DEFAULT_PRESET,
    PRESETS,
    adjusted_strength,
    choose_strength,
    preset_named,
)

MESSAGES = [  # short, because most of the time goes into prompts
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I sleep?"},
]
SHORT = SamplingParams(max_tokens=12)
PAPER_SCALE = PRESETS["paper"].amulet.guidance_scale


def test_paper_is_the_authors_method_without_guards() -> None:
    paper = PRESETS["paper"].amulet
    assert (paper.alpha, paper.lambda_, paper.eta, paper.num_iterations) == (2, 2, 10, 60)
    assert paper.guidance_scale == pytest.approx(5.648699006951202, rel=1e-15)
    assert paper.max_guidance is paper.kl_budget is None
    assert paper.min_plausibility == paper.noise_guard == 0
    assert {paper.echo_guard, paper.end_guard, paper.region_gating, paper.watch} == {False}
    assert paper.mix == "fixed"
    assert PRESETS["paper"].placement == "system"


def test_every_other_preset_is_weaker_than_the_paper_and_guarded() -> None:
    for name in PRESETS.keys() - {"paper"}:
        amulet = PRESETS[name].amulet
        assert 1 < amulet.guidance_scale < PRESETS["paper"].amulet.guidance_scale
        assert amulet.watch
        assert amulet.echo_guard
        assert amulet.end_guard
    assert DEFAULT_PRESET in PRESETS


def test_values_of_a_preset_go_where_it_puts_the_preference() -> None:
    for preset in PRESETS.values():
        assert choose_strength("amulet", preset.amulet, None).placement == preset.placement


def test_a_kl_budget_takes_the_place_of_a_presets_scale() -> None:
    paper = PRESETS["paper"].amulet.guidance_scale
    for preset in (None, "balanced", "strong"):
        adjusted = adjusted_strength(preset, {"kl_budget": 0.3})
        assert (adjusted.guidance_scale, adjusted.kl_target) == (paper, None)
    both = adjusted_strength(None, {"kl_budget": 0.3, "guidance_scale": 2.5})
    assert (both.kl_budget, both.guidance_scale) == (0.3, 2.5)
    own = UserModelSettings(guidance_scale=3.0)
    assert adjusted_strength(None, {"kl_budget": 0.3}, own=own).guidance_scale == 3.0


def test_a_scale_takes_the_place_of_a_presets_target() -> None:
    assert PRESETS["balanced"].amulet.kl_target
    assert adjusted_strength(None, {"guidance_scale": 2.5}).kl_target is None
    assert adjusted_strength(None, {"guidance_scale": 2.5, "kl_target": 0.2}).kl_target == 0.2
    assert adjusted_strength(None, {"watch": False}).kl_target
    assert adjusted_strength(None, {}, own=UserModelSettings(guidance_scale=3.0)).kl_target is None
    own = UserModelSettings(guidance_scale=3.0, kl_target=0.3)
    assert adjusted_strength(None, {"guidance_scale": 2.5}, own=own).kl_target is None
    assert adjusted_strength(None, {"eta": 5.0}, own=own) == adjusted_strength(None, {"eta": 5.0})


def test_what_is_settled_is_strengthened_by_a_scale_of_ones_own() -> None:
    assert not PRESETS["paper"].amulet.settled_gating
    for changes, is_gated in (
        ({}, True),
        ({"watch": False}, True),
        ({"kl_target": 0.3}, True),
        ({"guidance_scale": 2.5}, False),
        ({"kl_budget": 0.3}, False),
        ({"guidance_scale": 2.5, "kl_target": 0.2}, True),
        ({"guidance_scale": 2.5, "settled_gating": True}, True),
        ({"settled_gating": False}, False),
    ):
        assert adjusted_strength("balanced", changes).settled_gating == is_gated


@pytest.mark.parametrize("weights", [(1.0,), (0.6, 0.8), (1.0, -0.5)])
def test_paper_chooses_the_largest_of_the_published_combination(
    tiny_engine: Engine, weights: tuple[float, ...]
) -> None:
    """Token for token what there was before there were presets and guards."""
    preferences = [
        replace(item, weight=weight)
        for item, weight in zip(resolve(["creative", "formal"]), weights, strict=False)
    ]
    answer = tiny_engine.generate(MESSAGES, preference=preferences, preset="paper", sampling=SHORT)
    prompts, *_ = tiny_engine._prompter.prompts(
        MESSAGES,
        ["", *(item.instruction for item in preferences)],
        system=None,
        placement="system",
    )
    rows = RowSet(tiny_engine.model, tiny_engine._settings, StopFlag(), tiny_engine.plan)
    expected = []
    try:
        rows.prefill(prompts)
        for _ in range(SHORT.max_tokens):
            plain, *others = (rows.logits(i).astype(np.float64) for i in range(rows.n_rows))
            difference = sum(w * (row - plain) for w, row in zip(weights, others, strict=True))
            expected.append(int((plain + 5.648699006951202 * difference).argmax()))
            if expected[-1] in tiny_engine.model.vocabulary.end_tokens:
                break
            rows.step(expected[-1])
    finally:
        rows.close()
    assert list(answer.token_ids) == expected


def test_paper_and_bare_parameters_are_the_same(tiny_engine: Engine) -> None:
    named, bare = (
        tiny_engine.generate(MESSAGES, preference="creative", sampling=SHORT, **strength)
        for strength in ({"preset": "paper"}, {"amulet": AmuletParams()})
    )
    assert named.token_ids == bare.token_ids
    assert (named.preset, bare.preset) == ("paper", "")
    assert named.guidance_scale == bare.guidance_scale


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_answer_is_that_of_its_parameters(tiny_engine: Engine, name: str) -> None:
    preset = PRESETS[name]
    by_name, by_parameters = (
        tiny_engine.generate(MESSAGES, preference="concise", sampling=SHORT, **strength)
        for strength in (
            {"preset": name},
            {"amulet": preset.amulet, "placement": preset.placement},
        )
    )
    assert by_name.token_ids == by_parameters.token_ids
    assert by_name.preset == name
    assert by_name.guidance_scale == preset.amulet.guidance_scale


def test_without_a_strength_the_default_preset_holds(tiny_engine: Engine) -> None:
    given, left_out = (
        tiny_engine.generate(MESSAGES, preference="creative", sampling=SHORT, preset=preset)
        for preset in (DEFAULT_PRESET, None)
    )
    assert left_out.preset == DEFAULT_PRESET
    assert left_out.token_ids == given.token_ids


def test_prompts_as_token_ids_are_answered_as_in_the_paper(tiny_engine: Engine) -> None:
    plain, preference = [1, 5, 6], [1, 7, 8, 6]
    answer = tiny_engine.generate_from_tokens(plain, preference, sampling=SHORT)
    assert answer.preset == "paper"
    bare = tiny_engine.generate_from_tokens(
        plain, preference, amulet=AmuletParams(), sampling=SHORT
    )
    assert answer.token_ids == bare.token_ids


def test_a_preset_and_a_strength_exclude_each_other(tiny_engine: Engine) -> None:
    for preset in PRESETS:
        with pytest.raises(errors.InvalidParameterError, match="preset"):
            choose_strength("amulet", AmuletParams(), preset)
    with pytest.raises(errors.InvalidParameterError, match="preset"):
        tiny_engine.stream_generate(
            MESSAGES, preference="concise", amulet=AmuletParams(), preset="paper"
        )


@pytest.mark.parametrize("name", ["", "Papers", "papery", 3, ["paper"]])
def test_unknown_preset_is_an_error_that_lists_the_known_ones(name: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match=", ".join(PRESETS)):
        preset_named(name)
    with pytest.raises(errors.InvalidParameterError, match=", ".join(PRESETS)):
        choose_strength("amulet", None, name)


@pytest.mark.parametrize("amulet", [3.0, "paper", {"guidance_scale": 3}, SamplingParams()])
def test_strength_of_another_type_is_an_error(amulet: Any) -> None:
    with pytest.raises(errors.InvalidParameterError, match="AmuletParams"):
        choose_strength("amulet", amulet, None)


def test_given_parameters_are_taken_as_they_are() -> None:
    amulet = AmuletParams(guidance_scale=2, watch=True)
    for method in METHODS:
        chosen = choose_strength(method, amulet, None, own=UserModelSettings(guidance_scale=9))
        assert chosen.amulet is amulet
        assert (chosen.preset, chosen.placement) == ("", PRESETS[DEFAULT_PRESET].placement)


def test_a_presets_strength_is_for_methods_that_take_one_and_its_placement_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = replace(PRESETS["strong"], placement="user")
    monkeypatch.setitem(presets.PRESETS, "strong", moved)
    assert {name for name, method in METHODS.items() if method.takes_preset} == {"amulet", "mato"}
    for name, method in METHODS.items():
        chosen = choose_strength(name, None, "strong")
        assert chosen.placement == "user"
        assert chosen.amulet is (moved.amulet if method.takes_preset else None)
        assert chosen.preset == ("strong" if method.takes_preset else "")


@pytest.mark.parametrize(
    ("own", "fields"),
    [
        (UserModelSettings(guidance_scale=2.5), {"guidance_scale": 2.5}),
        (UserModelSettings(kl_budget=0.7), {"kl_budget": 0.7, "guidance_scale": PAPER_SCALE}),
        (
            UserModelSettings(guidance_scale=2.5, kl_budget="off"),
            {"guidance_scale": 2.5, "kl_budget": None},
        ),
        (UserModelSettings(), {}),
    ],
)
def test_the_models_own_strength_is_for_callers_without_a_wish(
    own: UserModelSettings, fields: dict[str, Any]
) -> None:
    default = PRESETS[DEFAULT_PRESET].amulet
    chosen = choose_strength("amulet", None, None, own=own).amulet
    assert chosen is not None
    for name in ("guidance_scale", "kl_budget", "watch", "echo_guard", "end_guard"):
        assert getattr(chosen, name) == fields.get(name, getattr(default, name))
    for preset in PRESETS:
        wished = choose_strength("amulet", None, preset, own=own).amulet
        assert wished is PRESETS[preset].amulet


def test_a_preset_that_is_misspelt_is_answered_with_the_one_that_is_near() -> None:
    with pytest.raises(
        errors.InvalidParameterError, match=r"'Stong'; did you mean 'strong'\? known: "
    ):
        preset_named("Stong")
    with pytest.raises(errors.InvalidParameterError, match=r"'x'; known: paper, balanced, strong$"):
        preset_named("x")
