"""What tuning tries, and that what it keeps is what it tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.errors import InvalidParameterError
from amulet_local.evaluation.sweep import DEFAULT_VALUES, MAX_VALUES, settings_of
from amulet_local.preferences.settings_editor import set_model_strength
from amulet_local.preferences.user_settings import settings_of_model
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS, SWITCHED_ON, choose_strength

SWEEPS: tuple[Any, ...] = ("kl", "scale", "target")


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_has_the_prompt_first_and_the_paper_last(sweep: Any) -> None:
    settings = settings_of(sweep)
    assert settings[0].name == "preference prompt"
    assert settings[-1].amulet == PRESETS["paper"].amulet
    assert settings[-1].value is None
    assert [item.value for item in settings[1:-1]] == list(DEFAULT_VALUES[sweep])
    assert len({item.name for item in settings}) == len(settings)


def test_budgets_are_tried_under_the_papers_scale_and_the_guards_of_the_default_preset() -> None:
    for item in settings_of("kl")[:-1]:
        assert item.amulet.kl_budget == item.value
        assert item.amulet.guidance_scale == PRESETS["paper"].amulet.guidance_scale
        assert all(getattr(item.amulet, name) for name in SWITCHED_ON)


def test_the_default_preset_is_among_the_scales_that_are_tried() -> None:
    default = PRESETS[DEFAULT_PRESET].amulet.guidance_scale
    assert default in [item.amulet.guidance_scale for item in settings_of("scale")[:-1]]


def test_scales_are_tried_without_a_budget() -> None:
    for item in settings_of("scale")[:-1]:
        assert item.amulet.guidance_scale == item.value
        assert item.amulet.kl_budget is None
        assert all(getattr(item.amulet, name) for name in SWITCHED_ON)


def test_targets_are_tried_as_the_presets_have_them() -> None:
    prompted, *tried, _ = settings_of("target")
    assert prompted.amulet.guidance_scale == 1
    assert prompted.amulet.kl_target is None
    assert [item.amulet.kl_target for item in tried] == [item.value for item in tried]
    found = [item.amulet for item in tried]
    assert all(PRESETS[name].amulet in found for name in ("balanced", "strong"))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_what_is_kept_of_a_setting_gives_later_runs_its_strength(
    sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))
    for item in settings_of(sweep)[:-1]:
        set_model_strength(["mine"], item.own)
        kept = settings_of_model(["mine"])
        assert choose_strength("amulet", None, None, own=kept).amulet == item.amulet


def test_values_are_tried_once_and_in_order() -> None:
    assert [item.value for item in settings_of("kl", (0.4, 0, 0.2, 0.4))] == [0, 0.2, 0.4, None]
    assert [item.value for item in settings_of("scale", (3,))] == [1, 3, None]


@pytest.mark.parametrize(
    ("sweep", "values", "words"),
    [
        ("kl", (-0.1,), "from 0 to 1000 for --sweep kl, not -0.1"),
        ("kl", (float("nan"),), "not nan"),
        ("kl", (1001,), "not 1001"),
        ("scale", (0.5,), "from 1 to 20 for --sweep scale, not 0.5"),
        ("scale", (float("inf"),), "not inf"),
        ("target", (-0.1,), "from 0 to 1000 for --sweep target, not -0.1"),
        ("kl", (0.1,) * (MAX_VALUES + 1), f"at most {MAX_VALUES}"),
    ],
)
def test_values_out_of_range_are_errors(sweep: Any, values: Any, words: str) -> None:
    with pytest.raises(InvalidParameterError) as error:
        settings_of(sweep, values)
    assert words in str(error.value)
