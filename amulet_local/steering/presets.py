"""The presets by name: a strength, its guards and a placement of the preference.

Knows nothing about how they are carried out. docs/strength.md has the measurements that
`balanced` and `strong` were chosen by.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.amulet import SETS_SCALE, AmuletParams
from amulet_local.params.choices import Named, Placement, as_known
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering.methods import METHODS


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named choice.

    Attributes:
        name: what users call it.
        summary: a line for the help.
        amulet: the strength and the guards.
        placement: where the preference goes, unless the caller says.
    """

    name: str
    summary: str
    amulet: AmuletParams
    placement: Placement


SWITCHED_ON: dict[str, Any] = dict.fromkeys(
    (
        "echo_guard",
        "decline_guard",
        "script_guard",
        "form_guard",
        "draw_guard",
        "end_guard",
        "region_gating",
        "reasoning_gating",
        "watch",
    ),
    True,
)
"""What `balanced` and `strong` switch on besides their scale."""

MAX_GAIN = 3.0
"""What a token gains at most under them, in nats."""

PRESETS: dict[str, Preset] = Named(
    "preset",
    {
        preset.name: preset
        for preset in (
            Preset(
                name="paper",
                summary="the authors' method exactly: guidance scale 5.65, no guards",
                amulet=AmuletParams(),
                placement="system",
            ),
            Preset(
                name="balanced",
                summary="guidance scale 1.5 at first, then as the answer needs it; with all guards",
                amulet=AmuletParams(
                    guidance_scale=1.5,
                    kl_target=0.12,
                    settled_gating=True,
                    max_gain=MAX_GAIN,
                    **SWITCHED_ON,
                ),
                placement="contrast",
            ),
            Preset(
                name="strong",
                summary="guidance scale 2 at first, then further than balanced; shorter answers",
                amulet=AmuletParams(
                    guidance_scale=2.0,
                    kl_target=0.2,
                    settled_gating=True,
                    max_gain=MAX_GAIN,
                    **SWITCHED_ON,
                ),
                placement="contrast",
            ),
        )
    },
)
"""Every preset by name."""

DEFAULT_PRESET = "balanced"


@dataclass(frozen=True, kw_only=True)
class Strength:
    """What a call's strength comes to.

    Attributes:
        amulet: strength and guards; None is the method's own.
        preset: the name of the preset that it comes from, empty if none.
        placement: where the preference goes, unless the caller says.
    """

    amulet: AmuletParams | None
    preset: str
    placement: Placement


def choose_strength(
    method: str,
    amulet: AmuletParams | None,
    preset: str | None,
    *,
    default: str = DEFAULT_PRESET,
    own: UserModelSettings | None = None,
) -> Strength:
    """The strength that a caller means.

    Args:
        method: the method's name; a preset's strength is for those that take one, its placement
            for all.
        amulet, preset: what the caller gave, at most one of them. Values that are a preset's put
            the preference where that one does, others where the default preset does.
        default: the preset for a caller that gave neither.
        own: what the user keeps for this model, for such a caller.

    Raises:
        InvalidParameterError: both are given, or there is no such preset.
    """
    if not isinstance(amulet, AmuletParams | None):
        raise InvalidParameterError(
            f"amulet must be AmuletParams, got {type(amulet).__name__}; write preset='strong', or "
            "amulet=PRESETS['balanced'].amulet.replace(guidance_scale=2)"
        )
    if amulet is not None:
        if preset is not None:
            raise InvalidParameterError(
                "amulet= and preset= both set the strength; give one, e.g. "
                "amulet=PRESETS['balanced'].amulet.replace(guidance_scale=3)"
            )
        alike = [item.placement for item in PRESETS.values() if item.amulet == amulet]
        return Strength(amulet=amulet, preset="", placement=(*alike, placement_of(None))[0])
    chosen = preset_named(default if preset is None else preset)
    if not METHODS[method].takes_preset:
        return Strength(amulet=None, preset="", placement=chosen.placement)
    strength = chosen.amulet
    if preset is None and own is not None:
        strength = _changed(strength, own.strength)
    return Strength(amulet=strength, preset=chosen.name, placement=chosen.placement)


def adjusted_strength(
    preset: str | None, changes: Mapping[str, Any], *, own: UserModelSettings | None = None
) -> AmuletParams:
    """A preset's strength with some of its fields changed.

    A KL budget takes the place of a preset's scale: without a scale beside it, the paper's is the
    ceiling that it lowers.

    Args:
        preset: its name; None is the default, with the strength that the user keeps for the model.
        changes: fields of AmuletParams.
        own: that strength.

    Raises:
        InvalidParameterError: there is no such preset, or a value is out of range.
    """
    amulet = preset_named(DEFAULT_PRESET if preset is None else preset).amulet
    if preset is None and own is not None:
        kept = dict(own.strength)
        if any(changes.get(name) is not None for name in SETS_SCALE):
            for name in ("guidance_scale", "kl_target"):  # as where a preset has them
                kept.pop(name, None)
        changes = {**kept, **changes}
    return _changed(amulet, changes)


def placement_of(preset: str | None) -> Placement:
    """Where a preset puts the preference; the default one for None.

    Raises:
        InvalidParameterError: there is no such preset.
    """
    return preset_named(DEFAULT_PRESET if preset is None else preset).placement


def _changed(amulet: AmuletParams, changes: Mapping[str, Any]) -> AmuletParams:
    given = {name for name, value in changes.items() if value is not None}
    if "kl_budget" in given and given.isdisjoint(SETS_SCALE):
        amulet = amulet.replace(guidance_scale=None, kl_target=None, settled_gating=False)
    return cast("AmuletParams", amulet.replace(**changes))


def preset_named(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        InvalidParameterError: there is none.
    """
    preset = PRESETS.get(as_known(name, PRESETS)) if isinstance(name, str) else None
    if preset is None:
        close = difflib.get_close_matches(str(name).lower()[:64], PRESETS, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise InvalidParameterError(f"no preset {name!r}; {meant}known: {', '.join(PRESETS)}")
    return preset
