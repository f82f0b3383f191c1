"""OpenAI-style messages, checked, and where a preference goes in them.

Knows nothing about templates: what a template can't take as it stands is put into other words by
simpler_forms.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from amulet_local.common.errors import (
    EmptyPromptError,
    InvalidParameterError,
    InvalidRequestError,
    InvalidTextError,
)
from amulet_local.params.choices import Placement

Message: TypeAlias = dict[str, Any]
"""`role` and `content`, a text. An assistant's may have `reasoning_content`, which a template shows
or doesn't, and `tool_calls`, whose `arguments` are plain data where they were JSON; a tool's has
the `name` of what was called and the `tool_call_id`."""

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""What programs call an answer's reasoning."""
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of content parts, and where their texts are."""

Continuation: TypeAlias = bool | Literal["content", "reasoning_content"] | None
"""Whether an answer goes on with the last message, and with which part of it."""


def with_preference(
    messages: Sequence[Mapping[str, Any]],
    *,
    system: str | None,
    preference: str,
    placement: Placement = "system",
    may_be_blank: bool = False,
) -> list[Message]:
    """The messages of one row. An empty preference gives the plain row.

    The plain row's text is what the preference row's text begins with, so the two prompts share
    the longest prefix. A system message is always there, even an empty one: some templates put in
    a text of their own where there is none, and the rows would differ by that.

    Args:
        messages: as for `checked`.
        system: the system text, if `messages` has no system message; None adds no message, for a
            row that stands alone.
        preference: what the answer should be like; blank for the plain row.
        placement: `system` appends it to the system message (after a space), the others to the last
            user turn (on a new line).
        may_be_blank: see `checked`.

    Raises:
        As `checked`.
    """
    if placement not in get_args(Placement):
        raise InvalidParameterError(
            f"placement must be one of {', '.join(get_args(Placement))}, not {placement!r}"
        )
    check_text("the system text", "" if system is None else system)
    check_text("the preference", preference)
    rows = checked(messages, may_be_blank=may_be_blank)
    roles = [message["role"] for message in rows]
    if "system" not in roles and (system is not None or preference.strip()):
        rows.insert(0, {"role": "system", "content": system or ""})
        roles.insert(0, "system")
    if not preference.strip():
        return rows
    if placement == "system" or "user" not in roles:
        target, separator = rows[0], " "
    else:
        target, separator = rows[len(roles) - 1 - roles[::-1].index("user")], "\n"
    content = target["content"]
    if not content or content[-1].isspace():
        separator = ""
    target["content"] = content + separator + preference
    return rows


def checked(messages: Sequence[Mapping[str, Any]], *, may_be_blank: bool = False) -> list[Message]:
    """New messages, validated, with one system message at the front if there are any.

    Args:
        messages: OpenAI-style dicts. Content is a text, a list of text parts or None; a user's
            has to be there. A developer's message is a system message. Several of these become one,
            as many templates drop a second one, or one that isn't first, without a word.
        may_be_blank: nothing needs to be said in them, as where an answer follows that has begun.

    Raises:
        EmptyPromptError: no messages, nothing but blank ones, or a last user turn that is blank.
        InvalidRequestError: a message of another shape.
        InvalidTextError: a text with a lone surrogate.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InvalidRequestError(
            "a question is a text, or a list of messages: dicts with role and content; got "
            f"{type(messages).__name__}"
        )
    if not messages and not may_be_blank:
        raise EmptyPromptError("there are no messages")
    rows = [_one(f"messages[{index}]", message) for index, message in enumerate(messages)]
    _name_results(rows)
    questions = [row["content"] for row in rows if row["role"] == "user"]
    if questions and not (questions[-1].strip() or may_be_blank):
        raise EmptyPromptError("the last user turn is blank")
    says_something = any(row["content"].strip() or row.get("tool_calls") for row in rows)
    if not (says_something or may_be_blank):
        raise EmptyPromptError("the messages are blank: there is nothing to answer")
    system = [row["content"] for row in rows if row["role"] == "system"]
    if not system:
        return rows
    first = {"role": "system", "content": "\n\n".join(text for text in system if text)}
    return [first, *(row for row in rows if row["role"] != "system")]


class Begun(NamedTuple):
    """What there is of an answer that is to be gone on with.

    Attributes:
        content: of the answer.
        reasoning: what stands before it.
        is_reasoning: whether the answer hasn't begun, so that the reasoning goes on.
    """

    content: str = ""
    reasoning: str = ""
    is_reasoning: bool = False


def continued(
    messages: Sequence[Mapping[str, Any]], wanted: Continuation
) -> tuple[Sequence[Mapping[str, Any]], Begun]:
    """The messages before an answer that is to be gone on with, and what there is of it.

    Args:
        wanted: whether to; None wherever the last message is an assistant's. A word says which
            part of it: otherwise it is the content, and the reasoning where there is no content.

    Raises:
        InvalidRequestError: it is wanted, and the last message is another one.
    """
    last = messages[-1] if isinstance(messages, Sequence) and messages else None
    is_answer = isinstance(last, Mapping) and last.get("role") == "assistant"
    if wanted and not is_answer:
        raise InvalidRequestError("continue_final_message: the last message must be an assistant's")
    if last is None or not is_answer or wanted is False or _calls("the last message", last):
        return messages, Begun()
    return messages[:-1], _begun(last, wanted)


