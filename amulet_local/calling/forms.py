"""The forms in which models write tool calls, and which of them a chat template has.

Knows nothing about how a form is enforced or read. A form of another model family is one more entry
of FORMS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from amulet_local.calling import notation
from amulet_local.calling.tagged_arguments import (
    ARG_KEY,
    PARAMETER,
    PARAMETER_IN_LINE,
    ArgumentTags,
    tagged,
)


@dataclass(frozen=True, kw_only=True)
class CallForm:
    """How calls are written: trigger lead head ARGUMENTS tail (between head ARGUMENTS tail)* end.

    ARGUMENTS are a JSON object, or tagged (tagged_arguments.py); lead, head, tail, between and end
    are in the signs of notation.py.

    Attributes:
        name: of the form.
        marks, unless: a chat template of this form has each of the first and none of the second.
        triggers: the texts that begin calls, the usual one first.
        between: empty where a model makes one call at a time.
        only_at_start: whether a trigger counts at the beginning of an answer only.
        ends_reasoning: whether calls end reasoning that isn't closed.
        may_be_bare: whether models write the same JSON without a trigger, perhaps in a code fence.
        tags: those between which each argument stands; None where they are JSON.
    """

    name: str
    marks: tuple[str, ...]
    unless: tuple[str, ...] = ()
    triggers: tuple[str, ...]
    lead: str = ""
    head: str
    tail: str
    between: str = ""
    end: str = ""
    only_at_start: bool = False
    ends_reasoning: bool = False
    may_be_bare: bool = False
    tags: ArgumentTags | None = None

    @cached_property
    def first_head(self) -> re.Pattern[str]:
        """What comes after the trigger, up to the arguments."""
        return notation.pattern(self.lead + self.head)

    @cached_property
    def next_head(self) -> re.Pattern[str]:
        """What comes after arguments, up to those of another call."""
        return notation.pattern(self.tail + self.between + self.head)

    @cached_property
    def markers(self) -> tuple[str, ...]:
        """The parts of it that may be control tokens."""
        parts = (*self.triggers, self.lead, self.head, self.tail, self.between, self.end)
        return tuple(dict.fromkeys(mark for part in parts for mark in _MARKER.findall(part)))

    def bare(self, names: Sequence[str]) -> dict[str, str]:
        """What begins a call without a trigger, up to the arguments, and the name that it has."""
        if not self.may_be_bare or len(names) > MAX_BARE:
            return {}
        return {text.replace("<name>", name): name for name in names for text in _BARE}

    def fences(self, names: Sequence[str]) -> dict[str, str]:
        """The same, and with what small models write before it."""
        bare = self.bare(names)
        return {before + text: name for before in _BEFORE_BARE for text, name in bare.items()}

    def example(self, name: str, arguments: str) -> str:
        """One call as a model would write it, whose arguments are JSON."""
        before = notation.example(self.lead + self.head, name)
        if self.tags is not None:
            arguments = tagged(json.loads(arguments), self.tags)
        return self.triggers[0] + before + arguments + notation.example(self.tail + self.end)


_MARKER = re.compile(r"<[|｜].*?[|｜]>|</?(?:seed:)?[A-Za-z_]+>|\[/?[A-Z_]+\]")
_BARE = (
    '{"name": "<name>", "arguments": ',
    '{\n"name": "<name>",\n"arguments": ',
    '{\n  "name": "<name>",\n  "arguments": ',
    '{\n    "name": "<name>",\n    "arguments": ',
)
_BEFORE_BARE = ("", "```json\n", "{", "<tools>\n")
"""A code fence, a second brace from a template, the tag of the functions instead of the call's."""

MAX_BARE = 32
"""Functions whose calls are looked for without a trigger."""
_OBJECT = '~{~"name":~"<name>",~"arguments":~'

HERMES = CallForm(
    name="hermes",
    marks=("<tool_call>", "arguments"),
    unless=(
        "<function=",
        "<arg_key>",
        "<tool_call|>",
        "<|tool_call>",
        "]<]minimax",
        "<tool_calls>",
    ),
    triggers=("<tool_call>",),
    head=_OBJECT,
    tail="~}~</tool_call>",
    between="~<tool_call>",
    may_be_bare=True,
)
"""Hermes, Qwen and many others; where a template has no form, calls are described in this one."""

