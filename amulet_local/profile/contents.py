"""Everything in a profile, as it is read from the tables of its file and written to them.

Knows nothing about files, or about what follows from the contents.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, cast

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.profile.feedback import KINDS, Example, Fact, Feedback, Forgotten
from amulet_local.profile.taste import Taste

MAX_PREFERENCES = 16
MAX_NUMBER = 1e6
"""Of a piece of feedback, far beyond what answers differ by; squares of it are still numbers."""
MAX_TEXT_LENGTH = 100_000
"""Of an answer or a question that is kept, in characters."""

TABLES = {"p": "feedback", "e": "examples", "f": "facts"}
"""The letter of an entry's number, and the table that it is in."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Everything in a profile, oldest first."""

    bank: tuple[Preference, ...]
    feedback: tuple[Feedback, ...] = ()
    examples: tuple[Example, ...] = ()
    facts: tuple[Fact, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()

    def taste(self, at: float | None = None) -> Taste:
        """What it comes to at a time, now if None."""
        return Taste(bank=self.bank, feedback=self.feedback, at=time.time() if at is None else at)


def bank_of(wanted: Sequence[str] | None) -> tuple[Preference, ...]:
    """A new profile's preferences: those given, else the built-in ones.

    Raises:
        InvalidParameterError: see `checked_bank`; also one with a weight.
        As `resolve`.
    """
    found = resolve(list(wanted) if wanted else list(BUILT_IN_PREFERENCES))
    for item in found:
        if item.weight != 1:
            raise InvalidParameterError(
                f"{item.label!r:.100} has a weight, which is what is to be learned; leave it out"
            )
    return checked_bank(found)


def checked_bank(bank: Sequence[Preference]) -> tuple[Preference, ...]:
    """These preferences.

    Raises:
        InvalidParameterError: there are none or too many, or two are the same.
    """
    if not 1 <= len(bank) <= MAX_PREFERENCES:
        raise InvalidParameterError(
            f"a profile has 1 to {MAX_PREFERENCES} preferences, not {len(bank)}"
        )
    seen: set[str] = set()
    for item in bank:
        if item.text in seen:
            raise InvalidParameterError(f"{item.label!r:.100} is there twice")
        seen.add(item.text)
    return tuple(replace(item, weight=1.0) for item in bank)


def read(connection: sqlite3.Connection, name: str) -> Contents:
    """All of it, as it is at one time.

    Args:
        name: the profile's.

    Raises:
        ProfileError: something in it wasn't written by this program.
    """
    connection.execute("BEGIN")
    try:
        return Contents(
            bank=tuple(_bank(connection)) or bank_of(None),  # its maker was killed: none yet
            feedback=tuple(_feedback(connection)),
            examples=tuple(
                Example(
                    id=i,
                    at=_moment(at),
                    origin=_text(origin),
                    question=_text(question),
                    text=_text(text),
                )
                for i, at, origin, question, text in connection.execute(
                    "SELECT id, at, origin, question, text FROM examples ORDER BY id"
                )
            ),
            facts=tuple(
                Fact(id=i, at=_moment(at), origin=_text(origin), text=_text(text))
                for i, at, origin, text in connection.execute(
                    "SELECT id, at, origin, text FROM facts ORDER BY id"
                )
            ),
            forgotten=tuple(
                Forgotten(
                    at=_moment(at),
                    feedback=_count(feedback),
                    examples=_count(examples),
                    facts=_count(facts),
                )
                for at, feedback, examples, facts in connection.execute(
                    "SELECT at, feedback, examples, facts FROM forgotten ORDER BY id"
                )
            ),
        )
    except (ValueError, TypeError, OverflowError, AttributeError, InvalidParameterError):
        raise ProfileError(
            f"the profile {name!r} holds what this program didn't write; `amulet-local profile "
            f"import {name} FILE --force` takes an export in its place"
        ) from None
    finally:
        if connection.in_transaction:
            connection.rollback()


def write_all(connection: sqlite3.Connection, contents: Contents) -> None:
    """Put these contents in the place of what is there.

    Raises:
        InvalidParameterError: something in them can't be kept.
    """
    for table in ("preferences", "forgotten", *TABLES.values()):
        connection.execute(f"DELETE FROM {table}")
    _write_bank(connection, checked_bank(contents.bank))
    items: list[Feedback | Example | Fact] = [*contents.feedback]
    for item in [*items, *contents.examples, *contents.facts]:
        insert(connection, item)
    for forgotten in contents.forgotten:
        insert_forgotten(connection, forgotten)


def insert_preference(connection: sqlite3.Connection, preference: Preference) -> None:
    """Write one more preference that it is about.

    Raises:
        InvalidParameterError: it can't be kept.
    """
    found = tuple(_bank(connection))
    if not found:  # its maker was killed: those that it is about are the built-in ones
        found = bank_of(None)
        _write_bank(connection, found)
    *_, added = checked_bank([*found, preference])
    _write_bank(connection, [added])


def _write_bank(connection: sqlite3.Connection, bank: Sequence[Preference]) -> None:
    for one in bank:
        _check_texts(one.name, one.text, one.prompt)
    connection.executemany(
        "INSERT INTO preferences (name, text, prompt) VALUES (?, ?, ?)",
        [(one.name, one.text, one.prompt) for one in bank],
    )


def insert_forgotten(connection: sqlite3.Connection, item: Forgotten) -> None:
    """Take note that entries were deleted."""
    connection.execute(
        "INSERT INTO forgotten (at, feedback, examples, facts) VALUES (?, ?, ?, ?)",
        (item.at, item.feedback, item.examples, item.facts),
    )


def insert(connection: sqlite3.Connection, item: Feedback | Example | Fact) -> int:
    """Write one more; its number.

    Raises:
        InvalidParameterError: it can't be kept.
    """
    try:
        _moment(item.at)
    except (ValueError, OverflowError):
        raise InvalidParameterError(
            "an entry's time must have a date of the years 1 to 9999"
        ) from None
    if isinstance(item, Feedback):
        _check_feedback(item)
        columns = "kind, origin, model, question, better, worse, differences, strengths"
        values = [
            *(item.kind, item.origin, item.model, item.question, item.better, item.worse),
            *(json.dumps(dict(item.differences)), json.dumps(item.strengths)),
        ]
        table = "feedback"
    elif isinstance(item, Example):
        table, columns = "examples", "origin, question, text"
        values = [item.origin, item.question, item.text]
    else:
        table, columns, values = "facts", "origin, text", [item.origin, item.text]
    _check_texts(*values)
    places = ", ".join("?" * len(values))
    done = connection.execute(
        f"INSERT OR REPLACE INTO {table} (at, {columns}) VALUES (?, {places})", (item.at, *values)
    )
    return cast(int, done.lastrowid)


def _bank(connection: sqlite3.Connection) -> Iterator[Preference]:
    for name, text, prompt in connection.execute(
        "SELECT name, text, prompt FROM preferences ORDER BY id"
    ):
        yield Preference(text=_text(text), name=_text(name), prompt=_text(prompt))


def _feedback(connection: sqlite3.Connection) -> Iterator[Feedback]:
    for i, at, kind, origin, model, question, better, worse, found, strengths in connection.execute(
        "SELECT id, at, kind, origin, model, question, better, worse, differences, strengths "
        "FROM feedback ORDER BY id"
    ):
        item = Feedback(
            id=i,
            at=_moment(at),
            kind=kind,
            origin=_text(origin),
            model=_text(model),
            question=_text(question),
            better=_text(better),
            worse=_text(worse),
            differences=_numbers(json.loads(found)),
            strengths=tuple(float(value) for value in json.loads(strengths)),
        )
        _check_feedback(item)
        yield item


def _moment(seconds: float) -> float:
    """A time that has a date: a column of SQLite's takes values of any type."""
    datetime.fromtimestamp(seconds, timezone.utc)
    return float(seconds)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in values.items()}


def _check_feedback(item: Feedback) -> None:
    if item.kind not in KINDS:
        raise InvalidParameterError(f"feedback is one of {', '.join(KINDS)}, not {item.kind!r:.40}")
    if not all(
        abs(number) <= MAX_NUMBER for number in (*item.differences.values(), *item.strengths)
    ):
        raise InvalidParameterError(f"the numbers of feedback are at most {MAX_NUMBER:,.0f}")
    if item.strengths and (len(item.strengths) != 2 or min(item.strengths) <= 0):
        raise InvalidParameterError("the strengths of feedback are two numbers above 0")


def _check_texts(*texts: str) -> None:
    for text in texts:
        _check_text(text)


def _check_text(text: str) -> None:
    if not isinstance(text, str) or len(text) > MAX_TEXT_LENGTH:
        raise InvalidParameterError(
            f"a text that is kept has at most {MAX_TEXT_LENGTH:,} characters"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameterError("a text that is kept has to be UTF-8") from None