def _begun(message: Mapping[str, Any], wanted: Continuation) -> Begun:
    """What there is of an answer; its parts are paragraphs, as llama-server has them."""
    content = message.get("content")
    parts = [[part] for part in content] if isinstance(content, list | tuple) else [content]
    where = "the last message"
    rows = [_one(where, {**message, "content": part}) for part in parts or [None]]
    text = "\n\n".join(row["content"] for row in rows)
    reasoning = rows[0].get("reasoning_content", "")
    goes_on = bool(reasoning) and (
        wanted == "reasoning_content" or (wanted != "content" and not text)
    )
    return Begun("" if goes_on else text, reasoning, goes_on)


def texts_of(messages: Sequence[Message]) -> list[str]:
    """Every text that stands in messages."""
    return [text for message in messages for text in strings(message)]


def strings(value: Any) -> list[str]:
    """Every text of plain data, keys included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in strings(item)]
    return []


def check_text(what: str, text: Any) -> str:
    """A text that UTF-8 can express.

    Raises:
        InvalidRequestError, InvalidTextError: it is something else.
    """
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


def _one(where: str, message: Any) -> Message:
    if not isinstance(message, Mapping):
        raise InvalidRequestError(f"{where} must be a dict, not a {type(message).__name__}")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidRequestError(
            f"{where}: the role must be one of {', '.join(_ROLES)}, not {str(role)[:50]!r}"
        )
    row: Message = {"role": _ROLES[role]}
    content = message.get("content")
    is_left_out = content is None and (role != "user" or "content" in message)
    row["content"] = "" if is_left_out else _content_text(where, content)
    if row["role"] == "assistant":
        calls = _calls(where, message)
        if calls:
            row["tool_calls"] = calls
        if message.get("refusal") and not row["content"]:
            row["content"] = check_text(f"{where}.refusal", message["refusal"])
        thought = next((message[name] for name in _THOUGHTS if message.get(name)), None)
        if thought is not None:
            row["reasoning_content"] = check_text(f"{where}.reasoning_content", thought)
    if row["role"] == "tool":
        for key in ("tool_name", "name", "tool_call_id"):  # the first is Ollama's
            if message.get(key) is not None:
                own = key.removeprefix("tool_") if key == "tool_name" else key
                row[own] = check_text(f"{where}.{key}", message[key])
    return row


def _calls(where: str, message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of an assistant's message; `function_call` is the one of an older client."""
    calls = message.get("tool_calls") or []
    if not calls and message.get("function_call"):
        calls = [{"function": message["function_call"]}]
    if not isinstance(calls, list | tuple):
        raise InvalidRequestError(f"{where}.tool_calls must be a list")
    result = []
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InvalidRequestError(
                f"{where}.tool_calls[{index}] must be an object with a function that has a name"
            )
        name = check_text(f"{where}.tool_calls[{index}]", function["name"])
        arguments = _arguments(f"{where}.tool_calls[{index}]", function.get("arguments"))
        key = call.get("id")
        result.append(
            {
                "id": check_text(where, key) if isinstance(key, str) else f"call{index:05}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
        )
    return result


def _arguments(where: str, arguments: Any) -> Any:
    """Plain data where the arguments are a JSON object, and the text where they are another."""
    if arguments is None or arguments == "":
        return {}
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
        for text in strings(value):
            check_text(where, text)
    except (ValueError, TypeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    if isinstance(arguments, str):
        return check_text(where, arguments)
    raise InvalidRequestError(f"{where}: the arguments must be a JSON object")


def _name_results(rows: Sequence[Message]) -> None:
    """Give each tool's message the name of what was called: some templates ask for it."""
    names = {
        call["id"]: call["function"]["name"] for row in rows for call in row.get("tool_calls", ())
    }
    for row in rows:
        if row["role"] == "tool" and "name" not in row and row.get("tool_call_id") in names:
            row["name"] = names[row["tool_call_id"]]


def _content_text(where: str, content: Any) -> str:
    if isinstance(content, list | tuple):
        for part in content:
            if not (
                isinstance(part, Mapping)
                and isinstance(part.get("type"), str)
                and isinstance(part.get(_TEXT_PARTS.get(part["type"], "")), str)
            ):
                raise InvalidRequestError(
                    f"{where}: a content part must be {{'type': 'text', 'text': ...}}; "
                    f"images, audio and other parts are not supported"
                )
        content = "\n".join(part[_TEXT_PARTS[part["type"]]] for part in content)
    if not isinstance(content, str):
        raise InvalidRequestError(
            f"{where}: the content must be a text or a list of text parts, not a "
            f"{type(content).__name__}"
        )
    return check_text(where, content)
