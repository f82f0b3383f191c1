"""From messages and preferences to the token ids of each row's prompt.

Knows nothing about decoding methods: it is given one instruction per row, empty for the plain one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from amulet_local.calling.forms import HERMES, CallForm
from amulet_local.calling.tools import Tools
from amulet_local.common.errors import ChatTemplateError, InvalidRequestError
from amulet_local.llama.model import Model
from amulet_local.params.choices import Placement
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from amulet_local.prompts.builtin_templates import (
    builtin_template,
    foreign_marker,
    likely_template,
)
from amulet_local.prompts.chat_template import ChatTemplate
from amulet_local.prompts.contrast import beside_calls, row_instructions
from amulet_local.prompts.described_tools import with_tools
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.prompts.messages import (
    Begun,
    Continuation,
    checked,
    continued,
    with_preference,
)
from amulet_local.prompts.simpler_forms import Rendered, tools_as_text
from amulet_local.prompts.template_abilities import template_abilities
from amulet_local.text.reasoning import closing_tag

Messages: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A question, or OpenAI-style messages."""


_NO_REASONING = "the chat template has no reasoning: that of the last message isn't in the prompt"


class Prompts(NamedTuple):
    """One prompt for each row.

    Attributes:
        rows: token ids.
        notes: what a user should know about how they were made.
        closing_tag: what ends the reasoning that they have opened; empty if none.
        form: how tools are called; None without tools.
        reasoning_tags: what may open reasoning in the answer, and what closes that.
        begun: what they have of the answer already, without its reasoning.
    """

    rows: list[tuple[int, ...]]
    notes: list[str]
    closing_tag: str
    form: CallForm | None = None
    reasoning_tags: Mapping[str, str] = {}
    begun: str = ""


