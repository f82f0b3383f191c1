"""What may stand in the body of a request.

Knows nothing about HTTP. chat_completion.py has the fields that the Python interface takes as well;
here are those that only a server gets, under llama-server's names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from amulet_local.common.errors import EmptyPromptError, InvalidParameterError
from amulet_local.common.readable import visible
from amulet_local.openai.chat_completion import CHANGEABLE, MAX_CHOICES, ChatCompletionFields
from amulet_local.params.derived_fields import derived_fields
from amulet_local.params.sampling import SamplingParams

STRENGTH = ("preset", "amulet", *CHANGEABLE)
"""The strength: what a change in a stream sets as a whole."""

MAX_TRACE = 20

_OF_MESSAGES = frozenset(
    {
        *("role", "content", "tool_calls", "function_call", "refusal"),
        *("id", "type", "status", "object", "timestamp", "created_at", "model", "cache_control"),
    }
)
"""What is read of every message, or says nothing to a model."""
_OF_ROLES = {
    "assistant": {"reasoning_content", "reasoning", "thinking", "prefix"},
    "tool": {"name", "tool_name", "tool_call_id"},
    "function": {"name", "tool_name", "tool_call_id"},
}

LENGTHS = ("max_completion_tokens", "max_tokens", "n_predict")
"""Names of the most tokens of an answer."""

SERVED = tuple(
    name for name in SamplingParams.options if name not in ChatCompletionFields.model_fields
)
"""Fields of SamplingParams that the Python interface hasn't, under the same names."""

if TYPE_CHECKING:
    _SamplingFields = ChatCompletionFields
else:
    _SamplingFields = create_model(
        "_SamplingFields",
        __base__=ChatCompletionFields,
        **derived_fields(SamplingParams, SERVED, types={"json_schema": dict[str, Any]}),
    )


class ServedFields(_SamplingFields):
    """Fields of both completions, besides what is to be answered.

    Attributes:
        n_predict: llama-server's max_tokens.
        verbose: say the prompt, under `__verbose`.
        mirostat, repeat_last_n, xtc_probability, xtc_threshold, dry_multiplier, dry_base,
            dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers, ignore_eos,
            json_schema, reasoning_format: see SamplingParams.
        return_progress: say in a stream how far the prompt is.
        timings_per_token: each piece of a stream has the timings so far.
        amulet_trace: record how each token was chosen, with so many alternatives.
        id_slot: the place that answers, with all that it has in memory; below 0 is any.
        cache_prompt: whether what is in memory of the prompt is used.
        lora: how strongly adapters count: objects with id and scale; those left out don't.
        continue_final_message, add_generation_prompt: see Engine.generate; for chats.
    """

    n_predict: int | None = None
    verbose: bool = False
    return_progress: bool = False
    timings_per_token: bool = False
    id_slot: int | None = None
    cache_prompt: bool = True
    lora: Any = None
    continue_final_message: bool | Literal["content", "reasoning_content"] | None = None
    add_generation_prompt: bool | None = None
    amulet_trace: Annotated[int, Field(ge=0, le=MAX_TRACE)] | None = None

    def _check_together(self) -> None:
        super()._check_together()
        if self.continue_final_message and self.add_generation_prompt:
            raise InvalidParameterError(
                "continue_final_message: it excludes add_generation_prompt, which opens an answer "
                "instead of going on with one"
            )

    @property
    def trace(self) -> int | None:
        """Alternatives to trace; None traces nothing."""
        wanted = [n for n in (self.n_logprobs, self.amulet_trace) if n is not None]
        return max(wanted) if wanted else None

    @property
    def is_prompt_only(self) -> bool:
        """Whether the prompt is to be computed, and nothing generated."""
        return self._length == 0

    @property
    def _length(self) -> int | None:
        """The least of the lengths that are given; below 0 is what the context holds."""
        lengths = (getattr(self, name) for name in LENGTHS)
        given = [length for length in lengths if length is not None]
        return min((length for length in given if length >= 0), default=-1) if given else None

    def sampling(self, n_ctx: int) -> SamplingParams:
        """Length and sampling.

        Raises:
            InvalidParameterError: a value is out of range.
        """
        given = {name: value for name in SERVED if (value := getattr(self, name)) is not None}
        length = self._length
        if length is not None:
            given["max_tokens"] = n_ctx if length < 0 else max(length, 1)
        sampling = super().sampling(n_ctx)
        return sampling.replace(**given) if given else sampling


