"""What may stand in a line of this program's own form, and what it leaves to the job.

Knows nothing about files. The fields of settings are those of SamplingParams and AmuletParams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import create_model

from amulet_local.answering.ask import AskMessages
from amulet_local.common.errors import EmptyPromptError, InvalidParameterError
from amulet_local.openai.chat_completion import PreferenceField
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.base import StrictParams
from amulet_local.params.choices import Placement
from amulet_local.params.derived_fields import derived_fields
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering.presets import adjusted_strength

if TYPE_CHECKING:
    _SettingsFields = StrictParams
else:
    _SettingsFields = create_model(
        "_SettingsFields",
        __base__=StrictParams,
        **derived_fields(AmuletParams, AmuletParams.options),
        **derived_fields(
            SamplingParams,
            SamplingParams.options,
            types={"json_schema": dict[str, Any], "stop": Any, "logit_bias": dict[Any, Any]},
        ),
    )


class LineFields(_SettingsFields):
    """A line.

    Attributes:
        id: for the reader of the record.
        prompt: a question; or
        messages: OpenAI-style messages.
        preference, avoid, method, preset, system, placement, response_prefix, template_arguments:
            see Engine.generate; a preference may be {"name": ..., "weight": ...} or
            {"text": ..., "weight": ...}.
    """

    id: Any = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    preference: PreferenceField = None
    avoid: PreferenceField = None
    method: str | None = None
    preset: str | None = None
    system: str | None = None
    placement: Placement | None = None
    response_prefix: str | None = None
    template_arguments: dict[str, Any] | None = None

    def _check_together(self) -> None:
        if self.prompt is None and self.messages is None:
            raise EmptyPromptError("neither prompt nor messages: nothing to answer")
        if self.prompt is not None and self.messages is not None:
            raise InvalidParameterError("prompt and messages exclude each other; give only one")

    def settings(self, params: type[StrictParams]) -> dict[str, Any]:
        """Those of a class of params that the line gives."""
        given = {name: getattr(self, name) for name in params.options}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What holds for lines that say nothing: see Engine.generate."""

    preferences: tuple[Preference, ...] = ()
    method: str | None = None
    amulet: AmuletParams | None = None
    preset: str | None = None
    sampling: SamplingParams = field(default_factory=SamplingParams)
    system: str | None = None
    placement: Placement | None = None

    def ask(self, line: LineFields, own: UserModelSettings) -> AskMessages:
        """Arguments of `Engine.request` for a line.

        Args:
            own: what the user keeps for the model.

        Raises:
            InvalidParameterError: a value is out of range.
        """
        messages: Any = line.prompt if line.messages is None else line.messages
        preference: Any = self.preferences or None
        if line.preference is not None or line.avoid is not None:
            preference = line.preference
        asked: AskMessages = {
            "messages": messages,
            "preference": preference,
            "avoid": line.avoid,
            "method": line.method or self.method,
            "sampling": self.sampling.replace(**line.settings(SamplingParams)),
            "system": self.system if line.system is None else line.system,
            "placement": line.placement or self.placement,
            "response_prefix": line.response_prefix or "",
            "template_arguments": line.template_arguments,
        }
        asked["amulet"] = self._strength(line, own)
        if asked["amulet"] is None:
            asked["preset"] = line.preset or self.preset
        return asked

    def body_defaults(self) -> dict[str, Any]:
        """The same as fields of the body of a request to OpenAI's API."""
        given = {
            "preference": list(self.preferences) or None,
            "method": self.method,
            "amulet": self.amulet,
            "preset": self.preset,
            "placement": self.placement,
        }
        sampling = {
            name: getattr(self.sampling, name)
            for name in SamplingParams.options
            if name in self.sampling.model_fields_set
        }
        return {name: value for name, value in {**given, **sampling}.items() if value is not None}

    def _strength(self, line: LineFields, own: UserModelSettings) -> AmuletParams | None:
        changes = line.settings(AmuletParams)
        if not changes:
            return None if line.preset is not None else self.amulet
        if line.preset is None and self.amulet is not None:
            return self.amulet.replace(**changes)  # type: ignore[no-any-return]
        return adjusted_strength(line.preset or self.preset, changes, own=own)


def read_line(value: Mapping[str, Any] | str) -> LineFields:
    """The fields of a line; a text alone is a question.

    The prompt may be called `question`, as in the files that `tune`, `learn` and `eval` read.

    Raises:
        InvalidRequestError: something about them can't be used.
    """
    fields = {"prompt": value} if isinstance(value, str) else dict(value)
    if "question" in fields and "prompt" not in fields:
        fields["prompt"] = fields.pop("question")
    return LineFields(**fields)
