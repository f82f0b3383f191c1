"""What a chat template can say, in llama-server's words: clients ask before they send it.

Knows nothing about how templates run: each ability is whether a word of a probe shows up.
"""

from __future__ import annotations

import json
from typing import Any

from amulet_local.calling.tools import tool_named
from amulet_local.prompts.chat_template import ChatTemplate
from amulet_local.prompts.messages import Message

_WORD, _OTHER, _ARGUMENT = "qzwordprobe", "qzotherprobe", "qzargumentprobe"
_ASKED: Message = {"role": "user", "content": "Qzquestion"}
_TOOLS = {"tools": [tool_named(_WORD), tool_named(_OTHER)]}
_KEEPS_REASONING = {
    "enable_thinking": True,
    "preserve_thinking": True,
    "clear_thinking": False,
    "truncate_history_thinking": False,
    "drop_thinking": False,
}


def template_abilities(template: ChatTemplate) -> dict[str, bool]:
    """As `chat_template_caps` of llama-server's /props."""
    arguments: dict[str, str] | str = {_ARGUMENT: _WORD}
    takes_objects = _ARGUMENT in template.probe(_called(arguments, _WORD), _TOOLS)
    if not takes_objects:
        arguments = json.dumps(arguments)
    typed = template.probe([{"role": "user", "content": [{"type": "text", "text": _WORD}]}])
    thought = {"role": "assistant", "content": "Qzanswer", "reasoning_content": _WORD}
    return {
        "supports_string_content": not template.types_content,
        "supports_typed_content": template.types_content
        or (_WORD in typed and "'type'" not in typed),
        "supports_system_role": template.has_system_role,
        "supports_tools": _WORD in template.probe([_ASKED], _TOOLS),
        "supports_tool_calls": _ARGUMENT in template.probe(_called(arguments, _WORD), _TOOLS),
        "supports_parallel_tool_calls": _OTHER in template.probe(_called(arguments, _WORD, _OTHER)),
        "supports_object_arguments": takes_objects,
        "supports_preserve_reasoning": _WORD
        in template.probe([_ASKED, thought, _ASKED], _KEEPS_REASONING),
        "supports_reasoning_effort": not template.unread({"reasoning_effort": "low"}),
    }


def _called(arguments: Any, *names: str) -> list[Message]:
    """A conversation in which these were called, as some templates want it."""
    keys = [f"qzcall00{number}" for number in range(len(names))]
    calls = [
        {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}
        for key, name in zip(keys, names, strict=True)
    ]
    results: list[Message] = [
        {"role": "tool", "tool_call_id": key, "name": name, "content": "Qzresult"}
        for key, name in zip(keys, names, strict=True)
    ]
    return [_ASKED, {"role": "assistant", "content": "", "tool_calls": calls}, *results]
