"""A file that is a link stays one, and no link leads into another user's files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import private_files
from amulet_local.common.errors import AmuletError
from amulet_local.profile.profile import Profile
from tests.disk.writers import NEW, OLD, WRITERS, use

FILES = {
    "settings": "config/settings.toml",
    "conversation": "talk.json",
    "page or report": "page.html",
    "records": "records.jsonl",
    "records without errors": "records.jsonl",
    "profile": "data/profiles/me.db",
}
"""Those that users name or may keep elsewhere; the others lie in folders of the program's own."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"AMULET_{kind}", "")  # undone at the end
    made = tmp_path / "files"
    made.mkdir(mode=0o700)
    use(made)
    return made


def linked(folder: Path, name: str) -> tuple[Path, Path]:
    """A file with the old value, in another folder, and the link that is in its place."""
    WRITERS[name].write(folder, OLD)
    link, real = folder / FILES[name], folder.parent / "elsewhere" / "real"
    real.parent.mkdir()
    link.rename(real)
    link.symlink_to(real)
    return link, real


@pytest.mark.parametrize("name", FILES)
def test_a_link_stays_and_what_it_stands_for_has_the_new_value(folder: Path, name: str) -> None:
    link, real = linked(folder, name)
    old = WRITERS[name].read(folder)
    WRITERS[name].write(folder, NEW)
    assert WRITERS[name].read(folder) != old
    assert link.is_symlink()
    assert not real.is_symlink()
    assert [path.name for path in real.parent.iterdir()] == ["real"]
    if "records" not in name:
        assert stat.S_IMODE(real.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", FILES)
def test_a_link_to_another_users_file_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    link, real = linked(folder, name)
    before, user = real.read_bytes(), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(AmuletError, match="another user's"):
        WRITERS[name].write(folder, NEW)
    assert real.read_bytes() == before
    assert link.is_symlink()


def test_another_users_link_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    lstat = os.lstat

    def of_another(path: Any, **options: Any) -> os.stat_result:
        values = [*lstat(path, **options)]
        values[stat.ST_UID] = os.geteuid() + 1
        return os.stat_result(values)

    monkeypatch.setattr(os, "lstat", of_another)
    with pytest.raises(AmuletError, match="another user's link"):
        private_files.write(link, b"new")
    assert real.read_bytes() == b"old"


def test_a_profile_that_is_removed_is_gone_where_its_link_leads(folder: Path) -> None:
    link, real = linked(folder, "profile")
    Profile("me").delete()
    assert not os.path.lexists(link)
    assert not real.exists()
