"""The decoding methods by name: which rows each one computes, and how it combines them.

Knows nothing about how rows are computed. Every method is one formula, l0 + a * (l1 - l0) with l0
the plain row and l1 the (mixed) preference row: a method says which of the rows it needs and what
its guidance scale a is. Guards (params.py) work with each of them that has both rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from amulet_local.errors import InvalidParameterError, UnknownMethodError
from amulet_local.optimizer.recurrence import from_linear_alignment_ratio
from amulet_local.params import AmuletParams

LINEAR_ALIGNMENT_RATIO = 2.0
"""Ratio of Linear Alignment in the Amulet paper's comparison."""


class DecodingMethod(ABC):
    """One way to choose the next token.

    Attributes:
        name: what users call it.
        summary: a line for the help.
        needs_plain, needs_preference: the rows that are computed for it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_plain: ClassVar[bool] = True
    needs_preference: ClassVar[bool] = True

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


class LinearAlignment(DecodingMethod):
    """Linear Alignment (arXiv 2401.11458) as in the Amulet paper's comparison: no nucleus mask."""

    name = "linear_alignment"
    summary = "Linear Alignment with ratio 2 (guidance scale 3)"

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        amulet = amulet or AmuletParams()
        if amulet.sets_strength and amulet.fixed_scale is None:
            raise InvalidParameterError(
                "linear_alignment has no alpha, lambda_, eta or num_iterations; give it a "
                "guidance_scale (1 + ratio) instead"
            )
        if amulet.sets_strength:
            return amulet
        scale = from_linear_alignment_ratio(LINEAR_ALIGNMENT_RATIO)
        with_scale: AmuletParams = amulet.replace(guidance_scale=scale)
        return with_scale


class Amulet(DecodingMethod):
    """Amulet (ICLR 2025, arXiv 2502.19148), in closed form."""

    name = "amulet"
    summary = "Amulet's online learning in closed form, with a preset's strength and guards"

    def settings(self, amulet: AmuletParams | None) -> AmuletParams:
        return amulet or AmuletParams()


METHODS: dict[str, DecodingMethod] = {
    method.name: method for method in (Base(), PreferencePrompt(), LinearAlignment(), Amulet())
}
"""Every method by name."""


def method_named(name: str) -> DecodingMethod:
    """The method called `name`.

    Raises:
        UnknownMethodError: there is none.
    """
    method = METHODS.get(name) if isinstance(name, str) else None
    if method is None:
        raise UnknownMethodError(f"no decoding method {name!r}; known: {', '.join(METHODS)}")
    return method
