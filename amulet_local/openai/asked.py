"""What a chat completion may be asked for, by name and type, for type checkers.

Values and defaults are ChatCompletionFields' (chat_completion.py), which says what the names mean;
a test compares them. `stream` isn't here: what a call returns depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from amulet_local.params.amulet import AmuletParams
from amulet_local.params.choices import Placement
from amulet_local.preferences.preference import PreferenceLike, PreferencesLike

_Preferences: TypeAlias = (
    PreferencesLike | Mapping[str, Any] | Sequence[PreferenceLike | Mapping[str, Any]]
)


class AskCompletion(TypedDict, total=False):
    """Everything but the messages and `stream`. All of it may be left out."""

    functions: Any
    function_call: Any
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    stop: str | Sequence[str] | None
    seed: int | None
    response_format: dict[str, Any] | None
    max_tokens: int | None
    presence_penalty: float
    frequency_penalty: float
    repeat_penalty: float
    tfs_z: float
    mirostat_mode: int
    mirostat_tau: float
    mirostat_eta: float
    model: str | None
    logits_processor: Any
    grammar: Any
    logit_bias: dict[Any, Any] | None
    logprobs: bool | None
    top_logprobs: int | None
    n: int
    max_completion_tokens: int | None
    stream_options: dict[str, Any] | None
    preference: _Preferences
    avoid: _Preferences
    method: str | None
    preset: str | None
    placement: Placement | None
    response_prefix: str
    amulet: AmuletParams | None
    guidance_scale: float | None
    max_guidance: float | None
    max_gain: float | None
    min_plausibility: float | None
    kl_budget: float | None
    kl_target: float | None
    chat_template_kwargs: dict[str, Any] | None