class TextFields(ServedFields):
    """Fields of a text completion, besides its prompt.

    Attributes:
        echo: the answer's text begins with the prompt's.
        suffix: what comes after the answer, for models that were trained to fill in.
        parse_special: whether spellings of control tokens in the prompt are these tokens.
        best_of: not supported; only the values that ask for nothing are taken.
    """

    echo: bool = False
    suffix: str | None = None
    parse_special: bool = True
    best_of: int | None = None

    @property
    def _placed(self) -> None:
        """Nowhere: it is a line before the text."""

    def _check_together(self) -> None:
        super()._check_together()
        if self.best_of not in (None, 1, self.n):
            raise InvalidParameterError("best_of: it is not supported; leave it out, or use n")


def chat_fields(body: Mapping[str, Any]) -> ServedFields:
    """Fields of the body of a chat completion, without its messages.

    Raises:
        InvalidParameterError: a field is unknown or out of range.
    """
    return ServedFields(**_asked(body, "messages"))


def text_fields(body: Mapping[str, Any], kind: type[TextFields] = TextFields) -> TextFields:
    """Fields of the body of a text completion, without its prompt; `logprobs` is a number here.

    Args:
        kind: the fields that there are.

    Raises:
        InvalidParameterError: a field is unknown or out of range.
    """
    given = _asked(body, "prompt")
    logprobs = given.pop("logprobs", None)
    if logprobs is not None and logprobs is not False:
        if not isinstance(logprobs, int):
            raise InvalidParameterError("logprobs: must be a number of alternatives")
        given |= {"logprobs": True, "top_logprobs": int(logprobs)}
    return kind(**given)


def messages_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The messages of a chat completion. What is in them is never repeated in an error.

    Raises:
        EmptyPromptError: there are none.
        InvalidParameterError: they aren't a list of objects.
    """
    messages = body.get("messages")
    if messages is None or messages == []:
        raise EmptyPromptError("messages: there are none; nothing to answer")
    if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
        raise InvalidParameterError("messages: must be a list of objects with role and content")
    return messages


def unread_of(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each key of messages that says something and isn't read."""
    unread: dict[str, None] = {}
    for message in messages:
        role = message.get("role")
        known = _OF_ROLES.get(role, ()) if isinstance(role, str) else ()
        unread |= dict.fromkeys(
            name
            for name, value in message.items()
            if value not in (None, "", [], {}, False)
            and name not in _OF_MESSAGES
            and name not in known
        )
    return [f"messages: {visible(f'{name:.40}')} isn't read" for name in unread]


def prompts_of(body: Mapping[str, Any]) -> list[str | Sequence[int | str]]:
    """The prompts of a text completion, each a text, or token ids with texts between them.

    llama-server's {"prompt_string": ...} is the text. One before a gap may be empty: what is to be
    filled in is then the beginning.

    Raises:
        EmptyPromptError: there is none.
        InvalidParameterError: one is something else.
    """
    prompt = body.get("prompt")
    if prompt == "" and body.get("suffix"):
        return [""]
    items: list[Any] = prompt if are_several(prompt) else [prompt]  # type: ignore[assignment]
    prompts = [_prompt(item) for item in items]
    if len(prompts) > MAX_CHOICES:
        raise InvalidParameterError(f"prompt: must not be more than {MAX_CHOICES} prompts")
    return prompts


def are_several(prompt: Any) -> bool:
    """Whether it is a list of prompts: one that has no token id of its own."""
    return isinstance(prompt, list) and bool(prompt) and not any(type(i) is int for i in prompt)


def _prompt(item: Any) -> str | Sequence[int | str]:
    if isinstance(item, Mapping):
        if item.get("multimodal_data"):
            raise InvalidParameterError("prompt: pictures and sounds aren't read here")
        item = item.get("prompt_string")
    if item in (None, "", []):
        raise EmptyPromptError("prompt: it is empty; nothing to go on with")
    if isinstance(item, str):
        return item
    if isinstance(item, list) and all(type(part) in (int, str) for part in item):
        return item
    raise InvalidParameterError("prompt: must be a text, a list of token ids, or a list of these")


def _asked(body: Mapping[str, Any], content: str) -> dict[str, Any]:
    """What is set, but for what is to be answered."""
    return {name: value for name, value in body.items() if value is not None and name != content}
