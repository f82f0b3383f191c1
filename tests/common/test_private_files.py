"""Files are written whole or not at all, for their owner alone, whatever fails meanwhile.

On any system, by what Python calls; tests/disk has the same, and power loss, by what the system is
called.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import private_files
from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import FileAccessError
from tests.disk.writers import WRITERS


@pytest.mark.parametrize("name", [".", "missing/file", "there/file", "x" * 300])
def test_what_cannot_be_written_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("a file, no folder")
    with pytest.raises(FileAccessError, match="can't be written"):
        private_files.check(name)
    assert [item.name for item in tmp_path.iterdir()] == ["there"]


def test_a_new_file_and_one_that_is_there_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("")
    private_files.check(tmp_path / "old")
    private_files.check(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_in_which_nothing_can_be_made_is_refused_whatever_its_rights_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(**_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(tempfile, "mkstemp", fail)
    with pytest.raises(FileAccessError, match=r"new can't be written: "):
        private_files.check(tmp_path / "new")


@pytest.fixture
def no_room() -> Iterator[None]:
    """Files can be made, and nothing be written into them, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("no_room")
def test_where_files_can_be_made_and_nothing_be_written_into_them_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "made").touch()
    with pytest.raises(FileAccessError, match=r"new can't be written: "):
        private_files.check(tmp_path / "new")
    with pytest.raises(FileAccessError, match="can't be made or written to"):
        private_files.make_folder(tmp_path)
    with pytest.raises(FileAccessError, match="nothing can be written in"):
        check_space(tmp_path / "large", 0)
    assert [item.name for item in tmp_path.iterdir()] == ["made"]


def test_a_folder_is_made_or_refused_before_there_is_anything_to_write(tmp_path: Path) -> None:
    private_files.make_folder(tmp_path / "new" / "below")
    private_files.make_folder(tmp_path / "new" / "below")
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "below"]
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(FileAccessError, match="can't be made or written to"):
            private_files.make_folder(folder)


PRIVATE = ("page or report", "settings", "conversation", "prompt cache", "records without errors")
"""Of all that is written, what is written by way of private_files."""
FAILING = {"mkstemp": tempfile, "fdopen": os, "fsync": os, "replace": os}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"AMULET_{kind}", str(tmp_path / kind))
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("writer", PRIVATE)
def test_whatever_fails_the_old_file_stays_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writer: str, failing: str
) -> None:
    write = WRITERS[writer].write
    write(folder, "old")
    before = contents(folder)
    for reason in (errno.ENOSPC, errno.EIO, errno.EROFS):

        def fails(*arguments: Any, reason: int = reason, **options: Any) -> Any:
            if failing == "fdopen":
                os.close(arguments[0])
            raise OSError(reason, os.strerror(reason))

        with monkeypatch.context() as patch:
            patch.setattr(FAILING[failing], failing, fails)
            with pytest.raises(FileAccessError, match=os.strerror(reason)):
                write(folder, "new")
        assert contents(folder) == before
    write(folder, "newer")
    assert contents(folder) != before


def test_a_file_is_its_owners_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o644)
    link.symlink_to(real)
    private_files.write(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
