"""What a completion goes on from: messages, or a text.

Knows nothing about HTTP, nor when a request is made or how often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from amulet_local.answering.request import Request
from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.preferences.preference import resolve
from amulet_local.server.fields import (
    ServedFields,
    chat_fields,
    messages_of,
    prompt_of,
    text_fields,
)
from amulet_local.server.traced_answers import TracedAnswers, TracedChatAnswers, TracedTextAnswers
from amulet_local.steering.presets import DEFAULT_PRESET


class CompletionPrompt(ABC):
    """What is to be answered.

    Attributes:
        answers: the shape that answers to it have.
    """

    answers: ClassVar[type[TracedAnswers]]

    @abstractmethod
    def __init__(self, body: Mapping[str, Any]) -> None:
        """Read it from a body.

        Raises:
            InvalidRequestError: it isn't there, or is something else.
        """

    @abstractmethod
    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """What the body has besides.

        Raises:
            InvalidParameterError: a field is unknown or out of range.
        """

    @abstractmethod
    def request(self, engine: Engine, fields: ServedFields, arguments: dict[str, Any]) -> Request:
        """A checked request.

        Args:
            arguments: of `fields`, for one of the answers.

        Raises:
            AmuletError: something about it can't be done.
        """


class ChatPrompt(CompletionPrompt):
    """Messages."""

    answers = TracedChatAnswers

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._messages = messages_of(body)

    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """Those of a chat completion."""
        return chat_fields(body)

    def request(self, engine: Engine, fields: ServedFields, arguments: dict[str, Any]) -> Request:
        """The messages through the chat template."""
        return engine.request(self._messages, system=None, trace=fields.trace, **arguments)


class TextPrompt(CompletionPrompt):
    """A text, or token ids. A preference becomes a line before it, in a row of its own."""

    answers = TracedTextAnswers

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._prompt = prompt_of(body)

    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """Those of a text completion."""
        return text_fields(body)

    def request(self, engine: Engine, fields: ServedFields, arguments: dict[str, Any]) -> Request:
        """The text as it is, and once more after each preference."""
        for name in ("placement", "response_prefix", "chat_template_kwargs"):
            if getattr(fields, name):
                raise InvalidParameterError(f"{name}: is for chat completions only")
        for name in ("placement", "response_prefix", "template_arguments"):
            del arguments[name]
        preferences = resolve(arguments.pop("preference"), avoid=arguments.pop("avoid"))
        return engine.request_from_tokens(
            self._tokens(engine, ""),
            [self._tokens(engine, f"{item.instruction}\n\n") for item in preferences] or None,
            weights=[item.weight for item in preferences],
            trace=fields.trace,
            labels=[item.label for item in preferences],
            default=DEFAULT_PRESET,
            own=engine.own_settings,
            **arguments,
        )

    def _tokens(self, engine: Engine, before: str) -> list[int]:
        """The prompt's, with a text before it: after a beginning-of-text token that it has."""
        vocabulary, prompt = engine.model.vocabulary, self._prompt
        if isinstance(prompt, str):
            return vocabulary.tokenize(before + prompt, add_special=True, parse_special=False)
        if not before:
            return list(prompt)
        start = vocabulary.tokenize(before, add_special=False, parse_special=False)
        n_first = int(bool(prompt) and prompt[0] == vocabulary.bos_id)
        return [*prompt[:n_first], *start, *prompt[n_first:]]
