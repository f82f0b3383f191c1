"""Messages and a preference -> the token ids of one prompt.

Knows nothing about llama.cpp, rows or guidance. The template comes from a model file and runs in
template_sandbox.py; what a user typed stays plain text with literal_text.py.

Reasoning tags (`<think>` and the like) in past *assistant* turns are left to the template, which
may look for them, and become the model's own tokens: the model wrote them. Everything else that a
message holds is literal, in every role. A NUL is a character like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, get_args

from amulet_local.common.errors import (
    ChatTemplateError,
    EmptyPromptError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTextError,
)
from amulet_local.params.choices import Placement
from amulet_local.prompts.known_text import KnownText
from amulet_local.prompts.literal_text import Disguise, Literalizer, Match, Tokenizer
from amulet_local.prompts.template_budget import TemplateRunsAwayError
from amulet_local.prompts.template_sandbox import CompiledTemplate

__all__ = [
    "ChatTemplate",
    "EncodedPrompt",
    "Tokenizer",
    "with_preference",
]

Message: TypeAlias = dict[str, str]

_ROLES = ("system", "user", "assistant")
_RESERVED = ("messages", "add_generation_prompt", "bos_token", "eos_token")
_PROBE = {"system": "Qzsystemprobe", "user": "Qzuserprobe"}
_FOLDED_NOTE = "this template has no system role: the system text went into the first user turn"


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt, ready to compute.

    Attributes:
        token_ids: the prompt, begin-of-sequence token included.
        text: what was rendered, with the user's text as it was typed.
        notes: what a user should know about how the prompt was made.
    """

    token_ids: list[int]
    text: str
    notes: tuple[str, ...] = ()


def with_preference(
    messages: Sequence[Mapping[str, Any]],
    *,
    system: str,
    preference: str,
    placement: Placement = "system",
) -> list[Message]:
    """The messages of one row. An empty preference gives the plain row.

    The plain row's text is what the preference row's text begins with, so the two prompts share
    the longest prefix. A system message is always there, even an empty one: some templates put in
    a text of their own where there is none, and the rows would differ by that.

    Args:
        messages: OpenAI-style dicts; content is a text or a list of text parts.
        system: the system text, if `messages` has no system message.
        preference: what the answer should be like; blank for the plain row.
        placement: `system` appends it to the system message (after a space), the others to the last
            user turn (on a new line).

    Raises:
        EmptyPromptError: no messages, no user turn, or a last user turn that is blank.
        InvalidRequestError: a message of another shape.
        InvalidTextError: a text with a lone surrogate.
    """
    if placement not in get_args(Placement):
        raise InvalidParameterError(
            f"placement must be one of {', '.join(get_args(Placement))}, not {placement!r}"
        )
    _check_text("the system text", system)
    _check_text("the preference", preference)
    checked = _checked(messages)
    roles = [message["role"] for message in checked]
    if "system" not in roles:
        checked.insert(0, {"role": "system", "content": system})
        roles.insert(0, "system")
    if not preference.strip():
        return checked
    if placement == "system":
        target, separator = checked[roles.index("system")], " "
    else:
        target, separator = checked[len(roles) - 1 - roles[::-1].index("user")], "\n"
    content = target["content"]
    if not content or content[-1].isspace():
        separator = ""
    target["content"] = content + separator + preference
    return checked


