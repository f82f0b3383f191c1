"""What a conversation's answers follow, and how they are made: checked as a whole, changed in part.

Knows nothing about turns or models.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Literal, get_args

from amulet_local.answering.ask import AskConversation
from amulet_local.answering.request import check_mix, choose_method
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement, as_known
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.prompts.messages import with_preference
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import PRESETS, choose_strength
from amulet_local.steering.row_plan import RowPlan

OnFull = Literal["error", "drop_oldest"]
"""When a turn doesn't fit the context: refuse it, or leave out the oldest turns."""


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "placement": (None, *get_args(Placement)),
    "on_full": get_args(OnFull),
}


class Keep(Enum):
    """The type of KEEP."""

    KEEP = "what it is"


KEEP: Final = Keep.KEEP
"""Stands for a setting that stays what it is: None has a meaning of its own."""


@dataclass(frozen=True, kw_only=True)
class ConversationSettings:
    """The settings of a conversation; `Conversation.set` changes them.

    Attributes:
        preference, avoid: what answers should be like, and what not.
        method, amulet, preset, system, placement: as for `Engine.generate`.
        sampling: length and sampling.
        on_full: what to do when the context is full.
    """

    preference: tuple[Preference, ...] = ()
    avoid: tuple[Preference, ...] = ()
    method: str | None = None
    amulet: AmuletParams | None = None
    preset: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    system: str | None = None
    placement: Placement | None = None
    on_full: OnFull = "error"

    def changed(self, changes: dict[str, Any]) -> ConversationSettings:
        """A copy with some settings changed, checked as a whole.

        Args:
            changes: what a caller gave, by name; KEEP leaves a setting as it is. A strength in
                `amulet` takes the place of a preset, and a preset that of a strength.

        Raises:
            As `Engine.generate`, for what doesn't depend on a model.
        """
        given = {name: value for name, value in changes.items() if value is not KEEP}
        for name, other in (("amulet", "preset"), ("preset", "amulet")):
            if given.get(name) is not None:
                given.setdefault(other, None)
        for name in ("preference", "avoid"):
            if name in given:
                given[name] = resolve(given[name])
        if "sampling" in given and given["sampling"] is None:
            given["sampling"] = SamplingParams()
        for name, words in (*_CHOICES.items(), ("preset", PRESETS), ("method", METHODS)):
            if name in given:
                given[name] = as_known(given[name], filter(None, words))
        settings = replace(self, **given)
        settings.check()
        return settings

    def arguments(self) -> AskConversation:
        """What `Engine.generate` gets of it."""
        return {
            "preference": self.preference or None,
            "avoid": self.avoid or None,
            "method": self.method,
            "amulet": self.amulet,
            "preset": self.preset,
            "sampling": self.sampling,
            "system": self.system,
            "placement": self.placement,
        }

    def check(self) -> None:
        """Refuse what can't be together, or is no value of a setting.

        Raises:
            As `Engine.generate`, for what doesn't depend on a model.
        """
        preferences = resolve(self.preference or None, avoid=self.avoid or None)
        method = choose_method(self.method, has_preference=bool(preferences))
        strength = choose_strength(method.name, self.amulet, self.preset)
        plan = RowPlan.of(method, [item.weight for item in preferences])
        check_mix(plan, method.settings(strength.amulet))
        if not isinstance(self.sampling, SamplingParams):
            raise InvalidParameterError(
                f"sampling must be SamplingParams, got {type(self.sampling).__name__}; write "
                "sampling=SamplingParams(max_tokens=200, temperature=0.7)"
            )
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if not isinstance(value, str | None) or value not in known:
                raise InvalidParameterError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {value!r:.60}"
                )
        for instruction in ("", *(item.instruction for item in preferences)):
            with_preference(
                [{"role": "user", "content": "?"}],
                system="" if self.system is None else self.system,
                preference=instruction,
            )
