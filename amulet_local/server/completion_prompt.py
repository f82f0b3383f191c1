"""What a completion goes on from: messages, or a text.

Knows nothing about HTTP, nor when a request is made or how often.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from amulet_local.answering.ask import Ask
from amulet_local.answering.request import Request
from amulet_local.common.errors import InvalidParameterError
from amulet_local.engine import Engine
from amulet_local.llama.vocabulary import Vocabulary
from amulet_local.preferences.preference import resolve
from amulet_local.server.fields import (
    ServedFields,
    TextFields,
    chat_fields,
    messages_of,
    prompts_of,
    text_fields,
    unread_of,
)
from amulet_local.server.traced_answers import TracedAnswers, TracedChatAnswers, TracedTextAnswers
from amulet_local.steering.presets import DEFAULT_PRESET

_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


class Rows(NamedTuple):
    """Token ids of a prompt for each row, the plain one first, and what to know about them."""

    token_ids: list[list[int]]
    notes: Sequence[str] = ()


class CompletionPrompt(ABC):
    """What is to be answered.

    Attributes:
        answers: the shape that answers to it have.
        known: names of the fields that a body may have.
        n_prompts: how many prompts there are, each of which is answered.
        unread: a line for each thing in it that isn't read.
    """

    answers: ClassVar[type[TracedAnswers]]
    known: ClassVar[frozenset[str]]
    n_prompts = 1
    unread: Sequence[str] = ()

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
    def request(
        self, engine: Engine, fields: ServedFields, arguments: dict[str, Any], which: int
    ) -> Request:
        """A checked request.

        Args:
            arguments: of `fields`, for one of the answers.
            which: of the prompts.

        Raises:
            AmuletError: something about it can't be done.
        """

    def fills_gap(self, body: Mapping[str, Any], vocabulary: Vocabulary) -> bool:
        """Whether the body asks for what is missing in a text, which no default is to change."""
        return False

    def rows(
        self, engine: Engine, fields: ServedFields, arguments: dict[str, Any]
    ) -> Sequence[Sequence[int]]:
        """The token ids of each row of the first answer, the plain prompt's first.

        Args and Raises: as `request`.
        """
        return self.request(engine, fields, arguments, 0).prompts


class ChatPrompt(CompletionPrompt):
    """Messages."""

    answers = TracedChatAnswers
    known = frozenset({"messages", *ServedFields.model_fields})

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._messages = messages_of(body)
        self.unread = unread_of(self._messages)

    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """Those of a chat completion."""
        return chat_fields(body)

    def request(
        self, engine: Engine, fields: ServedFields, arguments: dict[str, Any], which: int
    ) -> Request:
        """The messages through the chat template, and nothing else where nothing else is asked."""
        return engine.request(self._messages, **_as_sent(fields), **arguments)

    def rows(
        self, engine: Engine, fields: ServedFields, arguments: dict[str, Any]
    ) -> Sequence[Sequence[int]]:
        """As there, also of a prompt that is longer than the context."""
        return engine.prompts(self._messages, **_as_sent(fields), **arguments)


def _as_sent(fields: ServedFields) -> Ask:
    """How messages become a prompt: with nothing in it that nobody sent."""
    return {
        "system": None,
        "bare": True,
        "continue_final_message": fields.continue_final_message,
        "add_generation_prompt": fields.add_generation_prompt is not False,
        "trace": fields.trace,
    }


class TextPrompt(CompletionPrompt):
    """A text, or token ids. A preference becomes a line before it, in a row of its own.

    Attributes:
        fields_type: what a body has besides.
    """

    answers: ClassVar[type[TracedAnswers]] = TracedTextAnswers
    fields_type: ClassVar[type[TextFields]] = TextFields
    known = frozenset({"prompt", *TextFields.model_fields})

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._prompts = prompts_of(body)
        self.n_prompts = len(self._prompts)
        self.unread = [
            f"{name}: a text has no messages, so it changes nothing"
            for name in ("continue_final_message", "add_generation_prompt")
            if body.get(name) is not None
        ]
        if body.get("echo") is True and body.get("logprobs") not in (None, False):
            line = "logprobs: tokens of the prompt have none, only those of the answer"
            self.unread.append(line)

    def fills_gap(self, body: Mapping[str, Any], vocabulary: Vocabulary) -> bool:
        """With a suffix, or where a prompt has the vocabulary's own token for a gap."""
        middle = vocabulary.gap_tokens[-1]
        if body.get("suffix") or middle is None:
            return bool(body.get("suffix"))
        reads = body.get("parse_special") is not False
        return any(
            middle
            in tokens_of(
                vocabulary,
                [prompt] if isinstance(prompt, str) else prompt,
                add_special=False,
                parse_special=reads,
            )
            for prompt in self._prompts
        )

    def fields(self, body: Mapping[str, Any]) -> ServedFields:
        """Those of a text completion."""
        return text_fields(body, self.fields_type)

    def request(
        self, engine: Engine, fields: ServedFields, arguments: dict[str, Any], which: int
    ) -> Request:
        """The text as it is, and once more after each preference."""
        assert isinstance(fields, TextFields)
        for name in ("placement", "response_prefix", "chat_template_kwargs", "tools"):
            if getattr(fields, name):
                raise InvalidParameterError(f"{name}: is for chat completions only")
        for name in ("placement", "response_prefix", "template_arguments", *_OF_TOOLS):
            del arguments[name]
        preferences = resolve(arguments.pop("preference"), avoid=arguments.pop("avoid"))
        begins = ["", *(f"{item.instruction}\n\n" for item in preferences)]
        n_answer = arguments["sampling"].max_tokens
        (plain, *others), notes = self._rows(engine, fields, begins, n_answer, which)
        request = engine.request_from_tokens(
            plain,
            others or None,
            weights=[item.weight for item in preferences],
            trace=fields.trace,
            labels=[item.label for item in preferences],
            default=DEFAULT_PRESET,
            own=engine.own_settings,
            **arguments,
        )
        return replace(request, warnings=(*request.warnings, *notes))

    def _rows(
        self, engine: Engine, fields: TextFields, begins: Sequence[str], n_answer: int, which: int
    ) -> Rows:
        """Token ids of a prompt, after each beginning.

        Args:
            n_answer: most tokens of the answer.
            which: of the prompts.
        """
        vocabulary, prompt = engine.model.vocabulary, self._prompts[which]
        notes = []
        if fields.suffix and not vocabulary.fills_gaps:
            fields = fields.model_copy(update={"suffix": None})
            notes.append(
                "suffix: this model wasn't trained to fill in, so the answer is what comes after "
                "the prompt"
            )
        return Rows([_tokens(vocabulary, prompt, begin, fields) for begin in begins], notes)


