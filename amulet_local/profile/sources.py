"""What other programs keep of answers and of what was said of them: Open WebUI's export, llm's log.

Knows nothing about profiles. Open WebUI exports its feedback as a JSON list; each entry has the
rating, and the chat in which the rated message stands. `llm` keeps questions and answers in a
SQLite file, and no ratings: whoever reads it has to ask for them. Ollama keeps neither.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amulet_local.common.errors import InvalidParameterError, ProfileError


@dataclass(frozen=True, kw_only=True)
class KeptAnswer:
    """An answer that another program kept.

    Attributes:
        question, answer: these.
        good: what was said of it; None where nothing was.
    """

    question: str
    answer: str
    good: bool | None = None


def is_open_webui(entry: object) -> bool:
    """Whether it is a piece of feedback as Open WebUI has it."""
    return isinstance(entry, Mapping) and {"data", "meta", "snapshot"} <= set(entry)


def open_webui_feedback(entry: Mapping[str, Any]) -> KeptAnswer:
    """The answer that a piece of Open WebUI's feedback is about.

    Raises:
        InvalidParameterError: it has no rating, or its chat doesn't have the message.
    """
    try:
        rating = int(entry["data"]["rating"])
        chat = entry["snapshot"]["chat"]
        messages = chat.get("chat", chat)["history"]["messages"]
        answer = messages[entry["meta"]["message_id"]]
        question = messages[answer["parentId"]]
        found = KeptAnswer(
            question=question["content"].strip(), answer=answer["content"], good=rating > 0
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InvalidParameterError(
            "that is no feedback of Open WebUI with a rating and the chat that it is about"
        ) from None
    if rating not in (1, -1) or question.get("role") != "user" or not found.answer.strip():
        raise InvalidParameterError(
            "of Open WebUI's feedback only thumbs on an answer to a user's question are taken"
        )
    return found


def open_webui_export(text: str) -> tuple[list[KeptAnswer], int]:
    """The rated answers of an export, the oldest first, and how many entries had none.

    Raises:
        ProfileError: it isn't an export.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise ProfileError("that is no JSON that can be read") from None
    if not isinstance(entries, list) or not all(map(is_open_webui, entries)):
        raise ProfileError("that is no export of Open WebUI's feedback: a list with data and chats")
    found = []
    for entry in sorted(entries, key=_made):
        try:
            found.append(open_webui_feedback(entry))
        except InvalidParameterError:
            continue
    return found, len(entries) - len(found)


def llm_log(path: Path, most: int) -> list[KeptAnswer]:
    """The last answers in llm's log, the newest first.

    Raises:
        ProfileError: it isn't there, or isn't llm's log.
    """
    if not path.is_file():
        raise ProfileError(f"there is no log of llm at {path}; `llm logs path` says where it is")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as log:
            if ("table",) not in log.execute(
                "SELECT type FROM sqlite_master WHERE name = 'responses'"
            ).fetchall():  # a view of somebody else's could run for ever
                raise sqlite3.DatabaseError("it has no table of responses")
            rows = log.execute(
                "SELECT prompt, response FROM responses WHERE prompt <> '' AND response <> '' "
                "ORDER BY datetime_utc DESC, id DESC LIMIT ?",
                (most,),
            ).fetchall()
    except sqlite3.Error as error:
        raise ProfileError(f"{path} can't be read as a log of llm: {error}") from None
    return [KeptAnswer(question=str(prompt), answer=str(answer)) for prompt, answer in rows]


def _made(entry: Mapping[str, Any]) -> float:
    made = entry.get("created_at")
    return float(made) if isinstance(made, int | float) else 0.0
