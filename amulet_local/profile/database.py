"""The SQLite file of a profile: opened, checked, brought up to date, and emptied for good.

Knows nothing about what its tables mean. Every use opens the file anew and closes it, so that two
processes get along and nothing stays open. A write that returned survives kill -9 and, where the
system keeps what it was told to sync, power loss (write-ahead log, synchronous FULL). What was
deleted is overwritten (secure_delete), and `purge` leaves nothing of it in the file or its log.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from amulet_local.common import private_files
from amulet_local.common.errors import ProfileError
from amulet_local.common.user_folders import data_folder, private_folder, why_unusable
from amulet_local.preferences.names import did_you_mean

APPLICATION_ID = 0x416D756C
"""In the header of every profile's file: "Amul"."""

MIGRATIONS = (
    """
    CREATE TABLE preferences (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        text TEXT NOT NULL UNIQUE,
        prompt TEXT NOT NULL
    );
    CREATE TABLE feedback (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        kind TEXT NOT NULL,
        origin TEXT NOT NULL,
        model TEXT NOT NULL,
        question TEXT NOT NULL,
        better TEXT NOT NULL,
        worse TEXT NOT NULL,
        differences TEXT NOT NULL,
        strengths TEXT NOT NULL
    );
    CREATE TABLE examples (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        origin TEXT NOT NULL,
        question TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE TABLE facts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        origin TEXT NOT NULL,
        text TEXT NOT NULL UNIQUE
    );
    """,
    """
    CREATE TABLE forgotten (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL,
        feedback INTEGER NOT NULL,
        examples INTEGER NOT NULL,
        facts INTEGER NOT NULL
    );
    """,
)
"""What makes each version of the file out of the one before it; the first begins with nothing."""

PATIENCE_SECONDS = 10.0
"""How long a write waits for another process's."""

_PRAGMAS = ("secure_delete=ON", "journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY")
"""The last so that no other disk has a copy while the file is written anew."""

_FOR_GOOD = "?mode=ro&immutable=1"
"""How SQLite reads a file where nothing can be written, neither locks nor a log."""

_SPARE_BYTES = 1 << 17
"""Of room on the disk, beyond twice the file, for what is deleted from it."""

_NOT_THERE = "there is no profile {name!r}; {meant}`amulet-local profile create {name}` makes it"


def profiles_folder() -> Path:
    """Where profiles are. It may not exist."""
    return data_folder() / "profiles"


def names() -> list[str]:
    """What the files in that folder are called; none where it can't be read, or has just gone."""
    with suppress(OSError):
        found = sorted(profiles_folder().glob("*.db"))
        return [path.stem for path in found if os.path.isfile(path)]
    return []


