"""What tuning tries: a row of strengths under the default preset's guards, and two references.

Knows nothing about models. One scale for all tokens buys the most preference for a given
divergence (docs/mathematics.md), so scales are swept unless KL budgets are asked for, under which
the paper's scale is only a ceiling. A target moves the scale from token to token, as the presets
do, and begins with the scale of the preset whose target is nearest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.amulet import AmuletParams
from amulet_local.preferences.user_settings import (
    MAX_GUIDANCE_SCALE,
    MAX_KL_BUDGET,
    UserModelSettings,
)
from amulet_local.steering.presets import PRESETS, adjusted_strength

Sweep: TypeAlias = Literal["kl", "scale", "target"]

DEFAULT_VALUES: dict[Sweep, tuple[float, ...]] = {
    "kl": (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.2),
    "scale": (1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0),
    "target": (0.03, 0.06, 0.12, 0.2, 0.3),
}
"""Nats a token at most, guidance scales, and nats a token on average; the preference prompt comes
before them."""

MAX_VALUES = 32

_REFERENCE: dict[Sweep, float] = {"kl": 0.0, "scale": 1.0, "target": 0.0}
"""The value that is the preference prompt itself."""

_LARGEST: dict[Sweep, float] = {
    "kl": MAX_KL_BUDGET,
    "scale": MAX_GUIDANCE_SCALE,
    "target": MAX_KL_BUDGET,
}
_AIMED = [preset.amulet for preset in PRESETS.values() if preset.amulet.kl_target is not None]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One strength that is tried.

    Attributes:
        name: for tables.
        label: for plots.
        amulet: strength and guards.
        value: nats, or the scale; None for the paper's own strength, which is a reference only.
        own: what the user's settings hold where this is a model's strength.
    """

    name: str
    label: str
    amulet: AmuletParams
    value: float | None
    own: UserModelSettings


def settings_of(sweep: Sweep, values: Sequence[float] | None = None) -> tuple[Setting, ...]:
    """What a sweep tries: the preference prompt, the values in their order, the paper's strength.

    Args:
        values: nats, or scales; the usual ones if None.

    Raises:
        InvalidParameterError: there are too many, or one is out of range.
    """
    low, high = _REFERENCE[sweep], _LARGEST[sweep]
    chosen = DEFAULT_VALUES[sweep] if values is None else values
    if len(chosen) > MAX_VALUES:
        raise InvalidParameterError(f"--values has {len(chosen)} values, at most {MAX_VALUES}")
    for value in chosen:
        if not low <= value <= high:
            others = [name for name in _REFERENCE if _REFERENCE[name] <= value <= _LARGEST[name]]
            hint = f"; those of --sweep {' and '.join(others)} may be" if others else ""
            raise InvalidParameterError(
                f"--values are numbers from {low:g} to {high:g} for --sweep {sweep}, not {value:g}"
                f"{hint}"
            )
    ordered = sorted({low, *map(float, chosen)})
    paper = Setting(
        name="paper, no guards",
        label="paper",
        amulet=PRESETS["paper"].amulet,
        value=None,
        own=UserModelSettings(),
    )
    return (*(_setting(sweep, value) for value in ordered), paper)


def _setting(sweep: Sweep, value: float) -> Setting:
    if sweep == "kl":
        name, own = f"KL {value:g}", UserModelSettings(kl_budget=value)
    elif sweep == "target" and value > _REFERENCE[sweep]:
        nearest = min(_AIMED, key=lambda amulet: abs((amulet.kl_target or 0.0) - value))
        own = UserModelSettings(guidance_scale=nearest.guidance_scale, kl_target=value)
        name = f"target {value:g}"
    elif sweep == "target":
        name, own = "", UserModelSettings(guidance_scale=1.0, kl_budget="off")
    else:
        name, own = f"scale {value:g}", UserModelSettings(guidance_scale=value, kl_budget="off")
    amulet = adjusted_strength(None, {}, own=own)
    if value == _REFERENCE[sweep]:
        name = "preference prompt"
    return Setting(name=name, label=f"{value:g}", amulet=amulet, value=value, own=own)
