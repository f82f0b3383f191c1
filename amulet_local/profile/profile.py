"""A profile: what a user picked, liked and said, read from its file and written to it.

Knows nothing about models or about who asks. Nothing of it is in memory between two calls, so that
several processes may use one profile.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.preferences.preference import Preference
from amulet_local.profile import database
from amulet_local.profile.contents import (
    TABLES,
    Contents,
    bank_of,
    insert,
    insert_forgotten,
    insert_preference,
    read,
    write_all,
)
from amulet_local.profile.feedback import Example, Fact, Feedback, Forgotten
from amulet_local.profile.taste import Taste

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,2}")
_ITEM = re.compile(r"([pef])([0-9]{1,15})")


class Profile:
    """A profile of this name.

    Attributes:
        name: what it is called.
        path: its file.
    """

    def __init__(self, name: str) -> None:
        """Take note; nothing is read.

        Raises:
            InvalidParameterError: a profile can't be called so.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidParameterError(
                f"a profile can't be called {name!r:.60}: a name has Latin letters, digits, '-' "
                f"and '_'"
            )
        self.name = name
        self.path: Path = database.profiles_folder() / f"{name}.db"

    @property
    def exists(self) -> bool:
        """Whether there is such a file."""
        return os.path.isfile(self.path)

    def create(self, contents: Contents | None = None) -> None:
        """Make it.

        Args:
            contents: what is in it; the built-in preferences and nothing else if None.

        Raises:
            ProfileError: there is one, or it can't be written.
        """
        _create(self.path, contents or Contents(bank=bank_of(None)))

    def restore(self, contents: Contents) -> None:
        """Have these contents, whether it is there, isn't, or can't be read any more.

        Raises:
            InvalidParameterError: something in them can't be kept; all is as it was.
            ProfileError: it can't be written; all is as it was.
        """
        if not self.exists:
            self.create(contents)
            return
        try:
            self.check()
        except ProfileError:
            made = database.beside(self.path)
            database.remove(made)
            _create(made, contents)
            database.put_in_place(made, self.path)
        else:
            self.replace(contents)

    def check(self) -> None:
        """Whether it can be used.

        Raises:
            ProfileError: it can't.
        """
        with database.opened(self.path):
            pass

    def contents(self) -> Contents:
        """Everything in it.

        Raises:
            ProfileError: it can't be read.
        """
        with database.opened(self.path) as connection:
            return read(connection, self.name)

    def taste(self) -> Taste:
        """What its feedback comes to now.

        Raises:
            ProfileError: it can't be read.
        """
        return self.contents().taste()

    def add(self, item: Feedback | Example | Fact) -> int:
        """Keep one more; its number, when it is safely on the disk.

        Raises:
            ProfileError: it can't be kept; nothing of it is.
            InvalidParameterError: a text is too long, or isn't one.
        """
        with database.writing(self.path) as connection:
            return insert(connection, item)

    def add_preference(self, preference: Preference) -> None:
        """Let it be about one more preference; nothing is known of its weight.

        Raises:
            InvalidParameterError: it is about this one already, or about as many as it may be.
            ProfileError: it can't be written.
        """
        with database.writing(self.path) as connection:
            insert_preference(connection, preference)

    def forget(self, items: Sequence[str]) -> int:
        """Delete some for good; how many there were. That they were is noted, not what they said.

        Args:
            items: numbers as `history` shows them: p3 (a pick, a thumb, ...), e2 (an example), f1
                (a fact).

        Raises:
            InvalidParameterError: one is no such number, or isn't there; nothing is deleted.
            ProfileError: it can't be written.
        """
        found = [_ITEM.fullmatch(item) for item in items]
        for item, match in zip(items, found, strict=True):
            if match is None:
                raise InvalidParameterError(
                    f"{item!r:.40} is no entry's number; `amulet-local profile history "
                    f"{self.name}` lists them: p1, e1, f1"
                )

        def delete(connection: sqlite3.Connection) -> int:
            for item, match in zip(items, found, strict=True):
                assert match is not None
                done = connection.execute(
                    f"DELETE FROM {TABLES[match[1]]} WHERE id = ?", (int(match[2]),)
                )
                if not done.rowcount:
                    raise InvalidParameterError(f"there is no {item} in the profile {self.name}")
            n = Counter(TABLES[item[0]] for item in items)
            insert_forgotten(
                connection,
                Forgotten(
                    at=round(time.time(), 6),
                    feedback=n["feedback"],
                    examples=n["examples"],
                    facts=n["facts"],
                ),
            )
            return len(items)

        return database.purge(self.path, delete)

    def forget_text(self, text: str) -> int:
        """Delete for good every entry that has a text in it, upper and lower case alike.

        Raises:
            InvalidParameterError: it is blank.
            ProfileError: it can't be written.
        """
        wanted = text.strip().casefold()
        if not wanted:
            raise InvalidParameterError("say which text is to be forgotten")
        contents = self.contents()
        items = [
            *(f"p{x.id}" for x in contents.feedback if _has(wanted, x.question, x.better, x.worse)),
            *(f"e{x.id}" for x in contents.examples if _has(wanted, x.question, x.text)),
            *(f"f{x.id}" for x in contents.facts if _has(wanted, x.text)),
        ]
        return self.forget(items) if items else 0

    def replace(self, contents: Contents) -> None:
        """Have these contents and no others; what was there is deleted for good.

        Raises:
            InvalidParameterError: something in them can't be kept; all is as it was.
            ProfileError: it can't be written.
        """
        _write(self.path, contents)

    def reset(self) -> None:
        """Forget everything for good but the preferences themselves.

        Raises:
            ProfileError: it can't be written.
        """
        self.replace(Contents(bank=self.contents().bank))

    def delete(self) -> None:
        """Delete the file. What a disk keeps of deleted files is the system's business.

        Raises:
            ProfileError: it isn't there, or can't be deleted.
        """
        if not self.exists:
            self.check()
        database.remove(self.path)


def listed() -> list[str]:
    """Names of the profiles that there are."""
    return [name for name in database.names() if _NAME.fullmatch(name)]


def _create(path: Path, contents: Contents) -> None:
    """Make a file with these contents, or none."""
    database.create(path)
    try:
        _write(path, contents)
    except BaseException:
        database.remove(path)
        raise


def _write(path: Path, contents: Contents) -> None:
    def write(connection: sqlite3.Connection) -> int:
        write_all(connection, contents)
        return 0

    database.purge(path, write)


def _has(wanted: str, *texts: str) -> bool:
    return any(wanted in text.casefold() for text in texts)
