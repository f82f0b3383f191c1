"""OpenAI's chat completion: its fields, and answers in its shape, as llama-cpp-python gives them.

Knows nothing about how answers are made; it is given a source of streams. Every answer is made as
a stream, so that an answer at once and one in pieces say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, PlainValidator, create_model

from amulet_local.answering.answer_stream import AnswerStream
from amulet_local.answering.settings_used import Asked
from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama import native
from amulet_local.loading.open_model import OpenModel
from amulet_local.openai.shapes import ChatAnswers
from amulet_local.params.amulet import AmuletParams
from amulet_local.params.base import OF_AN_ANSWER, OTHER_WORDS, StrictParams
from amulet_local.params.choices import Placement
from amulet_local.params.derived_fields import derived_fields
from amulet_local.params.option import changeable
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import (
    Preference,
    PreferenceLike,
    PreferencesLike,
    resolve,
)
from amulet_local.preferences.user_settings import UserModelSettings
from amulet_local.steering.presets import adjusted_strength, placement_of, preset_named

MAX_CHOICES = 128
"""Most answers to one request; OpenAI's limit."""

MAX_TOP_LOGPROBS = 100

REQUEST = "request"
"""Where a setting came from that a request has."""

_SETTINGS = {
    "max_completion_tokens": "max_tokens",
    "n_predict": "max_tokens",
    "mirostat_mode": "mirostat",
    "response_format": "json_schema",
}
"""What fields set that are called otherwise."""

_N_SEEDS = 2**32 - 1


def _preferences(value: Any) -> PreferencesLike:
    """A name, a text, or a list of them; a mapping is one of either with its weight."""
    items = value if isinstance(value, list | tuple) else [value]
    result: list[PreferenceLike] = []
    for item in items:
        result += _weighted(item) if isinstance(item, Mapping) else [item]
    return None if value is None else result


def _weighted(item: Mapping[str, Any]) -> list[Preference]:
    """What a mapping says: a text stays one, whatever it looks like, and a name is looked up."""
    if set(item) - {"name", "text", "weight"} or len({"name", "text"} & set(item)) != 1:
        raise ValueError('must be texts, or objects of "text" or "name", and "weight"')
    weight = item.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ValueError("the weight of a preference must be a number")
    text = item.get("text", item.get("name"))
    if not isinstance(text, str):
        raise ValueError("the text of a preference must be a text")
    if "text" in item:
        return [Preference(text=text, weight=weight)]
    try:
        return [replace(one, weight=one.weight * weight) for one in resolve(text)]
    except OverflowError:  # JSON's integers have any number of digits
        raise ValueError("the weight of a preference is too large") from None


def _preset(value: Any) -> str | None:
    """The name of a preset, in any case.

    Raises:
        InvalidParameterError: there is none of this name.
    """
    try:
        return None if value is None else preset_named(value).name
    except InvalidParameterError as error:
        raise InvalidParameterError(f"preset: {error}") from None


def _grammar(value: Any) -> str | None:
    """GBNF text, or llama-cpp-python's LlamaGrammar."""
    text = getattr(value, native.GRAMMAR_TEXT, value)
    if not isinstance(text, str | None):
        raise ValueError("must be GBNF text or a LlamaGrammar")
    return text


def _strength_alone(value: Any) -> Any:
    """What stands under `amulet`, which has nothing that stands beside it.

    Raises:
        ValueError: it does.
    """
    for given in value if isinstance(value, Mapping) else ():
        name = OTHER_WORDS.get(given, given)
        if name in OF_AN_ANSWER:
            raise ValueError(f"{name!r} stands beside 'amulet', not in it")
    return value


PreferenceField = Annotated[Any, PlainValidator(_preferences)]


CHANGEABLE = changeable(AmuletParams.options)
"""Fields of the strength; they may change while an answer streams."""

if TYPE_CHECKING:
    _StrengthFields = StrictParams
else:
    _StrengthFields = create_model(
        "_StrengthFields", __base__=StrictParams, **derived_fields(AmuletParams, CHANGEABLE)
    )


