"""The bank that is learned from, and the file that the weights are kept in."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from amulet_local import Preference, errors
from amulet_local.learning.learned import Learned, LogLikelihoods, as_toml, bank_of
from amulet_local.preferences.preference import BUILT_IN_PREFERENCES, resolve
from amulet_local.preferences.settings_editor import merge, set_mix, set_preference
from amulet_local.preferences.user_settings import (
    MAX_MEMBERS,
    UserModelSettings,
    UserSettings,
    parse_settings,
    read_settings,
)

BUILT_IN_CONCISE = resolve("concise")[0]


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))


def learned(*preferences: Preference) -> Learned:
    return Learned(
        preferences=preferences,
        standard_errors=tuple(0.1 for _ in preferences),
        n_texts=3,
        n_disliked=0,
        n_tokens=100,
        ridge=1.0,
        log_likelihoods=LogLikelihoods(
            plain=-2.5,
            single=-2.4,
            single_name="concise",
            single_weight=1.0,
            fitted=-2.3,
            n_texts=3,
            n_tokens=100,
            held_out=False,
        ),
        tail_error_nats=0.0,
        tail_shift=0.0,
        warnings=(),
    )


AWKWARD = [
    BUILT_IN_CONCISE,
    Preference(text="like a patient teacher", name="teacher"),
    Preference(text="in the style of a pirate"),
    Preference(text="open at 10:30"),  # nothing after it can be read as its weight
    Preference(text='with "quotes", a \\ and\na second line'),
    Preference(text="ends like a weight:0.5"),
    Preference(text="short", name="a name with spaces"),
    Preference(text="another meaning", name="formal"),  # a built-in name
    Preference(text="taken", name="me-1"),
    Preference(text="Grüße: « 3 »"),
    Preference(text="in rhyme", prompt='Write "{text}".'),
    Preference(text="in verse", name="verse", prompt="Write {text}."),
]


def test_the_mix_that_is_read_back_is_the_one_that_was_learned() -> None:
    weights = [1.23456, -0.5, 0.25, -2, 1, 3.00004, 0.125, -1, 17.5, 0.0001, 2, 3]
    fitted = learned(
        *(replace(item, weight=weight) for item, weight in zip(AWKWARD, weights, strict=True))
    )
    merge(parse_settings(as_toml(fitted, "me", model="m\x1b[2J\n.gguf")))
    read = resolve("me")
    assert [item.text for item in read] == [item.text for item in AWKWARD]
    assert [item.prompt for item in read] == [item.prompt for item in AWKWARD]
    for item, weight in zip(read, weights, strict=True):
        assert item.weight == pytest.approx(weight, abs=5e-5)


def test_a_weight_that_rounds_to_nothing_is_left_out() -> None:
    fitted = learned(
        replace(BUILT_IN_CONCISE, weight=0.5), Preference(text="in rhyme, please", weight=0.00001)
    )
    assert parse_settings(as_toml(fitted, "me", model="m")).mixes == {"me": ("concise:0.5000",)}


def test_nothing_but_zeros_is_refused() -> None:
    with pytest.raises(errors.InvalidParameterError, match="every weight is 0"):
        as_toml(learned(replace(BUILT_IN_CONCISE, weight=0.0)), "me", model="m")


@pytest.mark.parametrize("name", ["", "two words", "concise", "Teacher", "x" * 65])
def test_a_mix_needs_a_name_of_its_own(name: str) -> None:
    fitted = learned(Preference(text="like a patient teacher", name="teacher"))
    with pytest.raises(errors.InvalidParameterError, match="can't be called"):
        as_toml(fitted, name, model="m")


def test_z_values_are_weights_in_standard_errors() -> None:
    fitted = replace(
        learned(*(Preference(text=text, weight=3.0) for text in ("a b", "c d"))),
        standard_errors=(1.5, math.inf),
    )
    assert fitted.z_values == (2.0, 0.0)


# --- the bank ----------------------------------------------------------------------------------


def test_the_bank_is_the_built_in_preferences_and_the_users_own() -> None:
    set_preference("teacher", "like a patient teacher")
    set_mix("work", ["formal:0.7", "teacher"])
    assert [item.name for item in bank_of(None)] == [*BUILT_IN_PREFERENCES, "teacher"]


def test_another_bank_is_taken_in_its_order() -> None:
    assert [item.label for item in bank_of(["in rhyme, please", "formal"])] == [
        "in rhyme, please",
        "formal",
    ]


@pytest.mark.parametrize(
    ("bank", "reason"),
    [
        (["concise:0.5"], "has a weight"),
        (["concise", "Concise"], "are the same"),
        (["concise", BUILT_IN_PREFERENCES["concise"]], "are the same"),
        ([f"number {n} of many" for n in range(MAX_MEMBERS + 1)], "at most"),
        (["x" * 5000 + " y"], "can't be kept"),
        (["bell \x07 sound"], "can't be kept"),
        ([], "empty"),
    ],
)
def test_what_is_no_bank_is_refused(bank: list[str], reason: str) -> None:
    with pytest.raises(errors.InvalidParameterError, match=reason):
        bank_of(bank)


# --- taking a file over ------------------------------------------------------------------------

OTHER = UserSettings(preferences={"teacher": "patient"}, mixes={"me": ("teacher:0.5", "formal")})


def test_what_is_taken_over_is_beside_what_was_there() -> None:
    set_preference("mine", "in rhyme")
    merge(OTHER)
    merge(OTHER)  # again: the same content is no conflict
    settings = read_settings()
    assert dict(settings.preferences) == {"mine": "in rhyme", "teacher": "patient"}
    assert dict(settings.mixes) == {"me": ("teacher:0.5", "formal")}


@pytest.mark.parametrize("name", ["teacher", "ME"])
def test_a_name_that_is_taken_needs_force(name: str) -> None:
    path = set_preference(name, "something else")
    before = path.read_bytes()
    with pytest.raises(errors.InvalidParameterError, match="--force"):
        merge(OTHER)
    assert path.read_bytes() == before
    merge(OTHER, force=True)
    assert [item.text for item in resolve("me")] == ["patient", BUILT_IN_PREFERENCES["formal"]]


def test_settings_of_models_and_nothing_are_not_taken_over() -> None:
    for other in (UserSettings(), replace(OTHER, models={"m": UserModelSettings()})):
        with pytest.raises(errors.InvalidParameterError):
            merge(other)
    assert read_settings() == UserSettings()
