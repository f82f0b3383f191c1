"""What may stand in the body of a request.

Knows nothing about HTTP. chat_completion.py has the fields that the Python interface takes as well;
here are those that only a server gets: llama-server's names, and what clients send out of habit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model

from amulet_local.common.errors import EmptyPromptError, InvalidParameterError
from amulet_local.openai.chat_completion import CHANGEABLE, ChatCompletionFields
from amulet_local.params.derived_fields import derived_fields
from amulet_local.params.sampling import SamplingParams

IGNORED = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("parallel_tool_calls", "prompt_cache_retention", "verbosity", "modalities"),
        *("cache_prompt", "id_slot", "slot_id", "timings_per_token", "return_progress"),
        *("return_tokens", "post_sampling_probs", "n_keep", "samplers", "t_max_predict_ms"),
    }
)
"""Fields of OpenAI and llama-server that clients send and that change nothing here."""

STRENGTH = ("preset", "amulet", *CHANGEABLE)
"""The strength: what a change in a stream sets as a whole."""

MAX_TRACE = 20
MAX_TEXT_PROMPT = 10_000_000

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
        mirostat, repeat_last_n, xtc_probability, xtc_threshold, dry_multiplier, dry_base,
            dry_allowed_length, dry_penalty_last_n, dry_sequence_breakers, ignore_eos,
            json_schema, reasoning_format: see SamplingParams.
        amulet_trace: record how each token was chosen, with so many alternatives.
    """

    n_predict: int | None = None
    amulet_trace: Annotated[int, Field(ge=0, le=MAX_TRACE)] | None = None

    @property
    def trace(self) -> int | None:
        """Alternatives to trace; None traces nothing."""
        wanted = [n for n in (self.n_logprobs, self.amulet_trace) if n is not None]
        return max(wanted) if wanted else None

    def sampling(self, n_ctx: int) -> SamplingParams:
        """Length and sampling.

        Raises:
            InvalidParameterError: a value is out of range.
        """
        given = {name: value for name in SERVED if (value := getattr(self, name)) is not None}
        given_length = (self.max_tokens, self.max_completion_tokens)
        if self.n_predict is not None and given_length == (None, None):
            given["max_tokens"] = self.n_predict if self.n_predict >= 1 else n_ctx
        sampling = super().sampling(n_ctx)
        return sampling.replace(**given) if given else sampling


class TextFields(ServedFields):
    """Fields of a text completion, besides its prompt.

    Attributes:
        echo, suffix, best_of: not supported; only the values that ask for nothing are taken.
    """

    echo: bool = False
    suffix: str | None = None
    best_of: int | None = None

    def _check_together(self) -> None:
        super()._check_together()
        if self.echo:
            raise InvalidParameterError("echo: it is not supported; leave it out")
        if self.suffix:
            raise InvalidParameterError("suffix: it is not supported; leave it out")
        if self.best_of not in (None, 1, self.n):
            raise InvalidParameterError("best_of: it is not supported; leave it out, or use n")


def chat_fields(body: Mapping[str, Any]) -> ServedFields:
    """Fields of the body of a chat completion, without its messages.

    Raises:
        InvalidParameterError: a field is unknown or out of range.
    """
    return ServedFields(**_asked(body, "messages"))


def text_fields(body: Mapping[str, Any]) -> TextFields:
    """Fields of the body of a text completion, without its prompt; `logprobs` is a number here.

    Raises:
        InvalidParameterError: a field is unknown or out of range.
    """
    given = _asked(body, "prompt")
    logprobs = given.pop("logprobs", None)
    if logprobs is not None and logprobs is not False:
        if not isinstance(logprobs, int):
            raise InvalidParameterError("logprobs: must be a number of alternatives")
        given |= {"logprobs": True, "top_logprobs": int(logprobs)}
    return TextFields(**given)


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
    for item in messages:
        if item.get("tool_calls") or item.get("role") in ("tool", "function"):
            raise InvalidParameterError("messages: tools and functions are not supported")
    return messages


def prompt_of(body: Mapping[str, Any]) -> str | Sequence[int]:
    """The prompt of a text completion: a text, or token ids.

    Raises:
        EmptyPromptError: there is none.
        InvalidParameterError: it is something else, or several.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if prompt in (None, "", []):
        raise EmptyPromptError("prompt: it is empty; nothing to go on with")
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(type(token) is int for token in prompt):
        return prompt
    raise InvalidParameterError("prompt: must be one text, or a list of token ids")


def _asked(body: Mapping[str, Any], content: str) -> dict[str, Any]:
    """What is set and asks for something."""
    return {
        name: value
        for name, value in body.items()
        if value is not None and name != content and name not in IGNORED
    }