class ChatTemplate:
    """A model's chat template, compiled once; threads may share it.

    Args:
        source: the template's text.
        vocabulary: the model's vocabulary.
        arguments: further variables, plain data (enable_thinking=False, ...), for every prompt.

    Raises:
        ChatTemplateError: the template doesn't compile, or runs away at once.

    Attributes:
        has_system_role: whether a system message shows up in what the template renders.
    """

    def __init__(
        self,
        source: str,
        vocabulary: Tokenizer,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self._arguments = dict(arguments or {})
        self._source = source
        self._vocabulary = vocabulary
        self._compiled = CompiledTemplate(source)
        self._literalizer = Literalizer(vocabulary)
        self._typed_content = False
        self.has_system_role = True
        self._probe()

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        response_prefix: str = "",
        now: datetime | None = None,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> EncodedPrompt:
        """Render and tokenise.

        Args:
            messages: as for `with_preference`.
            add_generation_prompt: end with the opening of an assistant turn.
            response_prefix: what the answer begins with; reasoning tags in it are tags.
            now: what the template takes for the present; rows of one prompt should agree on it.
            template_arguments: variables of this prompt, besides those of all.

        Raises:
            ChatTemplateError: the template refuses these messages, fails or runs away.
            EmptyPromptError, InvalidRequestError, InvalidTextError: as for `with_preference`.
        """
        _check_text("the response prefix", response_prefix)
        rendered, disguise, notes = self._rendered(
            messages, add_generation_prompt, now, template_arguments or {}, response_prefix
        )
        token_ids = self._literalizer.encode(rendered, disguise)
        return EncodedPrompt(token_ids, disguise.reveal(rendered), notes)

    def encode_after(
        self, known: KnownText, messages: Sequence[Mapping[str, Any]], *, now: datetime
    ) -> tuple[KnownText, tuple[str, ...]]:
        """A prompt that keeps known ids where it begins with the text that they are of.

        Args:
            known: an earlier prompt, with the answer to it.
            messages, now: as for `encode`.

        Returns:
            The prompt, with the cuts of `known` that are in it, and notes as in EncodedPrompt.

        Raises:
            As `encode`.
        """
        rendered, disguise, notes = self._rendered(messages, True, now, {})
        text, markers = disguise.reveal(rendered), self._literalizer.markers(rendered)
        cuts = known.shared_cuts(text, markers)
        if cuts:
            _, n_characters, n_tokens = cuts[-1]
            rest = self._literalizer.encode_rest(rendered[n_characters:], disguise)
            ids = (*known.token_ids[:n_tokens], *rest)
        else:
            ids = tuple(self._literalizer.encode(rendered, disguise))
        return KnownText(text=text, markers=tuple(markers), token_ids=ids, cuts=cuts), notes

    def markers_in_answer(self, text: str) -> list[Match]:
        """The control tokens that stay ones in an answer of the model: reasoning tags."""
        disguise = self._literalizer.disguise(text)
        return self._literalizer.markers(disguise.hide(text, keep_reasoning_tags=True))

    def _rendered(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        now: datetime | None,
        template_arguments: Mapping[str, Any],
        response_prefix: str = "",
    ) -> tuple[str, Disguise, tuple[str, ...]]:
        """The text with the users' markers in a disguise, which it needs to be read, and notes."""
        checked, notes = self._placed(_checked(messages))
        template_arguments = {**self._arguments, **template_arguments}
        reserved = [name for name in template_arguments if name in _RESERVED]
        if reserved:
            raise InvalidRequestError(f"a template argument can't be named {reserved[0]!r}")
        known = [self._source, response_prefix, *(message["content"] for message in checked)]
        try:
            _collect_texts(template_arguments, known)
        except RecursionError:
            raise InvalidRequestError("the template arguments are nested too deeply") from None
        disguise = self._literalizer.disguise("".join(known))
        hidden = [
            {
                "role": message["role"],
                "content": disguise.hide(
                    message["content"], keep_reasoning_tags=message["role"] == "assistant"
                ),
            }
            for message in checked
        ]
        rendered = self._render(
            hidden, add_generation_prompt, now, _hidden(template_arguments, disguise)
        )
        rendered += disguise.hide(response_prefix, keep_reasoning_tags=True)
        return rendered, disguise, notes

    def _render(
        self,
        messages: list[Message],
        add_generation_prompt: bool,
        now: datetime | None,
        arguments: dict[str, Any],
    ) -> str:
        shaped: list[dict[str, Any]] = [
            {"role": message["role"], "content": [{"type": "text", "text": message["content"]}]}
            if self._typed_content
            else dict(message)
            for message in messages
        ]
        variables = {
            **arguments,
            "messages": shaped,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self._vocabulary.bos_text,
            "eos_token": self._vocabulary.eos_text,
        }
        return self._compiled.render(variables, now=now)

    def _placed(self, messages: list[Message]) -> tuple[list[Message], tuple[str, ...]]:
        """Where there is no system role, the system text goes into the first user turn."""
        if self.has_system_role:
            return messages, ()
        system = "\n\n".join(
            message["content"]
            for message in messages
            if message["role"] == "system" and message["content"]
        )
        rest = [dict(message) for message in messages if message["role"] != "system"]
        if not system:
            return rest, ()
        first = next(message for message in rest if message["role"] == "user")
        first["content"] = f"{system}\n\n{first['content']}"
        return rest, (_FOLDED_NOTE,)

    def _probe(self) -> None:
        """Find out whether the template takes system messages, and content as text or parts."""
        messages = [{"role": role, "content": word} for role, word in _PROBE.items()]
        for typed in (False, True):
            self._typed_content = typed
            both = self._probe_render(messages)
            if all(word in both for word in _PROBE.values()):
                return
            if _PROBE["user"] in self._probe_render(messages[1:]):
                self.has_system_role = False
                return
        self._typed_content = False  # neither works: `encode` will say why

    def _probe_render(self, messages: list[Message]) -> str:
        try:
            return self._render(messages, True, None, {})
        except TemplateRunsAwayError:
            raise
        except ChatTemplateError:
            return ""


def _checked(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """New messages of role and text content, validated."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InvalidRequestError(
            f"messages must be a list of dicts with role and content, not a "
            f"{type(messages).__name__}"
        )
    if not messages:
        raise EmptyPromptError("there are no messages")
    checked: list[Message] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise InvalidRequestError(f"{where} must be a dict, not a {type(message).__name__}")
        role = message.get("role")
        if role not in _ROLES:
            raise InvalidRequestError(
                f"{where}: the role must be one of {', '.join(_ROLES)}, not {str(role)[:50]!r}"
            )
        if message.get("tool_calls"):
            raise InvalidRequestError(f"{where}: tool calls are not supported")
        checked.append({"role": role, "content": _content_text(where, message.get("content"))})
    questions = [message["content"] for message in checked if message["role"] == "user"]
    if not questions:
        raise EmptyPromptError("there is no user turn to answer")
    if not questions[-1].strip():
        raise EmptyPromptError("the last user turn is blank")
    return checked


def _content_text(where: str, content: Any) -> str:
    if isinstance(content, list | tuple):
        for part in content:
            if not (
                isinstance(part, Mapping)
                and part.get("type") == "text"
                and isinstance(part.get("text"), str)
            ):
                raise InvalidRequestError(
                    f"{where}: a content part must be {{'type': 'text', 'text': ...}}; "
                    f"images, audio and other parts are not supported"
                )
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise InvalidRequestError(
            f"{where}: the content must be a text or a list of text parts, not a "
            f"{type(content).__name__}"
        )
    return _check_text(where, content)


def _check_text(what: str, text: Any) -> str:
    if not isinstance(text, str):
        raise InvalidRequestError(f"{what} must be a text, not a {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidTextError(
            f"{what} holds a lone surrogate (U+{ord(text[error.start]):04X} at character "
            f"{error.start}), which UTF-8 can't express"
        ) from None
    return text


def _collect_texts(value: Any, texts: list[str]) -> None:
    """Append every text of plain data to `texts`; refuse what isn't plain data."""
    if isinstance(value, str):
        texts.append(_check_text("a template argument", value))
    elif isinstance(value, list | tuple):
        for item in value:
            _collect_texts(item, texts)
    elif isinstance(value, dict):
        for key, item in value.items():
            _collect_texts(key, texts)
            _collect_texts(item, texts)
    elif not (value is None or isinstance(value, int | float)):
        raise InvalidRequestError(
            f"a template argument must be plain data, not a {type(value).__name__}"
        )


def _hidden(value: Any, disguise: Disguise) -> Any:
    """Plain data with the markers in its texts hidden."""
    if isinstance(value, str):
        return disguise.hide(value)
    if isinstance(value, list | tuple):
        return [_hidden(item, disguise) for item in value]
    if isinstance(value, dict):
        return {key: _hidden(item, disguise) for key, item in value.items()}
    return value