class Prompter:
    """Renders prompts with a model's chat template, or with another one in its place."""

    def __init__(
        self,
        model: Model,
        chat_template: str | None,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Take note; the template is compiled when a prompt is first asked for.

        Args:
            model: whose vocabulary and template it is.
            chat_template: a built-in template's name or the text of one; None is the model's own.
            template_arguments: further variables for it, plain data, for every prompt.

        Raises:
            InvalidParameterError: there is no built-in template of that name.
        """
        self._model = model
        self._arguments = template_arguments
        self._name: str | None = None
        if chat_template is not None and "{" not in chat_template:
            self._name, chat_template = chat_template, builtin_template(chat_template)
        self._chosen = chat_template

    def prompts(
        self,
        messages: Messages | Dialogue,
        instructions: Sequence[str],
        *,
        system: str | None,
        placement: Placement,
        response_prefix: str = "",
        template_arguments: Mapping[str, Any] | None = None,
        bare: bool = False,
        continue_final_message: Continuation = None,
        add_generation_prompt: bool = True,
        tools: Tools | None = None,
    ) -> Prompts:
        """One prompt per instruction, each with its instruction in it.

        Reasoning that a template opens although `enable_thinking` is false is closed.

        A template may leave out what is put into it, without a word; then the instruction goes
        elsewhere, and a note says so.

        Args:
            messages: a question, OpenAI-style messages, or a conversation with a question.
            instructions: what each row adds, "" for the plain one.
            system: system text of a conversation that brings none; a short default if None.
            placement: where the instruction goes.
            response_prefix: what the answer begins with; not for a conversation.
            template_arguments: variables of the template for these prompts; not for a conversation.
            bare: the messages are a program's: they may be blank, and where there is only a plain
                row, a system text of None is none at all.
            continue_final_message: whether the answer goes on with the last message, or with which
                part of it; where it is an assistant's if None.
            add_generation_prompt: whether the prompts end with the opening of an answer.
            tools: what may be called; not for a conversation.

        Raises:
            ChatTemplateError: there is no template, it can't render these messages, or it leaves
                out the instruction wherever that is put.
            InvalidRequestError: the messages can't be used.
        """
        default: str | None = DEFAULT_SYSTEM_TEXT if system is None else system
        if system is None and bare and not any(instructions):
            default = None
        given = template_arguments or {}
        if not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
            raise InvalidRequestError("template_arguments must map names to plain data")
        arguments = dict(given)
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        asked: Sequence[Mapping[str, Any]] | Dialogue = messages
        begun = Begun()
        if not isinstance(messages, Dialogue):
            asked, begun = continued(messages, continue_final_message)
        continues = asked is not messages
        may_be_blank = bare or bool(begun.content or begun.reasoning)
        tags = next(iter(self._template.reasoning_tags.items()), None)
        more = [] if tags or not begun.reasoning else [_NO_REASONING]
        answered = "" if begun.is_reasoning else begun.content + response_prefix
        thought, response_prefix = _prefix(begun, tags, response_prefix)
        form = None if tools is None else self._template.call_form or HERMES
        if tools is not None and form is not None and not isinstance(asked, Dialogue):
            if placement != "system" and not tools.forced and asked[-1].get("role") == "user":
                instructions = beside_calls(instructions)
            if not self._template.writes_calls:
                asked = tools_as_text(checked(asked, may_be_blank=may_be_blank), form)
            if self._template.takes_tools:
                arguments["tools"] = [*tools.shown]
            else:
                asked = with_tools(asked, tools, form, system=default, may_be_blank=may_be_blank)
        now = datetime.now()

        def at(place: Placement) -> tuple[list[tuple[int, ...]], list[str], list[str]]:
            if isinstance(asked, Dialogue):
                return asked.prompts(
                    self._template,
                    self._model.vocabulary,
                    instructions,
                    system=default or "",
                    placement=place,
                )
            encoded = [
                self._template.encode(
                    with_preference(
                        asked,
                        system=default,
                        preference=instruction,
                        placement=place,
                        may_be_blank=may_be_blank,
                    ),
                    add_generation_prompt=add_generation_prompt or continues,
                    response_prefix=response_prefix,
                    is_answer=continues and not thought,
                    brings_reasoning=thought,
                    now=now,
                    template_arguments=arguments,
                    may_be_blank=may_be_blank,
                )
                for instruction in row_instructions(instructions, place)
            ]
            notes = dict.fromkeys([*more, *(note for one in encoded for note in one.notes)])
            return [tuple(one.token_ids) for one in encoded], list(notes), [e.text for e in encoded]

        otherwise: Placement = "user" if placement == "system" else "system"
        for place in (placement, otherwise):
            rows, notes, texts = at(place)
            if tools and form and "tools" in arguments and not _are_shown(tools, texts[0]):
                assert not isinstance(asked, Dialogue)
                asked = with_tools(asked, tools, form, system=default, may_be_blank=may_be_blank)
                del arguments["tools"]
                rows, notes, texts = at(place)
            if _are_told(instructions, rows, texts):
                break
        else:
            raise ChatTemplateError(
                "the chat template leaves out the preference, in the system text and in the "
                "question; choose another one with --chat-template (chat_template= in Python)"
            )
        if place != placement:
            notes.append(
                f"the chat template leaves out a preference at placement {placement!r}: it is at "
                f"{place!r}"
            )
        notes += [*self._template.unread(arguments), *self._foreign]
        opened = texts[-1][: len(texts[-1]) - len(response_prefix)]
        closing = closing_tag(opened, response_prefix)
        thinks = {**(self._arguments or {}), **arguments}.get("enable_thinking")
        if closing and thinks is False and not (thought or isinstance(asked, Dialogue)):
            response_prefix = closing + response_prefix
            rows, _, _ = at(place)
            closing = ""
        return Prompts(rows, notes, closing, form, self._template.reasoning_tags, answered)

    def two_short_ones(self) -> list[tuple[int, ...]]:
        """Two plain prompts that have only what comes before a question in common.

        Raises:
            ChatTemplateError, InvalidParameterError: as `check`.
        """
        return [
            self.prompts(question, [""], system=None, placement="system").rows[0]
            for question in ("Why?", "7")
        ]

    def check(self) -> None:
        """Whether there is a template, before the first question.

        Raises:
            ChatTemplateError: there is none, or one that can't be used.
            InvalidParameterError: no built-in template has the name that was given.
        """
        _ = self._template

    @cached_property
    def abilities(self) -> Mapping[str, bool]:
        """What the template can say; see template_abilities.

        Raises:
            As `check`.
        """
        return template_abilities(self._template)

    @cached_property
    def _template(self) -> ChatTemplate:
        source = self._model.chat_template if self._chosen is None else self._chosen
        if source is None:
            family = likely_template(self._tokens)
            raise ChatTemplateError(
                f"{self._model.path.name} has no chat template, so it can't chat. If it is a base "
                f"model, `generate --raw` (chat_template='raw' in Python) goes on with a text; if "
                f"it was trained to chat, name its family: --chat-template {family or 'chatml'} "
                f"(chat_template= in Python)"
            )
        return ChatTemplate(source, self._model.vocabulary, self._arguments)

    @cached_property
    def _foreign(self) -> list[str]:
        """A note, where a template is another family's."""
        marker = self._name and foreign_marker(self._chosen or "", self._tokens)
        if not marker:
            return []
        family = likely_template(self._tokens)
        return [
            f"the chat template {self._name!r} is another family's: this model has no token "
            f"{marker}, so answers may show it, or not end where they should"
            + (f"; its tokens are those of {family!r}" if family else "")
        ]

    def _tokens(self, text: str) -> list[int]:
        return self._model.vocabulary.tokenize(text, add_special=False, parse_special=True)


def _prefix(begun: Begun, tags: tuple[str, str] | None, more: str) -> tuple[bool, str]:
    """What the answer begins with, and whether that has reasoning of its own.

    Args:
        begun: what there is of it.
        tags: what the template's model puts around reasoning; None where there is none.
        more: what follows.
    """
    if not begun.reasoning or tags is None:
        return False, begun.content + more
    opening, closing = tags
    thought = f"{opening}\n{begun.reasoning}"
    if begun.is_reasoning:
        return True, thought + more
    return True, f"{thought.rstrip()}\n{closing}\n\n{begun.content}{more}"


def _are_shown(tools: Tools, text: str) -> bool:
    """Whether a prompt names what may be called: some templates do before a question only."""
    rendered = Rendered(text)
    return all(rendered.has(tool["function"]["name"]) for tool in tools.shown)


def _are_told(
    instructions: Sequence[str], rows: Sequence[tuple[int, ...]], texts: Sequence[str]
) -> bool:
    """Whether each prompt has its instruction, and is another one than those with others."""
    return len(set(rows)) == len(set(instructions)) and all(
        Rendered(text).has(instruction)
        for text, instruction in zip(texts, instructions, strict=True)
    )
