"""What a model may call, in the system text: for chat templates that don't say it themselves.

Knows nothing about templates. The words are those that most models have seen (Hermes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from amulet_local.calling.forms import CallForm
from amulet_local.calling.tools import Tools
from amulet_local.prompts.messages import Message, checked


def with_tools(
    messages: Sequence[Mapping[str, Any]],
    tools: Tools,
    form: CallForm,
    *,
    system: str | None,
    may_be_blank: bool = False,
) -> list[Message]:
    """The messages with a system text that says what may be called, and how.

    Args:
        messages: as for `checked`.
        system: the system text where they have none.
        may_be_blank: see `checked`.

    Raises:
        As `checked`.
    """
    rows = checked(messages, may_be_blank=may_be_blank)
    if not rows or rows[0]["role"] != "system":
        rows.insert(0, {"role": "system", "content": system or ""})
    said = rows[0]["content"]
    rows[0]["content"] = f"{said}\n\n{_description(tools, form)}".strip()
    return rows


def _description(tools: Tools, form: CallForm) -> str:
    functions = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools.shown)
    example = form.example("FUNCTION", '{"PARAMETER": "VALUE"}')
    return (
        "You may call functions to help with the question. These are available, as JSON schemas:\n"
        f"<tools>\n{functions}\n</tools>\n"
        f"To call one, answer in this form and nothing else:\n{example}"
    )