FORMS = (
    HERMES,
    CallForm(
        name="tagged",
        marks=("<tool_call>", "<function=", "<parameter="),
        unless=("<seed:tool_call>",),
        triggers=("<tool_call>",),
        head="~<function=<name>>",
        tail="~</function>~</tool_call>",
        between="~<tool_call>",
        tags=PARAMETER,
    ),
    CallForm(
        name="seed",
        marks=("<seed:tool_call>", "<function=", "<parameter="),
        triggers=("<seed:tool_call>",),
        head="~<function=<name>>",
        tail="~</function>~</seed:tool_call>",
        between="~<seed:tool_call>",
        tags=PARAMETER_IN_LINE,
    ),
    CallForm(
        name="glm",
        marks=("<tool_call>", "<arg_key>", "<arg_value>"),
        triggers=("<tool_call>",),
        head="~<name><stop>",
        tail="~</tool_call>",
        between="~<tool_call>",
        tags=ARG_KEY,
    ),
    CallForm(
        name="llama3",
        marks=("<|start_header_id|>", "ipython", '"parameters": '),
        unless=("<function=", ">>>"),
        triggers=('{"name": "',),
        head='<name>",~"parameters":~',
        tail="~}",
        only_at_start=True,
    ),
    CallForm(
        name="mistral",
        marks=("[TOOL_CALLS]",),
        unless=("[ARGS]",),
        triggers=("[TOOL_CALLS]",),
        lead="~[",
        head=_OBJECT,
        tail='(,~"id":~"<id>")?~}',
        between=",",
        end="~]",
    ),
    CallForm(
        name="mistral-ids",
        marks=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
        triggers=("[TOOL_CALLS]",),
        head="<name>[CALL_ID]<id>[ARGS]",
        tail="",
        between="[TOOL_CALLS]",
    ),
    CallForm(
        name="mistral-args",
        marks=("[TOOL_CALLS]", "[ARGS]"),
        unless=("[CALL_ID]",),
        triggers=("[TOOL_CALLS]",),
        head="<name>[ARGS]",
        tail="",
        between="[TOOL_CALLS]",
    ),
    CallForm(
        name="deepseek-json",
        marks=("<｜tool▁calls▁begin｜>", "```json"),
        triggers=("<｜tool▁calls▁begin｜>",),
        lead="~<｜tool▁call▁begin｜>",
        head="function<｜tool▁sep｜><name>\n```json\n",
        tail="\n```<｜tool▁call▁end｜>",
        between="~<｜tool▁call▁begin｜>",
        end="~<｜tool▁calls▁end｜>",
    ),
    CallForm(
        name="deepseek",
        marks=("<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>"),
        unless=("```json",),
        triggers=("<｜tool▁calls▁begin｜>",),
        lead="~<｜tool▁call▁begin｜>",
        head="<name><｜tool▁sep｜>",
        tail="<｜tool▁call▁end｜>",
        between="~<｜tool▁call▁begin｜>",
        end="~<｜tool▁calls▁end｜>",
    ),
    CallForm(
        name="harmony",
        marks=("<|channel|>", " to=", "functions."),
        triggers=(
            "<|channel|>commentary to=functions.",
            "<|channel|>analysis to=functions.",
            "<|start|>assistant<|channel|>commentary to=functions.",
            "<|end|><|start|>assistant<|channel|>commentary to=functions.",
            "<|start|>assistant to=functions.",
            "<|end|><|start|>assistant to=functions.",
            " to=functions.",
        ),
        head="<name>(<|channel|>commentary)?( <|constrain|>json)?( json)?<|message|>",
        tail="",
        ends_reasoning=True,
    ),
    CallForm(
        name="kimi",
        marks=("<|tool_calls_section_begin|>", "<|tool_call_argument_begin|>"),
        triggers=("<|tool_calls_section_begin|>",),
        lead="<|tool_call_begin|>",
        head="functions.<name>:<n><|tool_call_argument_begin|>",
        tail="<|tool_call_end|>",
        between="<|tool_call_begin|>",
        end="<|tool_calls_section_end|>",
    ),
    CallForm(
        name="nemotron",
        marks=("<TOOLCALL>[",),
        triggers=("<TOOLCALL>",),
        lead="~[",
        head=_OBJECT,
        tail="~}",
        between=",",
        end="~]~</TOOLCALL>",
    ),
    CallForm(
        name="granite",
        marks=("<|tool_call|>", "available_tools"),
        triggers=("<|tool_call|>",),
        lead="~[",
        head=_OBJECT,
        tail="~}",
        between=",",
        end="~]",
    ),
    CallForm(
        name="functionary",
        marks=("<function=", "</function>", "<|start_header_id|>"),
        unless=("<tool_call>", "<parameter="),
        triggers=("<function=",),
        head="<name>>",
        tail="</function>",
        between="~<function=",
    ),
    CallForm(
        name="apriel",
        marks=("<tool_calls>", "</tool_calls>", "[BEGIN FINAL RESPONSE]"),
        triggers=("<tool_calls>",),
        lead="~[",
        head=_OBJECT,
        tail='(,~"id":~"<id>")?~}',
        between=",",
        end="~]~</tool_calls>",
    ),
)


def form_of(template: str) -> CallForm | None:
    """The form that a chat template writes calls in; None if it has none of these.

    Args:
        template: its source.
    """
    for form in FORMS:
        if all(mark in template for mark in form.marks) and not any(
            mark in template for mark in form.unless
        ):
            return form
    return None
