"""Messages and a preference -> the token ids of one prompt.

Knows nothing about llama.cpp, rows or guidance. The template comes from a model file and runs in
template_sandbox.py; what a user typed stays plain text with literal_text.py.

Reasoning tags (`<think>` and the like) in past *assistant* turns are left to the template, which
may look for them, and become the model's own tokens: the model wrote them. Everything else that a
message holds is literal, in every role. A NUL is a character like any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from amulet_local.calling.forms import CallForm, form_of
from amulet_local.calling.tools import tool_named
from amulet_local.common.errors import ChatTemplateError, InvalidRequestError
from amulet_local.common.readable import a_line_each, visible
from amulet_local.prompts.known_text import KnownText
from amulet_local.prompts.literal_text import Disguise, Literalizer, Match, Tokenizer
from amulet_local.prompts.messages import Message, check_text, checked, texts_of
from amulet_local.prompts.simpler_forms import Rendered, has_tools, simpler_forms
from amulet_local.prompts.template_budget import TemplateRunsAwayError
from amulet_local.prompts.template_sandbox import CompiledTemplate
from amulet_local.text.reasoning import TAGS, closing_tag, without_opening

__all__ = ["ChatTemplate", "EncodedPrompt", "Tokenizer"]

_RESERVED = ("messages", "add_generation_prompt", "bos_token", "eos_token")
_TOOL_PROBE = "qztoolprobe"
_PROBE = {"system": "Qzsystemprobe", "user": "Qzuserprobe"}


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
        types_content: whether it takes content as a list of parts alone.
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
        self.types_content = False
        self.has_system_role = True
        self._probe()

    @cached_property
    def call_form(self) -> CallForm | None:
        """How its model calls tools; None where the template doesn't say, or in an unknown form."""
        return form_of(self._source)

    @cached_property
    def takes_tools(self) -> bool:
        """Whether it tells a model what it may call, in a form that is known."""
        if self.call_form is None:
            return False
        messages = [{"role": role, "content": word} for role, word in _PROBE.items()]
        asked = messages if self.has_system_role else messages[1:]
        return _TOOL_PROBE in self.probe(asked, {"tools": [tool_named(_TOOL_PROBE)]})

    @cached_property
    def writes_calls(self) -> bool:
        """Whether past calls and their results show up in what it renders."""
        name, argument, result = (f"{_TOOL_PROBE}{i}" for i in range(3))
        for arguments in ({argument: argument}, f'{{"{argument}": "{argument}"}}'):
            call = {"id": "qzprobe01", "type": "function"}
            messages: list[Message] = [
                {"role": "user", "content": _PROBE["user"]},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{**call, "function": {"name": name, "arguments": arguments}}],
                },
                {"role": "tool", "tool_call_id": call["id"], "name": name, "content": result},
            ]
            rendered = self.probe(messages)
            if all(text in rendered for text in (name, argument, result)):
                return True
        return False

    @property
    def reasoning_tags(self) -> Mapping[str, str]:
        """Tags around reasoning that it knows."""
        return {a: b for a, b in TAGS.items() if a in self._source and b in self._source}

    def unread(self, arguments: Mapping[str, Any]) -> list[str]:
        """A line for each of these variables that it doesn't have, but for thinking that is off."""
        unread = [
            name
            for name, value in arguments.items()
            if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", self._source)
            and name != "tools"
            and not (name == "enable_thinking" and value is False)
        ]

        def line(name: str) -> str:
            shown = visible(f"{name:.40}")
            return f"the chat template has no variable {shown}, so it changes nothing"

        return a_line_each(unread, line)

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        response_prefix: str = "",
        is_answer: bool = False,
        brings_reasoning: bool = False,
        now: datetime | None = None,
        template_arguments: Mapping[str, Any] | None = None,
        may_be_blank: bool = False,
    ) -> EncodedPrompt:
        """Render and tokenise.

        Args:
            messages: as for `messages.checked`.
            add_generation_prompt: end with the opening of an assistant turn.
            response_prefix: what the answer begins with; reasoning tags in it are tags.
            is_answer: it belongs to the answer; reasoning that the template opens is closed first.
            brings_reasoning: it begins with reasoning, which takes the place of what the template
                opens.
            now: what the template takes for the present; rows of one prompt should agree on it.
            template_arguments: variables of this prompt, besides those of all.
            may_be_blank: see `messages.checked`.

        Raises:
            ChatTemplateError: the template refuses these messages, fails or runs away.
            EmptyPromptError, InvalidRequestError, InvalidTextError: as for `messages.checked`.
        """
        check_text("the response prefix", response_prefix)
        rows = checked(messages, may_be_blank=may_be_blank or bool(response_prefix))
        rendered, disguise, notes = self._rendered(
            rows, add_generation_prompt, now, template_arguments or {}, response_prefix
        )
        if brings_reasoning:
            rendered = without_opening(rendered)
        opened = closing_tag(rendered) if is_answer else ""
        if opened and opened not in response_prefix:
            rendered += f"\n{opened}\n\n"
        rendered += disguise.hide(response_prefix, keep_reasoning_tags=True)
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
        rendered, disguise, notes = self._rendered(checked(messages), True, now, {})
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
        rows: list[Message],
        add_generation_prompt: bool,
        now: datetime | None,
        template_arguments: Mapping[str, Any],
        response_prefix: str = "",
    ) -> tuple[str, Disguise, tuple[str, ...]]:
        """The text with the users' markers in a disguise, which it needs to be read, and notes."""
        template_arguments = {**self._arguments, **template_arguments}
        reserved = [name for name in template_arguments if name in _RESERVED]
        if reserved:
            raise InvalidRequestError(f"a template argument can't be named {reserved[0]!r}")
        known = [self._source, response_prefix, *texts_of(rows)]
        try:
            _collect_texts(template_arguments, known)
            _collect_texts([row.get("tool_calls") for row in rows], known)
        except RecursionError:
            raise InvalidRequestError("the template arguments are nested too deeply") from None
        disguise = self._literalizer.disguise("".join(known))
        arguments = {name: _hidden(value, disguise) for name, value in template_arguments.items()}
        rendered, notes = self._whole(rows, disguise, add_generation_prompt, now, arguments)
        return rendered, disguise, notes

    def _whole(
        self,
        rows: list[Message],
        disguise: Disguise,
        add_generation_prompt: bool,
        now: datetime | None,
        arguments: dict[str, Any],
    ) -> tuple[str, tuple[str, ...]]:
        """The rendered conversation in the first form that has all of its texts, and notes."""
        best: tuple[str, tuple[str, ...]] | None = None
        refusal: ChatTemplateError | None = None
        n_lost = len(rows) + 1
        for form, notes in simpler_forms(rows, has_system_role=self.has_system_role):
            try:
                hidden = [_hidden_message(message, disguise) for message in form]
                rendered = self._render(hidden, add_generation_prompt, now, arguments)
            except TemplateRunsAwayError:
                raise
            except ChatTemplateError as error:
                refusal = refusal or error
                continue
            lost = Rendered(disguise.reveal(rendered)).lost(rows)
            if len(lost) < n_lost:
                n_lost = len(lost)
                said = (f"the chat template leaves out: {', '.join(lost)} text",) if lost else ()
                best = rendered, (*notes, *said)
            if "system" not in lost and not (lost and has_tools(rows)):
                break
        if best is None:
            assert refusal is not None
            raise refusal
        return best

    def _render(
        self,
        messages: list[Message],
        add_generation_prompt: bool,
        now: datetime | None,
        arguments: dict[str, Any],
    ) -> str:
        """The text, with what llama.cpp gives templates besides: the day, in two forms.

        Templates from before there were tools add `functions` to their text, which has to be one.
        """
        shaped: list[dict[str, Any]] = [
            {**message, "content": [{"type": "text", "text": message["content"]}]}
            if self.types_content
            else dict(message)
            for message in messages
        ]
        now = now or datetime.now()
        variables = {
            "date_string": now.strftime("%d %b %Y"),
            "datetime": now.strftime("%b %d %Y"),
            "functions": "",
            **arguments,
            "messages": shaped,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self._vocabulary.bos_text,
            "eos_token": self._vocabulary.eos_text,
        }
        return self._compiled.render(variables, now=now)

    def _probe(self) -> None:
        """Find out whether the template takes system messages, and content as text or parts."""
        messages = [{"role": role, "content": word} for role, word in _PROBE.items()]
        for typed in (False, True):
            self.types_content = typed
            both = self.probe(messages)
            if all(word in both for word in _PROBE.values()):
                return
            if _PROBE["user"] in self.probe(messages[1:]):
                self.has_system_role = False
                return
        self.types_content = False  # neither works: `encode` will say why

    def probe(self, messages: list[Message], arguments: dict[str, Any] | None = None) -> str:
        """What it renders of messages that nobody sent; nothing where it refuses them."""
        try:
            return self._render(messages, True, None, {**self._arguments, **(arguments or {})})
        except TemplateRunsAwayError:
            raise
        except ChatTemplateError:
            return ""


def _collect_texts(value: Any, texts: list[str]) -> None:
    """Append every text of plain data to `texts`; refuse what isn't plain data."""
    if isinstance(value, str):
        texts.append(check_text("a template argument", value))
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
        return {_hidden(key, disguise): _hidden(item, disguise) for key, item in value.items()}
    return value


def _hidden_message(message: Message, disguise: Disguise) -> Message:
    """A message with the markers in its texts hidden, but for an answer's reasoning tags."""
    is_answer = message["role"] == "assistant"
    content = disguise.hide(message["content"], keep_reasoning_tags=is_answer)
    result = {**message, "content": content}
    for key in {"name", "tool_call_id", "reasoning_content"} & set(message):
        result[key] = disguise.hide(message[key])
    if "tool_calls" in message:
        result["tool_calls"] = [
            {
                "id": disguise.hide(call["id"]),
                "type": "function",
                "function": {
                    name: _hidden(value, disguise) for name, value in call["function"].items()
                },
            }
            for call in message["tool_calls"]
        ]
    return result
