"""Questions to tune with: a handful of the project's own, or the user's from a file.

Knows nothing about models. A file is a JSON list of texts or of objects with a "question", JSON
lines of the same, or plain text with a question on each line.
"""

from __future__ import annotations

import json
from typing import Any

from amulet_local.common.errors import InvalidTextError

QUESTIONS = (
    "How do I sleep better?",
    "Explain to a child why the sky is blue.",
    "Write a short message to a neighbour whose dog barks at night.",
    "What are the advantages and disadvantages of working from home?",
    "How do I get a red wine stain out of a tablecloth?",
    "Who was Marie Curie?",
    "Suggest three dinners that I can cook in half an hour.",
    "My best friend forgot my birthday. What should I do?",
    "What is the difference between a virus and a bacterium?",
    "Describe a walk through an old town in the rain.",
    "How can I save money when I buy a used car?",
    "What makes a good teacher?",
)
"""Of different kinds: advice, knowledge, writing, feelings, lists."""

MAX_QUESTIONS = 1000


def parse_questions(text: str, place: str) -> tuple[str, ...]:
    """The questions in a file's text, each once.

    Args:
        place: what to call the file in an error.

    Raises:
        InvalidTextError: there is none, or too many, or an entry isn't a question.
    """
    entries: list[tuple[str, Any]]
    if text.lstrip().startswith("["):
        entries = [(f"entry {n}", item) for n, item in enumerate(_json_list(text, place), 1)]
    else:
        lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1)]
        entries = [(f"line {n}", _line(line, f"{place}, line {n}")) for n, line in lines if line]
    questions = [_question(item, f"{place}, {where}") for where, item in entries]
    if not questions:
        raise InvalidTextError(f"{place} has no questions in it")
    if len(questions) > MAX_QUESTIONS:
        raise InvalidTextError(
            f"{place} has {len(questions)} questions, at most {MAX_QUESTIONS} can be asked"
        )
    return tuple(dict.fromkeys(questions))


def _json_list(text: str, place: str) -> list[Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidTextError(f"{place}{line}: begins like a JSON list and isn't one") from None
    assert isinstance(entries, list)
    return entries


def _line(line: str, where: str) -> Any:
    """What a line holds: JSON where it begins like an object."""
    if not line.startswith("{"):
        return line
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidTextError(f"{where}: begins like a JSON object and isn't one") from None


def _question(entry: Any, where: str) -> str:
    question = entry.get("question") if isinstance(entry, dict) else entry
    if not isinstance(question, str) or not question.strip():
        raise InvalidTextError(
            f'{where}: has to be a question, as a text or as {{"question": "..."}}'
        )
    return question.strip()
