"""The same conversation in simpler words, for chat templates that don't take all of it.

Knows nothing about how templates are rendered. Templates refuse a role, want arguments of tool
calls as text, or leave a message out without a word; `lost` says what of a conversation isn't in a
prompt, `simpler_forms` gives the ways to say it, from the one that changes nothing on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from amulet_local.calling.forms import HERMES, CallForm
from amulet_local.prompts.messages import Message, strings
from amulet_local.text.reasoning import TAGS

FOLDED_NOTE = "this template has no system role: the system text went into the first user turn"
TOOLS_NOTE = "this template takes no such tool messages: they are in the prompt as text"
MERGED_NOTE = "this template takes no such order of roles: some turns became one"
EMPTY_NOTE = (
    "this template needs a message before the answer: an empty one of the user stands there"
)

_SWITCHES = re.compile(r"/(?:no_?)?think\b|/system_override\b")
"""Words of a system text that templates read and leave out (SmolLM3, Nemotron)."""
_UNSURE = re.compile(r"[\s\\\"']+")
"""What a template may trim, escape or break lines at."""
_REASONING = re.compile(
    "|".join(f"{re.escape(a)}.*?(?:{re.escape(b)}|\\Z)" for a, b in TAGS.items()), re.DOTALL
)

Form = tuple[list[Message], tuple[str, ...]]


def simpler_forms(messages: list[Message], *, has_system_role: bool) -> Iterator[Form]:
    """The conversation as it is, then in simpler forms, each with notes on what was changed."""
    said, notes = (messages, ()) if has_system_role else _folded(messages)
    yield said, notes
    if has_tools(said):
        yield _with_text_arguments(said), notes
        said, notes = tools_as_text(said), (*notes, TOOLS_NOTE)
        yield said, notes
    yield from _in_turns(said, notes)
    if not messages:
        yield [{"role": "user", "content": ""}], (*notes, EMPTY_NOTE)
    if has_system_role and any(message["role"] == "system" for message in messages):
        folded, more = _folded(said)
        yield folded, (*notes, *more)
        yield from _in_turns(folded, (*notes, *more))


def _in_turns(messages: Sequence[Message], notes: tuple[str, ...]) -> Iterator[Form]:
    """The same with one turn of a role after the other, each of which says something; then with a
    question before a greeting."""
    said = [m for m in messages if m["role"] != "assistant" or m["content"] or len(m) > 2]
    merged = _merged(said)
    if len(merged) < len(messages):
        notes = (*notes, MERGED_NOTE)
        yield merged, notes
    n_system = sum(m["role"] == "system" for m in merged)
    if merged[n_system:] and merged[n_system]["role"] == "assistant":
        empty = {"role": "user", "content": ""}
        yield [*merged[:n_system], empty, *merged[n_system:]], (*notes, EMPTY_NOTE)


def has_tools(messages: Sequence[Message]) -> bool:
    """Whether tools were called in a conversation."""
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


class Rendered:
    """A rendered prompt, to be searched for what was to be in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found_to = 0

    def has(self, text: str) -> bool:
        """Whether each line of a text is there, however the template trims or escapes it."""
        stripped = text.strip()
        start = self._text.find(stripped, self._found_to)
        if start >= 0:
            self._found_to = start + len(stripped)
        if start >= 0 or stripped in self._text:
            return True
        lines = (_UNSURE.sub("", line) for line in _SWITCHES.sub("", text).splitlines())
        return all(line in self._loose for line in lines)

    def lost(self, messages: Sequence[Message]) -> list[str]:
        """The roles of messages whose texts aren't there; reasoning of past answers may go."""
        roles = []
        for message in messages:
            content = message["content"]
            if message["role"] == "assistant":
                content = _REASONING.sub("", content)
                for closing in TAGS.values():
                    content = content.rsplit(closing, 1)[-1]
            calls = [call["function"] for call in message.get("tool_calls", ())]
            if not all(map(self.has, [content, *strings([list(c.values()) for c in calls])])):
                roles.append(message["role"])
        return roles

    @cached_property
    def _loose(self) -> str:
        return _UNSURE.sub("", self._text)


def _folded(messages: Sequence[Message]) -> Form:
    """The system text in the turn of a user that comes first, or as one before what does."""
    system = next((m["content"] for m in messages if m["role"] == "system"), "")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    if not system:
        return rest, ()
    if rest and rest[0]["role"] == "user":
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    else:
        rest.insert(0, {"role": "user", "content": system})
    return rest, (FOLDED_NOTE,)


def _with_text_arguments(messages: Sequence[Message]) -> list[Message]:
    def textual(call: Message) -> Message:
        return {**call, "function": {**call["function"], "arguments": _arguments(call)}}

    return _with_calls(messages, lambda m: {**m, "tool_calls": [*map(textual, m["tool_calls"])]})


def tools_as_text(messages: Sequence[Message], form: CallForm = HERMES) -> list[Message]:
    """Calls and their results in words; Hermes' are those that most models have seen."""

    def said(message: Message) -> Message:
        calls = [
            form.example(call["function"]["name"], _arguments(call))
            for call in message["tool_calls"]
        ]
        content = "\n".join(filter(None, [message["content"], *calls]))
        return {"role": message["role"], "content": content}

    return [
        {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
        if message["role"] == "tool"
        else message
        for message in _with_calls(messages, said)
    ]


def _with_calls(messages: Sequence[Message], change: Callable[[Message], Message]) -> list[Message]:
    return [change(message) if "tool_calls" in message else message for message in messages]


def _arguments(call: Message) -> str:
    arguments = call["function"]["arguments"]
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _merged(messages: Sequence[Message]) -> list[Message]:
    """Turns of one role in a row as one, calls and results apart, without past reasoning."""
    result: list[Message] = []
    for given in messages:
        message = {name: value for name, value in given.items() if name != "reasoning_content"}
        last = result[-1] if result else None
        plain = set(message) == {"role", "content"}
        if last and plain and last["role"] == message["role"] and set(last) == set(message):
            result[-1] = {**last, "content": f"{last['content']}\n\n{message['content']}"}
        else:
            result.append(message)
    return result
