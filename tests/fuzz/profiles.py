"""What people change and disks damage of a profile: its export as JSON, and the database itself."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.preferences.preference import Preference
from amulet_local.profile import database
from amulet_local.profile.contents import Contents, insert, write_all
from amulet_local.profile.database import APPLICATION_ID, MIGRATIONS
from amulet_local.profile.exchange import as_json, from_json
from amulet_local.profile.feedback import Example, Fact, Feedback, Forgotten
from amulet_local.profile.profile import Profile
from tests.fuzz.mutation import TEXTS, VALUES, changed_bytes, changed_json
from tests.fuzz.mutation import as_json as json_bytes
from tests.fuzz.target import Target, refused

TAKEN = "taken"
DATABASE = b"SQLite format 3\0"
ROWS = {
    "preferences": ("name", "text", "prompt"),
    "feedback": ("at", "kind", "origin", "model", "question", "better", "differences", "strengths"),
    "examples": ("at", "origin", "question", "text"),
    "facts": ("at", "origin", "text"),
    "forgotten": ("at", "feedback", "examples", "facts"),
}
CELLS = (
    *VALUES[:10],
    -1,
    1e308,
    float("inf"),
    *TEXTS[:-2],
    b"\xff\xfe",
    "[1",
    "[1, 2]",
    '{"a": 1}',
)


def sound() -> Contents:
    """A profile with something of everything."""
    return Contents(
        bank=(
            Preference(text="in rhyme", name="rhyme"),
            Preference(text="short", name="", prompt="Be {text}."),
        ),
        feedback=(
            Feedback(
                at=1.8e9,
                kind="pick",
                origin="chat",
                question="Why?",
                better="So.",
                worse="No.",
                differences={"in rhyme": 0.25, "short": -1.5},
                strengths=(2.0, 1.0),
            ),
            Feedback(at=1.8e9 + 1, kind="good", origin="server", differences={"short": 0.5}),
        ),
        examples=(Example(at=1.8e9 + 2, origin="chat", question="How?", text="Like this."),),
        facts=(Fact(at=1.8e9 + 3, origin="chat", text="No quagga."),),
        forgotten=(Forgotten(at=1.8e9 + 4, feedback=2),),
    )


class Profiles(Target):
    """Read, used and written again, or refused as a profile."""

    def __init__(self, folder: Path) -> None:
        os.environ["AMULET_DATA"] = str(folder / "data")
        self._made = folder / "made.db"
        self._profile = Profile("fuzz")
        self._profile.create(sound())
        self._export = as_json(sound())

    def make(self, rng: random.Random) -> bytes:
        """An export with a place or a few bytes changed; or the file, in a cell or in bytes."""
        kind = rng.randrange(4)
        if kind < 2:
            value = changed_json(json.loads(self._export), rng)
            return json_bytes(changed_json(value, rng) if kind else value, rng)
        data = self._with_cells(rng, rng.randrange(1, 3)) if kind == 2 else self._with_cells(rng, 0)
        return data if kind == 2 else data[:16] + changed_bytes(data[16:], rng)

    def run(self, data: bytes) -> str:
        """Read, or refused as a profile."""
        try:
            if data.startswith(DATABASE):
                self._used(data)
                return "a database"
            contents = from_json(data.decode("utf-8", "replace"))
            self._profile.replace(contents)
        except (ProfileError, InvalidParameterError) as error:
            return refused(error)
        export = as_json(self._profile.contents())
        self._profile.replace(from_json(export))
        assert as_json(self._profile.contents()) == export, "it isn't what it was after a save"
        return TAKEN

    def _used(self, data: bytes) -> None:
        path = self._profile.path
        database.remove(path)
        path.write_bytes(data)
        try:
            contents = self._profile.contents()
            contents.taste()
            as_json(contents)
            self._profile.add(Fact(at=0.0, origin="fuzz", text="more"))
            assert "more" in [fact.text for fact in self._profile.contents().facts]
        finally:
            database.remove(path)
            self._profile.create(sound())

    def _with_cells(self, rng: random.Random, n_changed: int) -> bytes:
        """The file, with other values in some cells: SQLite's columns take values of any type."""
        self._made.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._made, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            for migration in MIGRATIONS:
                connection.executescript(migration)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
            write_all(connection, sound())
            insert(connection, Fact(at=0.0, origin="fuzz", text="x" * 5000))
            for _ in range(n_changed):
                table = rng.choice(list(ROWS))
                value = rng.choice(CELLS)
                try:
                    connection.execute(
                        f"UPDATE {table} SET {rng.choice(ROWS[table])} = ?", (value,)
                    )
                except (sqlite3.Error, OverflowError, UnicodeEncodeError):
                    continue  # what SQLite itself doesn't take
        return self._made.read_bytes()