class ChatCompletionFields(_StrengthFields):
    """What a chat completion is asked for besides its messages.

    Names and defaults are llama-cpp-python's `create_chat_completion`, so that a program written
    for it goes on as it was; n, max_completion_tokens and stream_options are OpenAI's.

    Attributes:
        temperature, top_p, top_k, min_p, typical_p, presence_penalty, frequency_penalty,
            repeat_penalty, mirostat_mode, mirostat_tau, mirostat_eta, logit_bias: see
            SamplingParams. top_k below 1 is off.
        stop: a text, or several, that end the answer.
        seed: None and -1 draw one; any other whole number is taken modulo 2^32 - 1.
        max_tokens, max_completion_tokens: most tokens; None (and below 1) is the whole context.
        response_format: {"type": "text"}, {"type": "json_object"} (with llama-cpp-python's
            "schema"), or {"type": "json_schema", "json_schema": {"schema": ...}}.
        grammar: GBNF text or a LlamaGrammar.
        logprobs, top_logprobs: log-probabilities of the tokens and of so many alternatives, under
            the distribution that was chosen from.
        stream, stream_options: pieces instead of a whole; {"include_usage": True} adds a last one
            with the usage.
        n: answers.
        model: what the response says; the file's name if None.
        tools, tool_choice, parallel_tool_calls: see Engine.generate.
        functions, function_call, logits_processor, tfs_z: not supported; only the values that ask
            for nothing are taken.
        preference, avoid, method, preset, placement, response_prefix: see Engine.generate. A
            preference is a name, a text, or a list of these, of {"name": ..., "weight": ...} or of
            {"text": ..., "weight": ...}, whose text is none of the names.
        amulet: strength and guards at once.
        guidance_scale and the like, of CHANGEABLE: single ones of a preset's.
        chat_template_kwargs: variables of the chat template.
    """

    elsewhere: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("system", "system_prompt"),
            'it is the first of the messages: {"role": "system", "content": "..."}',
        ),
        "sampling": "its fields stand here by themselves: temperature=0.7",
        "template_arguments": "it is chat_template_kwargs here",
    }

    functions: Any = None
    function_call: Any = None
    tools: Any = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    temperature: float = 0.2
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    typical_p: float = 1.0
    stream: bool = False
    stop: Any = ()
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    tfs_z: float = 1.0
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    model: str | None = None
    logits_processor: Any = None
    grammar: Annotated[Any, PlainValidator(_grammar)] = None
    logit_bias: dict[Any, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] = 1
    max_completion_tokens: int | None = None
    stream_options: dict[str, Any] | None = None
    preference: PreferenceField = None
    avoid: PreferenceField = None
    method: str | None = None
    preset: Annotated[str | None, PlainValidator(_preset)] = None
    placement: Placement | None = None
    response_prefix: str = ""
    amulet: Annotated[AmuletParams | None, BeforeValidator(_strength_alone)] = None
    chat_template_kwargs: dict[str, Any] | None = None

    def _check_together(self) -> None:
        if self.functions or self.function_call not in (None, "none", "auto"):
            raise InvalidParameterError(
                "functions and function_call are not supported; use tools and tool_choice"
            )
        if self.logits_processor:
            raise InvalidParameterError("logits_processor is not supported; leave it out")
        if self.tfs_z != 1.0:
            raise InvalidParameterError("tfs_z is no sampler of llama.cpp any more; leave it out")
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidParameterError("top_logprobs: it needs logprobs=True")
        if self.stream_options is not None and not self.stream:
            raise InvalidParameterError("stream_options: it needs stream=True")

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool((self.stream_options or {}).get("include_usage"))

    @property
    def n_logprobs(self) -> int | None:
        """Alternatives whose log-probabilities are wanted; None asks for no log-probabilities."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def sampling(self, n_ctx: int) -> SamplingParams:
        """Length and sampling.

        Args:
            n_ctx: the longest answer there can be.

        Raises:
            InvalidParameterError: a value is out of range.
        """
        n_tokens = self.max_completion_tokens
        if n_tokens is None:
            n_tokens = self.max_tokens
        fields = {
            name: getattr(self, name)
            for name in SamplingParams.options
            if name in ChatCompletionFields.model_fields
        }
        otherwise = {
            "max_tokens": n_ctx if n_tokens is None or n_tokens < 1 else n_tokens,
            "top_k": max(self.top_k, 0),
            "stop": self.stop or (),
            "seed": None if self.seed in (None, -1) else self.seed % _N_SEEDS,
            "mirostat": self.mirostat_mode,
            "logit_bias": self.logit_bias or {},
            "json_schema": _json_schema(self.response_format),
        }
        return SamplingParams(**{**fields, **otherwise})

    def arguments(self, sampling: SamplingParams | None, own: UserModelSettings) -> dict[str, Any]:
        """Arguments of `Engine.stream_generate`, but for the messages and the trace.

        Args:
            sampling: of this answer.
            own: what the user keeps for the model.

        Raises:
            As `strength`.
        """
        amulet = self.strength(own)
        return {
            "preference": self.preference,
            "avoid": self.avoid,
            "method": self.method,
            "amulet": amulet,
            "preset": self.preset if amulet is None else None,
            "sampling": sampling,
            "placement": self.placement or placement_of(self.preset),
            "response_prefix": self.response_prefix,
            "template_arguments": self.chat_template_kwargs,
            "tools": self.tools,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
        }

    def strength(self, own: UserModelSettings) -> AmuletParams | None:
        """Strength and guards; None is the preset's own.

        Args:
            own: what the user keeps for the model.

        Raises:
            InvalidParameterError: `amulet` comes with single values, or with a preset.
        """
        changes = self._changes
        if not changes:
            return self.amulet
        if self.amulet is not None:
            raise InvalidParameterError(
                f"amulet and {', '.join(changes)} exclude each other; give only one"
            )
        return adjusted_strength(self.preset, changes, own=own)

    @property
    def _changes(self) -> dict[str, Any]:
        """Single values of the strength."""
        return {name: value for name in CHANGEABLE if (value := getattr(self, name)) is not None}

    @property
    def _placed(self) -> Placement | None:
        """Where preferences go; None where there is no template that they go into."""
        return self.placement or placement_of(self.preset)

    def asked(
        self, sampling: SamplingParams, own: UserModelSettings, sources: Mapping[str, str]
    ) -> Asked:
        """What an answer's settings are told from.

        Args:
            sampling: of this answer.
            own: what the user keeps for the model.
            sources: what each field was given by.

        Raises:
            As `strength`.
        """
        amulet = self.strength(own)
        start = None if self.amulet is None else sources["amulet"]
        if self.preset is not None:
            start = f"preset {self.preset}"
        return Asked(
            sources={_SETTINGS.get(name, name): source for name, source in sources.items()},
            params=(sampling,),
            amulet=amulet,
            preset=self.preset if amulet is None else None,
            changes=self._changes,
            strength_from=start,
            placement=self._placed,
            own=own,
        )


def _json_schema(response_format: Mapping[str, Any] | None) -> Any:
    """The schema that a response format asks for; None for text."""
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return response_format.get("schema") or {"type": "object"}
    nested = response_format.get("json_schema")
    if kind == "json_schema" and isinstance(nested, Mapping) and "schema" in nested:
        return nested["schema"]
    raise InvalidParameterError(
        'response_format: must be {"type": "text"}, {"type": "json_object"} or {"type": '
        '"json_schema", "json_schema": {"schema": ...}}'
    )


def choices(sampling: SamplingParams | None, n: int) -> list[SamplingParams]:
    """Sampling of `n` answers: the seed that is given and those after it.

    Raises:
        InvalidParameterError: n is out of range.
    """
    if type(n) is not int or not 1 <= n <= MAX_CHOICES:
        raise InvalidParameterError(f"n must be 1 to {MAX_CHOICES}, got {n!r:.60}")
    sampling = SamplingParams() if sampling is None else sampling
    if sampling.seed is None:
        return [sampling] * n
    return [sampling.replace(seed=(sampling.seed + i) % _N_SEEDS) for i in range(n)]


def create_chat_completion(
    model: OpenModel,
    stream: Callable[..., AnswerStream],
    messages: Sequence[Mapping[str, Any]],
    fields: ChatCompletionFields,
) -> dict[str, Any] | Iterator[dict[str, Any]]:
    """An answer in OpenAI's shape; pieces of one if the fields say so.

    Args:
        model: that answers.
        stream: its `Engine.stream_generate`.
        messages: OpenAI-style messages.
        fields: everything else that is asked.

    Raises:
        As `Engine.generate`, before the first piece.
    """
    answers = ChatAnswers(
        model=model.model.path.name if fields.model is None else fields.model,
        vocabulary=model.model.vocabulary,
        stream=fields.stream,
        n_logprobs=fields.n_logprobs,
        n=fields.n,
    )
    samplings = choices(fields.sampling(model.n_ctx), fields.n)
    own = model.own_settings
    calls = [fields.arguments(sampling, own) for sampling in samplings]
    given = {name for name in fields.model_fields_set if getattr(fields, name) is not None}
    answers.asked = fields.asked(samplings[0], own, dict.fromkeys(given, REQUEST))
    first = stream(messages, **calls[0], trace=fields.n_logprobs)
    streams = (
        stream(messages, **call, trace=fields.n_logprobs) if index else first
        for index, call in enumerate(calls)
    )
    pieces = _pieces(answers, streams)
    if not fields.stream:
        for _ in pieces:
            pass
        return answers.whole()
    return _with_usage(answers, pieces) if fields.include_usage else pieces


def _pieces(answers: ChatAnswers, streams: Iterator[AnswerStream]) -> Iterator[dict[str, Any]]:
    for index, stream in enumerate(streams):
        with closing(stream):
            yield from answers.begin(index)
            for chunk in stream:
                yield from answers.take(index, chunk)
        assert chunk.generation is not None
        yield answers.end(index, chunk.generation)


def _with_usage(answers: ChatAnswers, pieces: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield from pieces
    yield answers.usage_piece()
