"""A profile's file: kept whatever happens, shared by processes, and emptied for good."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common.errors import InvalidParameterError, ProfileError
from amulet_local.preferences.preference import Preference
from amulet_local.profile import database
from amulet_local.profile.contents import MAX_PREFERENCES, Contents, bank_of
from amulet_local.profile.database import MIGRATIONS
from amulet_local.profile.exchange import as_json, from_json
from amulet_local.profile.feedback import Example, Fact, Feedback
from amulet_local.profile.in_words import described
from amulet_local.profile.profile import Profile, listed
from tests.conftest import REPOSITORY
from tests.limited import on_linux, run_limited

pytestmark = pytest.mark.lengthy

PICK = Feedback(
    at=1_800_000_000.0,
    kind="pick",
    origin="chat",
    model="m.gguf",
    question="Why?",
    better="Because of the zebra.",
    worse="No.",
    differences={"concisely": 0.25},
)
FACT = Fact(at=1_800_000_001.0, origin="chat", text="The user eats no quagga.")
EXAMPLE = Example(at=1_800_000_002.0, origin="chat", question="How?", text="Like an okapi.")

WRITER = """
import sys
from amulet_local.profile.feedback import Fact
from amulet_local.profile.profile import Profile
for number in range(int(sys.argv[2])):
    Profile("me").add(Fact(at=0.0, origin=sys.argv[1], text=f"{sys.argv[1]} {number}"))
    print(number, flush=True)
"""

REWRITER = """
from itertools import count
from amulet_local.profile.contents import Contents, bank_of
from amulet_local.profile.feedback import Fact
from amulet_local.profile.profile import Profile
for number in count():
    facts = tuple(Fact(at=0.0, origin="t", text=f"{number} of {i}") for i in range(40))
    Profile("me").replace(Contents(bank=bank_of(None), facts=facts))
    print(number, flush=True)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "data"))


@pytest.fixture
def profile() -> Profile:
    made = Profile("me")
    made.create()
    return made


def writer(name: str, n: int) -> subprocess.Popen[str]:
    return running(WRITER, name, str(n))


def running(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_added_is_there(profile: Profile) -> None:
    assert [profile.add(item) for item in (PICK, FACT, EXAMPLE)] == [1, 1, 1]
    contents = profile.contents()
    assert contents.feedback == (replace(PICK, id=1),)
    assert contents.facts == (replace(FACT, id=1),)
    assert contents.examples == (replace(EXAMPLE, id=1),)
    assert [item.name for item in contents.bank][:2] == ["creative", "sycophantic"]
    assert listed() == ["me"]


def test_a_profile_is_its_owners_alone(profile: Profile) -> None:
    with database.writing(profile.path) as connection:
        connection.execute("DELETE FROM facts")
        there = list(profile.path.parent.iterdir())
        assert {path.name for path in there} == {"me.db", "me.db-wal", "me.db-shm"}
        assert {stat.S_IMODE(path.stat().st_mode) for path in there} == {0o600}
    assert stat.S_IMODE(profile.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["", "a/b", "../me", ".me", "me.", "x" * 65, "a.b.c.d", "ü"])
def test_no_other_file_can_be_named(name: str) -> None:
    with pytest.raises(InvalidParameterError, match="can't be called"):
        Profile(name)


def test_a_profile_is_made_once_and_not_by_the_way(profile: Profile) -> None:
    with pytest.raises(ProfileError, match="already"):
        profile.create()
    with pytest.raises(ProfileError, match="profile create you"):
        Profile("you").add(FACT)
    assert listed() == ["me"]


READS_AND_WRITES = """
import sys
from amulet_local.common.errors import ProfileError
from amulet_local.profile.feedback import Fact
from amulet_local.profile.profile import Profile
print([fact.text for fact in Profile("me").contents().facts])
try:
    Profile("me").add(Fact(at=1.8e9, origin="test", text="more"))
except ProfileError as error:
    print(error)
"""


@on_linux
def test_a_profile_is_read_where_nothing_can_be_written(profile: Profile) -> None:
    profile.add(FACT)
    folder = profile.path.parent
    folder.chmod(0o500)
    profile.path.chmod(0o400)
    try:
        read, refused = run_limited(READS_AND_WRITES).splitlines()
    finally:
        folder.chmod(0o700)
    assert read == f"[{FACT.text!r}]"
    assert refused.startswith("nothing was kept: ")
    assert refused.endswith("me.db is where nothing can be written")
    assert [fact.text for fact in profile.contents().facts] == [FACT.text]


def test_a_folder_that_cant_be_made_is_said_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AMULET_DATA", str(tmp_path / "file"))
    with pytest.raises(ProfileError, match=r"a file where .* AMULET_DATA names another folder"):
        Profile("me").create()


def test_what_was_acknowledged_survives_kill_9(profile: Profile) -> None:
    process = writer("killed", 100_000)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(20)]
    process.kill()
    said += process.communicate()[0].splitlines(keepends=True)
    acknowledged = max(int(line) for line in said if line.endswith("\n"))
    texts = {item.text for item in profile.contents().facts}
    assert {f"killed {number}" for number in range(acknowledged + 1)} <= texts
    profile.add(FACT)


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 7])
def test_a_rewrite_that_kill_9_ends_is_whole_or_not_begun(
    profile: Profile, milliseconds: int
) -> None:
    """Forgetting, importing and editing write all of it anew and make the file smaller."""
    process = running(REWRITER)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(3)]
    time.sleep(milliseconds / 1000)
    process.kill()
    said += process.communicate()[0].splitlines(keepends=True)
    acknowledged = max(int(line) for line in said if line.endswith("\n"))
    facts = [item.text.split(" of ") for item in profile.contents().facts]
    assert sorted(int(i) for _, i in facts) == list(range(40))
    (number,) = {int(number) for number, _ in facts}
    assert number >= acknowledged
    profile.add(FACT)


