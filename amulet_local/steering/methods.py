"""The decoding methods by name: which rows each one computes, and how it combines them.

Knows nothing about how rows are computed. Every method is one formula, l0 + a * (l1 - l0) with l0
the plain row and l1 the (mixed) preference row: a method says which of the rows it needs and what
its guidance scale a is. Guards (guards/) work with each of them that has both rows. A method may
also search with several beams, on one row. A class in METHODS is all that a new method takes: the
engine, the commands and their help go by that table.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

from amulet_local.common.errors import InvalidParameterError, UnknownMethodError
from amulet_local.optimizer.recurrence import (
    from_context_steering_lambda,
    from_linear_alignment_ratio,
)
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Named, as_known

LINEAR_ALIGNMENT_RATIO = 2.0
"""Ratio of Linear Alignment in the Amulet paper's comparison."""

LINEAR_ALIGNMENT_NUCLEUS = {"nucleus": 0.8, "nucleus_temperature": 0.5}
"""Of its authors' code (github.com/Wizardcoast/Linear_Alignment, model.py)."""

MASK_FIELDS = ("min_plausibility", "nucleus", "nucleus_temperature")

CONTEXT_STEERING_LAMBDA = 1.0
"""Strength of Context Steering; the paper tries -3 to 3, and 0 is the preference prompt."""

BEAMS = 16
"""Width of beam search in the Amulet paper's comparison."""


class DecodingMethod(ABC):
    """One way to choose the next token.

    Attributes:
        name: what users call it.
        summary: a line for the help.
        needs_plain, needs_preference: the rows that are computed for it.
        takes_preset: whether a preset sets its strength; the others have one of their own.
        n_beams: answers that are extended side by side; 1 is one token after the other.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_plain: ClassVar[bool] = True
    needs_preference: ClassVar[bool] = True
    takes_preset: ClassVar[bool] = False
    n_beams: ClassVar[int] = 1

    @abstractmethod
    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        """Strength and guards, from what the caller gave, if anything.

        Raises:
            InvalidParameterError: the method has no such parameter.
        """


class Base(DecodingMethod):
    """The plain prompt, as llama.cpp would answer it."""

    name = "base"
    summary = "the plain prompt, no preference"
    needs_preference = False

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        return AmuletParams(guidance_scale=0.0)


class PreferencePrompt(DecodingMethod):
    """The prompt with the preference in it, no steering."""

    name = "pref"
    summary = "the preference in the prompt, no steering"
    needs_plain = False

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        return AmuletParams(guidance_scale=1.0)


class BeamSearch(PreferencePrompt):
    """Beam search on the preference prompt, as in the Amulet paper's comparison."""

    name = "beam"
    summary = f"the preference in the prompt, beam search with {BEAMS} beams"
    n_beams = BEAMS


class _FixedScale(DecodingMethod):
    """A guidance scale of the method's own, unless the caller gives one.

    Attributes:
        scale: that scale.
        mask: fields of its mask, unless the caller gives a mask.
        scale_is: the scale in the method's own terms, for a message.
    """

    scale: ClassVar[float]
    mask: ClassVar[Mapping[str, float]] = {}
    scale_is: ClassVar[str]

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        amulet = amulet or AmuletParams()
        if amulet.sets_strength and amulet.fixed_scale is None:
            raise InvalidParameterError(
                f"{self.name} has no alpha, lambda_, eta or num_iterations; give it a "
                f"guidance_scale ({self.scale_is}) instead"
            )
        changes: dict[str, float] = {} if amulet.sets_strength else {"guidance_scale": self.scale}
        if amulet.model_fields_set.isdisjoint(MASK_FIELDS):
            changes |= self.mask
        chosen: AmuletParams = amulet.replace(**changes)
        return chosen


class ContextSteering(_FixedScale):
    """Context Steering (arXiv 2405.01768)."""

    name = "context_steering"
    summary = "Context Steering with lambda 1 (guidance scale 2)"
    scale = from_context_steering_lambda(CONTEXT_STEERING_LAMBDA)
    scale_is = "1 + lambda"


class LinearAlignment(_FixedScale):
    """Linear Alignment (arXiv 2401.11458) as in the Amulet paper's comparison: no nucleus mask."""

    name = "linear_alignment"
    summary = "Linear Alignment with ratio 2 (guidance scale 3), without its mask"
    scale = from_linear_alignment_ratio(LINEAR_ALIGNMENT_RATIO)
    scale_is = "1 + ratio"


class MaskedLinearAlignment(LinearAlignment):
    """Linear Alignment with the mask of its authors' code: the preference prompt's nucleus."""

    name = "linear_alignment_masked"
    summary = "the same within the nucleus (top-p 0.8) of the preference prompt"
    mask = LINEAR_ALIGNMENT_NUCLEUS


class Amulet(DecodingMethod):
    """Amulet (ICLR 2025, arXiv 2502.19148), in closed form."""

    name = "amulet"
    summary = "Amulet's online learning in closed form, with a preset's strength and guards"
    takes_preset = True

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        return amulet or AmuletParams()


class Mato(Amulet):
    """Adaptive weights of several preferences (MATO, arXiv 2605.25342), at Amulet's strength."""

    name = "mato"
    summary = "the same with weights that favour the preference which lags; for mixes"

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        adaptive: AmuletParams = super().settings(amulet).replace(mix="adaptive")
        return adaptive


METHODS: dict[str, DecodingMethod] = Named(
    "method",
    {
        method.name: method
        for method in (
            Base(),
            PreferencePrompt(),
            BeamSearch(),
            ContextSteering(),
            LinearAlignment(),
            MaskedLinearAlignment(),
            Amulet(),
            Mato(),
        )
    },
)
"""Every method by name."""


_IN_WORDS = {
    **dict.fromkeys(("plain", "none", "off", "without"), "base"),
    **dict.fromkeys(("prompt", "prompted", "preference"), "pref"),
    "realigned": "amulet",
}
"""What answers are called in words -> the method that makes them."""


def did_you_mean_method(name: str, known: Iterable[str]) -> str:
    """What a name that none of these has may stand for, as a sentence; empty for no idea."""
    close = difflib.get_close_matches(name.lower()[:64], list(known), n=1)
    meant = _IN_WORDS.get(name.lower()) or (close[0] if close else "")
    return f"did you mean {meant!r}? " if meant else ""


def method_named(name: str) -> DecodingMethod:
    """The method called `name`.

    Raises:
        UnknownMethodError: there is none.
    """
    method = METHODS.get(as_known(name, METHODS)) if isinstance(name, str) else None
    if method is None:
        hint = did_you_mean_method(name, METHODS) if isinstance(name, str) else ""
        raise UnknownMethodError(f"no decoding method {name!r}; {hint}known: {', '.join(METHODS)}")
    return method
