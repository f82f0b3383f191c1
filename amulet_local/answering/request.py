"""What a generation is asked for, checked as a whole: prompts as token ids, rows, settings.

Knows nothing about chat templates or about how rows are computed.
"""

from __future__ import annotations

import operator
import secrets
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from amulet_local.calling.call_grammar import Calling
from amulet_local.common.errors import EmptyPromptError, InvalidParameterError, PromptTooLongError
from amulet_local.common.readable import cut_after
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.form import ANY_FORM, Form
from amulet_local.preferences.preference import Preference
from amulet_local.steering.methods import DecodingMethod, method_named
from amulet_local.steering.row_plan import RowPlan

MAX_TOP = 100
"""Most alternatives that a trace holds at each token."""

LONG_ANSWER = 4096
"""Tokens that there is to be room for where an answer may be of any length."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """Everything a generation needs, checked.

    Attributes:
        prompts: token ids of each row's prompt.
        plan: which rows these are.
        amulet: strength and guards.
        method, preset: their names; the preset's is empty where the caller set the strength.
        sampling: length and sampling.
        seed: for the draws.
        n_ctx: most tokens a row can hold.
        trace: alternatives to trace at each token; None traces nothing.
        n_beams: width of a beam search; 1 is one token after the other.
        closing_tag: what ends the reasoning that the prompts have opened; empty if none.
        begun: what the prompts have of the answer already.
        form: the form that the preferences ask for.
        calling: how tools are called; None if they aren't.
        started_seconds: time.perf_counter() when it was asked for.
        preferences, warnings: for the result.
        place: which place of a pool answers it, going on from all that this has in memory; None is
            any, whose answer doesn't depend on what was asked before.
        reuses_memory: whether what a pool has in memory of the prompts is used.
        adapter_scales: of the LoRA adapters, in a pool; their own if None.
    """

    prompts: tuple[tuple[int, ...], ...]
    plan: RowPlan
    amulet: AmuletParams
    method: str
    preset: str
    sampling: SamplingParams
    seed: int
    n_ctx: int
    trace: int | None
    started_seconds: float
    n_beams: int = 1
    closing_tag: str = ""
    begun: str = ""
    form: Form = ANY_FORM
    calling: Calling | None = None
    preferences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    place: int | None = None
    reuses_memory: bool = True
    adapter_scales: tuple[float, ...] | None = None

    def context_is_full(self, n_tokens: int) -> str:
        """The warning of an answer that had no room for more than so many tokens."""
        return (
            f"{cut_after(n_tokens)}, because the context of {self.n_ctx} is full; use a larger one "
            f"(n_ctx, -c)"
        )


def choose_method(name: str | None, *, has_preference: bool) -> DecodingMethod:
    """The method called `name`; without one, "amulet" with a preference and "base" without.

    Raises:
        UnknownMethodError: there is no such method.
        InvalidParameterError: the method needs a preference and there is none.
    """
    method = method_named(name or ("amulet" if has_preference else "base"))
    if method.needs_preference and not has_preference:
        raise InvalidParameterError(
            f"the method {method.name!r} needs a preference, e.g. preference='concise'"
        )
    return method


def token_ids(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[int, ...]:
    """Token ids as plain integers of this vocabulary.

    Raises:
        EmptyPromptError: there are none.
        InvalidTokenError: one isn't an id of this vocabulary.
        InvalidParameterError: not a sequence of integers.
    """
    try:
        checked = tuple(
            token if isinstance(token, bool) else operator.index(token) for token in as_list(ids)
        )
    except TypeError:
        raise InvalidParameterError("token ids must be a list of integers") from None
    if not checked:
        raise EmptyPromptError("the list of prompt token ids is empty")
    for token in checked:
        vocabulary.check(token)
    return checked


def as_list(values: Any) -> list[Any]:
    """A caller's sequence as a list.

    Raises:
        InvalidParameterError: it isn't one.
    """
    if isinstance(values, str | bytes | Mapping | Set):
        raise InvalidParameterError(f"expected a list of numbers, got {type(values).__name__}")
    try:
        return list(values)
    except TypeError:
        raise InvalidParameterError(
            f"expected a list of numbers, got {type(values).__name__}"
        ) from None


def checked_weights(weights: Sequence[float] | None, n_preferences: int) -> list[float]:
    """One weight per preference, all 1 for None.

    Raises:
        InvalidParameterError: another number of them, one out of range, or all zero.
    """
    if weights is None:
        return [1.0] * n_preferences
    weights = as_list(weights)
    if len(weights) != n_preferences:
        raise InvalidParameterError(
            f"{len(weights)} weights for {n_preferences} preference prompts; give one for each"
        )
    checked = [Preference(text="weight", weight=weight).weight for weight in weights]
    if n_preferences and not any(checked):
        raise InvalidParameterError("every preference has weight 0, so there is nothing to follow")
    return checked


def build_request(
    method: DecodingMethod,
    prompts: Sequence[tuple[int, ...]],
    *,
    plan: RowPlan,
    amulet: AmuletParams | None,
    preset: str = "",
    sampling: SamplingParams | None,
    n_ctx: int,
    n_answer: int = 1,
    trace: int | None = None,
    closing_tag: str = "",
    begun: str = "",
    form: Form = ANY_FORM,
    calling: Calling | None = None,
    preferences: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Request:
    """Check the request as a whole.

    Args:
        prompts: one per row of the plan.
        amulet: strength and guards, the method's own if None.
        preset: the name of the preset that they come from.
        n_answer: tokens that have to follow the prompt; the last of them needs no room.
        trace: alternatives to trace at each token, 0 to MAX_TOP; None traces nothing.
        closing_tag: what ends the reasoning that the prompts have opened.
        begun: what the prompts have of the answer already.
        form: the form that the preferences ask for.
        calling: how tools are called.

    Raises:
        InvalidParameterError: `sampling` is something else, or the settings don't go together.
        PromptTooLongError: a prompt has more tokens than a row can hold.
    """
    if not isinstance(sampling, SamplingParams | None):
        raise InvalidParameterError(
            f"sampling must be SamplingParams, got {type(sampling).__name__}; write "
            "sampling=SamplingParams(max_tokens=200, temperature=0.7)"
        )
    sampling = sampling or SamplingParams()
    longest = max(len(prompt) for prompt in prompts)
    needed = longest + n_answer - 1
    if needed > n_ctx:
        counted = f"the prompt has {longest} tokens"
        if n_answer > 1:
            counted += f", the answer {n_answer},"
        room = min(sampling.max_tokens, max(n_ctx, LONG_ANSWER))
        raise PromptTooLongError(
            f"{counted} and the context holds {n_ctx}; shorten it or use a larger context "
            f"(n_ctx, -c {needed + room})",
            n_prompt_tokens=longest,
            n_ctx=n_ctx,
        )
    if trace is not None and not (type(trace) is int and 0 <= trace <= MAX_TOP):
        raise InvalidParameterError(f"trace must be None or 0 to {MAX_TOP}, got {trace!r}")
    settings = method.settings(amulet)
    check_mix(plan, settings)
    return Request(
        prompts=tuple(prompts),
        plan=plan,
        amulet=settings,
        method=method.name,
        preset=preset,
        sampling=sampling,
        seed=secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed,
        n_ctx=n_ctx,
        trace=trace,
        n_beams=method.n_beams,
        started_seconds=time.perf_counter(),
        closing_tag=closing_tag,
        begun=begun,
        form=form,
        calling=calling,
        preferences=tuple(preferences) if method.needs_preference else (),
        warnings=(*warnings, *settings.warnings, *sampling.warnings),
    )


def check_mix(plan: RowPlan, amulet: AmuletParams) -> None:
    """Refuse adaptive weights where one is negative.

    Raises:
        InvalidParameterError: see above.
    """
    if amulet.mix == "adaptive" and any(weight < 0 for weight in plan.weights):
        raise InvalidParameterError(
            "an adaptive mix takes positive weights only; use mix='fixed' with what to avoid"
        )
