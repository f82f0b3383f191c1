"""From messages and preferences to the token ids of each row's prompt.

Knows nothing about decoding methods: it is given one instruction per row, empty for the plain one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from amulet_local.chat_template import (
    ChatTemplate,
    builtin_template,
    with_preference,
)
from amulet_local.dialogue import Dialogue
from amulet_local.errors import ChatTemplateError
from amulet_local.llama.model import Model
from amulet_local.params import Placement
from amulet_local.preferences import DEFAULT_SYSTEM_TEXT

Messages: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A question, or OpenAI-style messages."""


class Prompter:
    """Renders prompts with a model's chat template, or with another one in its place."""

    def __init__(self, model: Model, chat_template: str | None) -> None:
        """Take note; the template is compiled when a prompt is first asked for.

        Args:
            model: whose vocabulary and template it is.
            chat_template: a built-in template's name or the text of one; None is the model's own.
        """
        self._model = model
        self._chosen = chat_template

    def prompts(
        self,
        messages: Messages | Dialogue,
        instructions: Sequence[str],
        *,
        system: str | None,
        placement: Placement,
    ) -> tuple[list[tuple[int, ...]], list[str]]:
        """Token ids of one prompt per instruction, and notes on how they were made.

        Args:
            messages: a question, OpenAI-style messages, or a conversation with a question.
            instructions: what each row adds, "" for the plain one.
            system: system text of a conversation that brings none; a short default if None.
            placement: where the instruction goes.

        Raises:
            ChatTemplateError: there is no template, or it can't render these messages.
            InvalidRequestError: the messages can't be used.
        """
        default = DEFAULT_SYSTEM_TEXT if system is None else system
        if isinstance(messages, Dialogue):
            return messages.prompts(
                self._template,
                self._model.vocabulary,
                instructions,
                system=default,
                placement=placement,
            )
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        now = datetime.now()
        prompts = []
        notes: dict[str, None] = {}
        for instruction in instructions:
            encoded = self._template.encode(
                with_preference(
                    messages,
                    system=default,
                    preference=instruction,
                    placement=placement,
                ),
                now=now,
            )
            prompts.append(tuple(encoded.token_ids))
            notes.update(dict.fromkeys(encoded.notes))
        return prompts, list(notes)

    @cached_property
    def _template(self) -> ChatTemplate:
        source = self._chosen
        if source is None:
            source = self._model.chat_template
        elif "{" not in source:
            source = builtin_template(source)
        if source is None:
            raise ChatTemplateError(
                f"{self._model.path.name} has no chat template; name one with --chat-template "
                f"(chat_template= in Python), e.g. chatml, or give token ids"
            )
        return ChatTemplate(source, self._model.vocabulary)