def test_two_processes_write_one_profile(profile: Profile) -> None:
    processes = [writer(name, 30) for name in ("one", "two")]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    texts = {item.text for item in profile.contents().facts}
    assert texts == {f"{name} {number}" for name in ("one", "two") for number in range(30)}


@pytest.fixture
def no_more_room() -> Iterator[None]:
    """Files can't grow beyond what a fresh profile has, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    profile: Profile, no_more_room: None
) -> None:
    kept: list[int] = []

    def fill() -> None:
        for number in range(1000):
            kept.append(profile.add(replace(FACT, text=f"{number} {'x' * 2000}")))

    with pytest.raises(ProfileError, match=r"nothing was kept.*make room"):
        fill()
    assert kept
    assert [item.id for item in profile.contents().facts] == kept


def test_on_a_full_disk_nothing_is_forgotten_by_half(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.add(PICK)
    full = shutil.disk_usage(profile.path)._replace(free=100_000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        for delete in (
            lambda: profile.forget(["p1"]),
            lambda: profile.forget_text("zebra"),
            profile.reset,
        ):
            with pytest.raises(
                ProfileError, match=r"nothing was changed.*0\.1 are free.*delete me"
            ):
                delete()
        assert len(profile.contents().feedback) == 1
    profile.forget(["p1"])
    assert remains(profile, "zebra") == []


def test_what_was_deleted_before_the_disk_was_full_isnt_said_to_be_there(
    profile: Profile, no_more_room: None
) -> None:
    profile.add(PICK)

    def fill() -> None:
        for number in range(1000):
            profile.add(replace(FACT, text=f"{number} {'x' * 2000}"))

    with pytest.raises(ProfileError, match="make room"):
        fill()
    with pytest.raises(ProfileError, match=r"it is deleted, but .*can't be written anew"):
        profile.forget(["p1"])
    assert profile.contents().feedback == ()
    assert remains(profile, "zebra") == []  # it was overwritten where it was


def test_what_became_a_pipe_meanwhile_stays_one(profile: Profile, tmp_path: Path) -> None:
    """As a link of root's that leads to a device."""
    pipe, made = tmp_path / "pipe", database.beside(profile.path)
    made.write_bytes(profile.path.read_bytes())
    profile.path.unlink()
    os.mkfifo(pipe)
    profile.path.symlink_to(pipe)
    with pytest.raises(ProfileError, match="isn't a file"):
        database.put_in_place(made, profile.path)
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    "spoil",
    [
        Path.mkdir,
        os.mkfifo,
        lambda path: path.symlink_to("a" * 300),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: shutil.rmtree(path.parent),
        lambda path: None,
    ],
)
def test_what_isnt_a_file_any_more_is_one_clear_error(
    profile: Profile, spoil: Callable[[Path], object]
) -> None:
    profile.path.unlink()
    spoil(profile.path)
    assert not profile.exists
    for use in (profile.contents, lambda: profile.add(FACT), profile.reset, profile.delete):
        with pytest.raises(ProfileError, match=r"there is no profile 'me'|isn't used"):
            use()
    assert listed() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"no database at all" * 100,
        lambda data: data[:100] + bytes(len(data) - 100),
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + b"\xff" * 4096 + data[8192:],
    ],
)
def test_a_damaged_file_is_one_clear_error(profile: Profile, damage: object) -> None:
    many = tuple(replace(PICK, better=f"{number} " * 200) for number in range(50))
    profile.replace(Contents(bank=bank_of(None), feedback=many))
    profile.path.write_bytes(damage(profile.path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ProfileError, match=r"me\.db is damaged; .*import me FILE --force"):
        profile.contents()


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.mark.parametrize(
    "statements",
    [
        f"DROP TABLE facts; CREATE VIEW facts AS {ENDLESS} i AS id, 1.0 AS at, '' AS origin, "
        f"'' AS text FROM n",
        f"CREATE TRIGGER t BEFORE INSERT ON feedback BEGIN INSERT INTO facts "
        f"SELECT i, 1, '', i FROM ({ENDLESS} i FROM n); END",
        "ALTER TABLE facts ADD COLUMN big TEXT AS (printf('%*c', 900000000, 'x')) "
        "CHECK (length(big))",
        "CREATE INDEX i ON facts (length(printf('%*c', 900000000, text)))",
    ],
)
def test_nothing_that_a_strangers_file_has_of_its_own_is_run(
    profile: Profile, statements: str
) -> None:
    profile.add(FACT)
    with sqlite3.connect(profile.path) as connection:
        connection.executescript(statements)
    connection.close()
    for use in (profile.contents, lambda: profile.add(PICK)):
        with pytest.raises(ProfileError, match="isn't laid out"):
            use()


def test_a_number_that_is_none_is_an_error_too(profile: Profile) -> None:
    profile.add(PICK)
    with database.writing(profile.path) as connection:
        connection.execute("UPDATE feedback SET differences = '[1'")
    with pytest.raises(ProfileError, match="didn't write"):
        profile.contents()


def test_another_database_is_left_alone(profile: Profile) -> None:
    other = profile.path.with_name("other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(ProfileError, match="no profile"):
        Profile("other").contents()
    assert other.read_bytes()[100:] == before[100:]  # but for the journal's mode


def test_a_newer_file_is_refused_and_an_older_one_brought_up_to_date(profile: Profile) -> None:
    profile.add(FACT)
    newer = (*MIGRATIONS, "ALTER TABLE facts ADD COLUMN until REAL; CREATE TABLE more (a)")
    with database.opened(profile.path, newer) as connection:
        assert connection.execute("SELECT text, until FROM facts").fetchall() == [(FACT.text, None)]
    with pytest.raises(ProfileError, match=f"of version {len(newer)}.*newer one"):
        profile.contents()


def test_a_migration_that_fails_changes_nothing(profile: Profile) -> None:
    wrong = (*MIGRATIONS, "CREATE TABLE more (a); CREATE TABLE facts (a)")
    with pytest.raises(ProfileError), database.opened(profile.path, wrong):
        pass
    with database.opened(profile.path) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "more" not in names


def remains(profile: Profile, text: str) -> list[str]:
    """Files in the profiles' folder that have these bytes in them."""
    folder = profile.path.parent
    return [path.name for path in folder.iterdir() if text.encode() in path.read_bytes()]


def test_what_is_forgotten_is_in_no_byte_of_the_file(profile: Profile) -> None:
    for item in (PICK, FACT, EXAMPLE):
        profile.add(item)
    assert remains(profile, "zebra")
    assert profile.forget(["p1"]) == 1
    assert remains(profile, "zebra") == []
    assert profile.forget_text("OKAPI") == 1
    assert remains(profile, "okapi") == []
    assert remains(profile, "quagga")
    profile.reset()
    assert remains(profile, "quagga") == []
    assert profile.contents() == Contents(bank=bank_of(None))
    assert profile.add(FACT) == 2, "a number is never given again"


def test_that_something_was_forgotten_is_noted_and_not_what(profile: Profile) -> None:
    for item in (PICK, PICK, FACT, EXAMPLE):
        profile.add(item)
    profile.forget(["p1", "p2", "f1"])
    profile.forget_text("okapi")
    first, second = profile.contents().forgotten
    assert (first.feedback, first.examples, first.facts) == (2, 0, 1)
    assert (second.feedback, second.examples, second.facts) == (0, 1, 0)
    assert "Forgotten: 4." in "\n".join(described(profile.contents()))
    assert from_json(as_json(profile.contents())) == profile.contents()
    profile.reset()
    assert profile.contents().forgotten == ()


def test_a_preference_joins_without_weight_and_once(profile: Profile) -> None:
    profile.add(replace(PICK, differences={bank_of(None)[0].text: 0.3}))
    before = profile.taste().weights.mean
    profile.add_preference(Preference(text="like a pirate"))
    *others, joined = profile.contents().bank
    assert (tuple(others), joined) == (bank_of(None), Preference(text="like a pirate"))
    weights = profile.taste().weights.mean
    assert list(weights[:-1]) == pytest.approx(list(before))
    assert weights[-1] == 0
    with pytest.raises(InvalidParameterError, match="twice"):
        profile.add_preference(Preference(text="like a pirate"))
    for number in range(MAX_PREFERENCES - 9):
        profile.add_preference(Preference(text=f"number {number}"))
    with pytest.raises(InvalidParameterError, match="1 to 16"):
        profile.add_preference(Preference(text="one more"))


def test_forgetting_what_isnt_there_forgets_nothing(profile: Profile) -> None:
    profile.add(PICK)
    for wrong in ("p2", "e1", "x1", "1"):
        with pytest.raises(InvalidParameterError):
            profile.forget(["p1", wrong])
    with pytest.raises(InvalidParameterError):
        profile.forget_text("  ")
    assert profile.forget_text("unheard of") == 0
    assert len(profile.contents().feedback) == 1


def test_a_log_that_another_process_reads_is_said(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.add(PICK)
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.05)
    with database.opened(profile.path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM feedback").fetchall()
        with pytest.raises(ProfileError, match="another process"):
            profile.forget(["p1"])
    assert profile.contents().feedback == ()


def test_an_export_is_read_back_as_it_was(profile: Profile) -> None:
    for item in (PICK, replace(PICK, differences={}, strengths=(1.6, 1.0)), FACT, EXAMPLE):
        profile.add(item)
    text = as_json(profile.contents())
    other = Profile("other")
    other.create(from_json(text))
    assert other.contents() == profile.contents()
    assert '"question": "Why?"' in text
    assert '"concise": {' in text


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (('"kind": "pick"', '"kind": "hit"'), r"feedback\[0\]\.kind"),
        (('"at": "2027', '"at": "last year '), r"feedback\[0\]\.at"),
        (('"origin": "chat"', '"orgin": "chat"'), r"feedback\[0\]\.orgin"),
        (('"version": 1', '"version": 7'), "version 7"),
        (('"format"', '"form"'), "no exported profile"),
        (('"preferences": [', '"preferences": [{"text": " "}, '), "preferences: .*text"),
        (("{", "["), "no JSON"),
    ],
)
def test_a_wrong_export_says_where(profile: Profile, change: tuple[str, str], place: str) -> None:
    profile.add(PICK)
    text = as_json(profile.contents())
    assert change[0] in text
    with pytest.raises(ProfileError, match=place):
        from_json(text.replace(*change, 1))


def test_what_cant_be_kept_is_refused(profile: Profile) -> None:
    for wrong in (
        replace(PICK, kind="hit"),
        replace(PICK, differences={"a": float("nan")}),
        replace(PICK, strengths=(1.0,)),
        replace(PICK, question="\ud800"),
        replace(FACT, text="x" * 200_000),
        replace(FACT, at=float("inf")),
    ):
        with pytest.raises(InvalidParameterError):
            profile.add(wrong)
    assert profile.contents() == Contents(bank=bank_of(None))


def test_contents_that_cant_be_kept_leave_what_was_there(profile: Profile) -> None:
    profile.add(FACT)
    bad = Contents(bank=bank_of(None), facts=(replace(FACT, text="x" * 100_001),))
    with pytest.raises(InvalidParameterError, match="at most 100,000"):
        profile.restore(bad)
    assert [fact.text for fact in profile.contents().facts] == [FACT.text]
    with pytest.raises(InvalidParameterError, match="at most 100,000"):
        Profile("other").create(bad)
    assert listed() == ["me"]


def test_an_export_takes_the_place_of_a_damaged_file_or_all_is_as_it_was(profile: Profile) -> None:
    profile.add(FACT)
    export = profile.contents()
    real = profile.path.with_name("elsewhere")
    os.replace(profile.path, real)
    profile.path.symlink_to(real)
    real.write_bytes(real.read_bytes()[:5000])
    damaged = real.read_bytes()
    with pytest.raises(ProfileError):
        profile.contents()
    bad = replace(export, facts=(replace(FACT, text="\ud800"),))
    with pytest.raises(InvalidParameterError, match="UTF-8"):
        profile.restore(bad)
    assert real.read_bytes() == damaged
    profile.restore(export)
    assert [fact.text for fact in profile.contents().facts] == [FACT.text]
    assert profile.path.is_symlink()
    assert {path.name for path in profile.path.parent.iterdir()} == {"me.db", "elsewhere"}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("facts", "at", 1e300),
        ("facts", "at", b"now"),
        ("facts", "text", b"\xff"),
        ("feedback", "differences", '{"concisely": Infinity}'),
        ("feedback", "kind", "praise"),
        ("preferences", "name", b"x"),
        ("forgotten", "facts", "many"),
        ("forgotten", "facts", -1),
    ],
)
def test_a_cell_that_this_program_didnt_write_is_one_clear_error(
    profile: Profile, table: str, column: str, value: object
) -> None:
    profile.add(PICK)
    profile.add(FACT)
    profile.add(EXAMPLE)
    profile.forget(["e1"])
    with database.writing(profile.path) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    with pytest.raises(ProfileError, match=r"didn't write; `amulet-local profile import me FILE"):
        profile.contents()


@pytest.mark.parametrize(
    "changes",
    [{"differences": {"x": 1e300}}, {"strengths": (1e300, 1.0)}, {"at": 1e300}, {"at": -1e12}],
)
def test_numbers_that_nothing_could_follow_from_are_refused(
    profile: Profile, changes: dict[str, Any]
) -> None:
    with pytest.raises(InvalidParameterError, match=r"at most 1,000,000|years 1 to 9999"):
        profile.add(replace(PICK, **changes))
    assert profile.contents().feedback == ()


def test_a_time_without_a_date_in_utc_is_refused_with_its_place(profile: Profile) -> None:
    profile.add(FACT)
    export = as_json(profile.contents())
    at = export.partition('"at": "')[2].partition('"')[0]
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        with pytest.raises(ProfileError, match=r"facts\[0\]\.at: must be of the years 1 to 9999"):
            from_json(export.replace(at, moment))


def test_what_is_no_file_is_no_profile(profile: Profile) -> None:
    profile.path.unlink()
    os.mkfifo(profile.path)
    with pytest.raises(
        ProfileError, match="there is no profile 'me'; `amulet-local profile create"
    ):
        profile.contents()
