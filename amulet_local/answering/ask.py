"""What callers of an engine may say besides the question, by name and type, written once.

`Ask` is the whole of it; what a running answer can be changed to, and what a score, a conversation
and prompts of token ids take, are parts of it. All of it may be left out. What the names mean is
said at `Engine.generate`. Knows nothing about values: who uses one checks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.params.where_it_goes import instead_of
from amulet_local.preferences.preference import PreferencesLike
from amulet_local.prompts.messages import Continuation
from amulet_local.prompts.prompter import Messages


class AskChange(TypedDict, total=False):
    """What an answer follows and how strongly, which may change while it runs."""

    preference: PreferencesLike
    avoid: PreferencesLike
    amulet: AmuletParams | None
    preset: str | None


class AskScore(AskChange, total=False):
    """What the prompts of a given answer depend on."""

    system: str | None
    placement: Placement | None


class AskConversation(AskScore, total=False):
    """What every answer of a conversation has in common."""

    method: str | None
    sampling: SamplingParams | None


class Ask(AskConversation, total=False):
    """Everything that one answer can be asked for."""

    trace: int | None
    response_prefix: str
    template_arguments: Mapping[str, Any] | None
    bare: bool
    continue_final_message: Continuation
    add_generation_prompt: bool
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None


class AskMessages(Ask):
    """A question, with everything that its answer is asked for."""

    messages: Messages


class AskTokens(TypedDict, total=False):
    """What one answer to prompts of token ids can be asked for."""

    method: str | None
    amulet: AmuletParams | None
    preset: str | None
    sampling: SamplingParams | None
    weights: Sequence[float] | None
    trace: int | None


def check_names(kind: type, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that a call doesn't have.

    Args:
        kind: one of the classes above.
        arguments: what a caller gave, by name.

    Raises:
        TypeError: one isn't in `kind`.
    """
    for name in arguments:
        if name not in _names(kind):
            hint = instead_of(name, _names(kind))
            raise TypeError(f"got an unexpected keyword argument {name!r}{hint}")


def unchangeable(ask: Ask) -> Ask:
    """The part of it that stays what it is while the answer runs."""
    changing = _names(AskChange)
    return cast(Ask, {name: value for name, value in ask.items() if name not in changing})


def _names(kind: type) -> frozenset[str]:
    names: frozenset[str] = kind.__optional_keys__  # type: ignore[attr-defined]
    return names