def _tokens(
    vocabulary: Vocabulary, prompt: str | Sequence[int | str], before: str, fields: TextFields
) -> list[int]:
    """A prompt's, with a text before it: after a beginning-of-text token that it has.

    Control tokens in the prompt are read as such: it is all that the model gets, and there is no
    template that would write them. With a suffix the prompt is what comes before a gap.
    """
    if isinstance(prompt, str):
        starts = fields.parse_special and vocabulary.add_bos
        text = prompt.removeprefix(vocabulary.bos_text) if starts else prompt
        ids = vocabulary.tokenize(
            before + text, add_special=not fields.suffix, parse_special=fields.parse_special
        )
        if not fields.suffix:
            return ids
        first = [vocabulary.bos_id] if vocabulary.add_bos and vocabulary.bos_id is not None else []
    else:
        prompt = tokens_of(vocabulary, prompt, add_special=True, parse_special=fields.parse_special)
        n_first = int(prompt[0] == vocabulary.bos_id)
        first = list(prompt[:n_first])
        start = vocabulary.tokenize(before, add_special=False, parse_special=False)
        ids = [*start, *prompt[n_first:]]
    if not fields.suffix:
        return [*first, *ids]
    after = vocabulary.tokenize(fields.suffix, add_special=False, parse_special=False)
    return [*first, *vocabulary.around_gap(ids, after)]


def tokens_of(
    vocabulary: Vocabulary, parts: Sequence[int | str], *, add_special: bool, parse_special: bool
) -> list[int]:
    """Token ids of texts, with token ids between them.

    Args:
        add_special: what a text at the beginning gets.
        parse_special: see Vocabulary.tokenize.
    """
    found: list[int] = []
    for part in parts:
        if isinstance(part, int):
            found.append(part)
        else:
            found += vocabulary.tokenize(
                part, add_special=add_special and not found, parse_special=parse_special
            )
    return found