def create(path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Make an empty file, for this user alone.

    Raises:
        ProfileError: something is there, or it can't be written.
    """
    if any(private_folder(folder) is None for folder in (data_folder(), path.parent)):
        raise ProfileError(why_unusable(path.parent))
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        os.close(os.open(path, flags, 0o600))
    except FileExistsError:
        raise ProfileError(f"there is a profile {path.stem!r} already") from None
    except OSError as error:
        raise ProfileError(f"{path} can't be written: {error.strerror}") from None
    try:
        with opened(path, migrations):
            pass
    except ProfileError:
        remove(path)
        raise


def remove(path: Path) -> None:
    """Delete a profile's file and its log; where its name is a link, that and what it stands for.

    Raises:
        ProfileError: it can't be deleted.
    """
    try:
        for place in dict.fromkeys((_place(path), path)):
            for ending in ("-wal", "-shm", ""):
                place.with_name(place.name + ending).unlink(missing_ok=True)
    except OSError as error:
        raise ProfileError(f"{path} can't be deleted: {error.strerror}") from None


def beside(path: Path) -> Path:
    """Where a file is made that is to take the place of another; no profile can be called so."""
    place = _place(path)
    return place.with_name(f".{place.name}")


def put_in_place(made: Path, path: Path) -> None:
    """Let a file that is whole take the place of a damaged one; a link stays one.

    Raises:
        ProfileError: it can't be written, or what is there is no file.
    """
    place = _place(path)
    if os.path.lexists(place) and not os.path.isfile(place):
        raise ProfileError(f"{path} can't be written: it is there and isn't a file")
    try:
        for ending in ("-wal", "-shm"):  # a log of the old file's would be taken for the new one's
            place.with_name(place.name + ending).unlink(missing_ok=True)
        private_files.put_in_place(made, place)
    except OSError as error:
        raise ProfileError(f"{path} can't be written: {error.strerror}") from None


def _place(path: Path) -> Path:
    try:
        return private_files.place(path)
    except OSError as error:  # another user's link, or one that leads nowhere
        raise ProfileError(f"{path} isn't used: {error.strerror}") from None


@contextmanager
def opened(path: Path, migrations: Sequence[str] = MIGRATIONS) -> Iterator[sqlite3.Connection]:
    """The file, sound and up to date, inside the block.

    Raises:
        ProfileError: it isn't there, is damaged or of a newer version, the disk is full, or another
            process doesn't finish its write.
    """
    with _typed_errors(path):
        if not os.path.isfile(_place(path)):
            raise ProfileError(
                _NOT_THERE.format(name=path.stem, meant=did_you_mean(path.stem, names()))
            )
        with closing(_connection(path)) as connection:
            _check(connection, path, migrations)
            _migrate(connection, migrations)
            yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """`opened`, with all that the block writes kept at its end, or nothing if it raises."""
    with opened(path) as connection, _transaction(connection):
        yield connection


def purge(path: Path, delete: Callable[[sqlite3.Connection], int]) -> int:
    """Delete rows so that no byte of them stays in the file or beside it.

    Args:
        delete: does it, and returns how many they were.

    Raises:
        ProfileError: as `opened`, also where the disk has no room for the file written anew
            (nothing is deleted then), or where another process is in the way of that, or reads for
            so long that its log can't be emptied (the rows are deleted then).
    """
    with opened(path) as connection:
        _check_room(path)
        with _transaction(connection):
            n_deleted = delete(connection)
        try:
            connection.execute("VACUUM")
            left = ""
        except sqlite3.Error as error:
            left = (
                f"the file can't be written anew ({error}), so that pieces of it may be left in "
                f"unused parts of {path} until the next `forget`, `reset` or `import`"
            )
        with suppress(sqlite3.Error):
            (busy, *_rest) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                left = (
                    f"another process reads the profile, so that a copy is in {path.name}-wal "
                    f"until it ends"
                )
        if left:
            raise ProfileError(f"{path.stem}: it is deleted, but {left}")
        return n_deleted


def _check_room(path: Path) -> None:
    """Refuse to begin what would be left half done on a full disk.

    Raises:
        ProfileError: there is too little room to write the file anew, beside it and into its log.
    """
    place = _place(path)
    needed = _SPARE_BYTES
    for file in (place, place.with_name(f"{place.name}-wal")):
        with suppress(FileNotFoundError):  # who closes it last takes the log away
            needed += 2 * file.stat().st_size
    free = shutil.disk_usage(place.parent).free
    if free < needed:
        raise ProfileError(
            f"nothing was changed: {path} is written anew when something is deleted, which takes "
            f"{needed / 1e6:.1f} MB of its disk, and {free / 1e6:.1f} are free; make room, or "
            f"delete the whole profile: `amulet-local profile delete {path.stem}` needs none"
        )


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    connection.commit()


def _connection(path: Path) -> sqlite3.Connection:
    where = _place(path)
    for_good = "" if os.access(where.parent, os.W_OK) or _has_log(where) else _FOR_GOOD
    connection = sqlite3.connect(
        f"{where.absolute().as_uri()}{for_good}",
        timeout=PATIENCE_SECONDS,
        isolation_level=None,
        uri=True,
    )
    try:
        for pragma in () if for_good else _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _has_log(place: Path) -> bool:
    """Whether something was written that isn't in the file itself."""
    with suppress(OSError):
        return place.with_name(f"{place.name}-wal").stat().st_size > 0
    return False


def _check(connection: sqlite3.Connection, path: Path, migrations: Sequence[str]) -> None:
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((n_tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if application != APPLICATION_ID and n_tables:
        raise ProfileError(f"{path} is a database, but no profile")
    if version > len(migrations):
        raise ProfileError(
            f"the profile {path.stem!r} is of version {version}, and this program knows "
            f"{len(migrations)}; use a newer one"
        )
    if _layout(connection) != _layout_of(migrations[:version]):
        raise ProfileError(
            f"{path} isn't laid out as this program does it; views, triggers and columns of "
            f"somebody else's would be run as it is read"
        )
    ((said,),) = connection.execute("PRAGMA quick_check(1)")
    if said != "ok":
        _damaged(path)


def _layout(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """All tables, indexes, views and triggers, as they were made."""
    return connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    ).fetchall()


def _layout_of(migrations: Sequence[str]) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for migration in migrations:
            connection.executescript(migration)
        return _layout(connection)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Make the newest version of the file; all steps, or none."""
    if _version(connection) == len(migrations):
        return
    with _transaction(connection):
        for number in range(_version(connection), len(migrations)):
            for statement in migrations[number].split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(migrations)}")


def _version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version")
    return int(version)


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:  # it, or its folder, has gone meanwhile
        raise ProfileError(f"{path} can't be read or written: {error.strerror}") from None
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter of a message of SQLite's
        said = str(error)
        if "full" in said or "disk I/O" in said:
            raise ProfileError(
                f"nothing was kept: {path} can't be written ({said}); make room on the disk"
            ) from None
        if "locked" in said or "busy" in said:
            raise ProfileError(
                f"nothing was kept: another process has been writing the profile {path.stem!r} for "
                f"{PATIENCE_SECONDS:g} s"
            ) from None
        if "readonly" in said:
            raise ProfileError(
                f"nothing was kept: {path} is where nothing can be written"
            ) from None
        if "unable to open" in said:
            raise ProfileError(f"{path} can't be read or written: {said}") from None
        _damaged(path)


def _damaged(path: Path) -> NoReturn:
    raise ProfileError(
        f"the profile's file {path} is damaged; `amulet-local profile import {path.stem} FILE "
        f"--force` takes an export in its place"
    ) from None
