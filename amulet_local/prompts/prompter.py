"""From messages and preferences to the token ids of each row's prompt.

Knows nothing about decoding methods: it is given one instruction per row, empty for the plain one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from amulet_local.common.errors import ChatTemplateError, InvalidRequestError
from amulet_local.llama.model import Model
from amulet_local.params.choices import Placement
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from amulet_local.prompts.builtin_templates import builtin_template, likely_template
from amulet_local.prompts.chat_template import ChatTemplate, with_preference
from amulet_local.prompts.contrast import row_instructions
from amulet_local.prompts.dialogue import Dialogue
from amulet_local.text.reasoning import closing_tag

Messages: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A question, or OpenAI-style messages."""


class Prompts(NamedTuple):
    """One prompt for each row.

    Attributes:
        rows: token ids.
        notes: what a user should know about how they were made.
        closing_tag: what ends the reasoning that they have opened; empty if none.
    """

    rows: list[tuple[int, ...]]
    notes: list[str]
    closing_tag: str


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
        """
        self._model = model
        self._arguments = template_arguments
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
    ) -> Prompts:
        """One prompt per instruction.

        Args:
            messages: a question, OpenAI-style messages, or a conversation with a question.
            instructions: what each row adds, "" for the plain one.
            system: system text of a conversation that brings none; a short default if None.
            placement: where the instruction goes.
            response_prefix: what the answer begins with; not for a conversation.
            template_arguments: variables of the template for these prompts; not for a conversation.

        Raises:
            ChatTemplateError: there is no template, or it can't render these messages.
            InvalidRequestError: the messages can't be used.
        """
        default = DEFAULT_SYSTEM_TEXT if system is None else system
        if isinstance(messages, Dialogue):
            rows, notes, text = messages.prompts(
                self._template,
                self._model.vocabulary,
                instructions,
                system=default,
                placement=placement,
            )
            return Prompts(rows, notes, closing_tag(text))
        arguments = template_arguments or {}
        if not (
            isinstance(arguments, Mapping) and all(isinstance(name, str) for name in arguments)
        ):
            raise InvalidRequestError("template_arguments must map names to plain data")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        now = datetime.now()
        rows = []
        noted: dict[str, None] = {}
        for instruction in row_instructions(instructions, placement):
            encoded = self._template.encode(
                with_preference(
                    messages,
                    system=default,
                    preference=instruction,
                    placement=placement,
                ),
                response_prefix=response_prefix,
                now=now,
                template_arguments=arguments,
            )
            rows.append(tuple(encoded.token_ids))
            noted.update(dict.fromkeys(encoded.notes))
        opened = encoded.text[: len(encoded.text) - len(response_prefix)]
        return Prompts(rows, list(noted), closing_tag(opened, response_prefix))

    def check(self) -> None:
        """Whether there is a template, before the first question.

        Raises:
            ChatTemplateError: there is none, or one that can't be used.
            InvalidParameterError: no built-in template has the name that was given.
        """
        _ = self._template

    @cached_property
    def _template(self) -> ChatTemplate:
        source = self._chosen
        if source is None:
            source = self._model.chat_template
        elif "{" not in source:
            source = builtin_template(source)
        if source is None:
            vocabulary = self._model.vocabulary
            family = likely_template(
                lambda text: vocabulary.tokenize(text, add_special=False, parse_special=True)
            )
            raise ChatTemplateError(
                f"{self._model.path.name} has no chat template, so it can't chat. If it is a base "
                f"model, `generate --raw` (chat_template='raw' in Python) goes on with a text; if "
                f"it was trained to chat, name its family: --chat-template {family or 'chatml'} "
                f"(chat_template= in Python)"
            )
        return ChatTemplate(source, self._model.vocabulary, self._arguments)
