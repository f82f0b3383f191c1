"""What is compared: a decoding method with its strength, under the name that tables show.

NAME, NAME:PRESET, or NAME:KEY=VALUE+KEY=VALUE as in "amulet:balanced", "amulet:scale=2.5",
"amulet:balanced+kl=0.3"; "@creative+concise" after it limits it to these preferences. Knows nothing
about questions or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from amulet_local.common.errors import InvalidParameterError, UnknownMethodError
from amulet_local.params.amulet import AmuletParams
from amulet_local.steering.methods import METHODS, DecodingMethod, did_you_mean_method, method_named
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS, adjusted_strength, preset_named

KEYS = {option.eval: name for name, option in AmuletParams.options.items() if option.eval}
"""Short names of AmuletParams' fields."""

DEFAULT_METHODS = "base,pref,linear_alignment,amulet:paper,amulet:balanced"
PAPER_METHODS = "base,pref,beam,linear_alignment,amulet:paper"
"""The paper's comparison."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A method at a strength.

    Attributes:
        name: as it was asked for.
        method: the method.
        amulet: its strength and guards.
        set_fields: the fields of it that the name sets one by one.
        only: labels of the preferences that it is limited to; None for all.
    """

    name: str
    method: DecodingMethod
    amulet: AmuletParams
    set_fields: frozenset[str] = frozenset()
    only: tuple[str, ...] | None = None

    @property
    def runs_as(self) -> str:
        """The method that makes the answer.

        The preference prompt alone is computed beside the plain one, at scale 1: the same tokens,
        and both log-probabilities with them.
        """
        method = self.method
        if method.needs_preference and not method.needs_plain and method.n_beams == 1:
            return "amulet"
        return method.name

    @property
    def is_traced(self) -> bool:
        """Whether its answers come with their log-probabilities in every row."""
        return METHODS[self.runs_as].needs_plain and self.method.needs_preference


def contestants(text: str, *, preset: str = DEFAULT_PRESET) -> tuple[Contestant, ...]:
    """The contestants that a list names, each once.

    Args:
        text: names with commas between them.
        preset: of those that take one and name none.

    Raises:
        UnknownMethodError: no such method.
        InvalidParameterError: no names, an unknown preset or key, or a value out of range.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InvalidParameterError("--methods names no method; e.g. --methods base,pref,amulet")
    preset = preset_named(preset).name
    found = tuple(contestant(name, preset=preset) for name in names)
    if len({item.name for item in found}) < len(found):
        raise InvalidParameterError("--methods names a method twice")
    return found


def contestant(given: str, *, preset: str = DEFAULT_PRESET) -> Contestant:
    """The contestant of one name.

    Raises:
        As `contestants`.
    """
    name, at, wishes = given.partition("@")
    name = name.lower()
    base, _, rest = name.partition(":")
    if base in PRESETS and base not in METHODS:
        base, rest = "amulet", f"{base}+{rest}" if rest else base
    try:
        method = method_named(base)
    except UnknownMethodError:
        known = (*METHODS, *PRESETS)
        raise UnknownMethodError(
            f"no method or preset {base!r:.60}; {did_you_mean_method(base, known)}known: "
            f"{', '.join(known)}"
        ) from None
    amulet, start = None, ""
    changes: dict[str, Any] = {}
    parts = [part for part in rest.split("+") if part]
    if parts and parts[0] in PRESETS:
        if not method.takes_preset:
            raise InvalidParameterError(f"the method {name!r:.60}: {base} takes no preset")
        start = parts.pop(0)
        amulet = PRESETS[start].amulet
    elif not parts and method.takes_preset:
        amulet = PRESETS[preset].amulet
    if parts:
        if not (method.needs_plain and method.needs_preference):
            raise InvalidParameterError(f"the method {name!r:.60}: {base} has no strength to set")
        changes = _changes(parts, name)
        amulet = adjusted_strength(start, changes) if start else AmuletParams(**changes)
    only = tuple(part for part in wishes.split("+") if part)
    if at and not (only and method.needs_preference):
        raise InvalidParameterError(
            f"the method {given!r:.60}: @ has preferences after it that the method is limited to"
        )
    return Contestant(
        name=name,
        method=method,
        amulet=method.settings(amulet),
        set_fields=frozenset(changes),
        only=only or None,
    )


def _changes(parts: Sequence[str], name: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key not in KEYS:
            known = ", ".join((*PRESETS, *(f"{key}=" for key in KEYS)))
            raise InvalidParameterError(f"the method {name!r:.60}: no {key!r:.40}; known: {known}")
        field = KEYS[key]
        if AmuletParams.options[field].kind == "switch":
            if value not in ("0", "1"):
                raise InvalidParameterError(
                    f"the method {name!r:.60}: {key} has to be 0 or 1, not {value!r:.40}"
                )
            changes[field] = value == "1"
            continue
        try:
            changes[field] = int(value) if key == "iterations" else float(value)
        except ValueError:
            raise InvalidParameterError(
                f"the method {name!r:.60}: {key} has to be a number, not {value!r:.40}"
            ) from None
    return changes
