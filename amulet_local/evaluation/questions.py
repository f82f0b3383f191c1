"""Questions to tune with: a handful of the project's own, or the user's from a file.

Knows nothing about models. A file is a JSON list of texts or of objects with a "question" (or
"prompt", or "instruction"), JSON lines of the same, a table (.csv) with such a column, or plain
text with a question on each line.
"""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

from amulet_local.common.csv_tables import CsvTable
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
QUESTION_FIELDS = ("question", "prompt", "instruction")
"""What a question is called, where a file names it."""


def parse_questions(text: str, place: str, *, is_table: bool = False) -> tuple[str, ...]:
    """The questions in a file's text, each once.

    Args:
        place: what to call the file in an error.
        is_table: whether it is CSV.

    Raises:
        InvalidTextError: there is none, or too many, or an entry isn't a question.
    """
    entries: list[tuple[str, Any]]
    if is_table:
        entries = table_entries(text, place)
    elif text.lstrip().startswith("["):
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


def table_entries(text: str, place: str) -> list[tuple[str, dict[str, str]]]:
    """The rows of a table, each with where it is.

    Args:
        text: of a CSV file.
        place: what to call the file in an error.

    Raises:
        InvalidTextError: a row can't be read.
    """
    entries = []
    for n, row in enumerate(CsvTable(io.StringIO(text, newline="")).rows(), 1):
        if row.problem:
            raise InvalidTextError(f"{place}, line {row.number}: {row.problem}")
        entries.append((f"row {n}", row.cells))
    return entries


def question_of(entry: Any) -> str:
    """The question of an entry: a text, or an object with one; empty if there is none."""
    if isinstance(entry, dict):
        named = [entry[name] for name in QUESTION_FIELDS if entry.get(name) not in (None, "")]
        entry = named[0] if named else ""
    return entry.strip() if isinstance(entry, str) else ""


def _json_list(text: str, place: str) -> list[Any]:
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidTextError(f"{place}{line}: begins like a JSON list and isn't one") from None
    assert isinstance(entries, list)
    return entries


def _line(line: str, where: str) -> Any:
    """What a line holds: JSON where it begins like an object, or is a text of JSON."""
    if not line.startswith("{"):
        return _json_text(line)
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidTextError(f"{where}: begins like a JSON object and isn't one") from None


def _question(entry: Any, where: str) -> str:
    question = question_of(entry)
    if not question:
        raise InvalidTextError(
            f'{where}: has to be a question, as a text or as {{"question": "..."}}'
        )
    return question


def _json_text(line: str) -> str:
    if line.startswith('"'):
        with contextlib.suppress(ValueError):
            return str(json.loads(line))
    return line
