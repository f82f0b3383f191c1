"""Files are written whole or not at all, for their owner alone, whatever fails meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError


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


@pytest.mark.parametrize("failing", ["mkstemp", "fdopen", "fsync", "replace"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_whatever_fails_the_old_file_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, reason: int
) -> None:
    path = tmp_path / "file"
    private_files.write(path, b"old")

    def fails(*arguments: Any, **options: Any) -> Any:
        if failing == "fdopen":
            os.close(arguments[0])
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(tempfile if failing == "mkstemp" else os, failing, fails)
    with pytest.raises(FileAccessError, match=os.strerror(reason)):
        private_files.write(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class Disk:
    """A disk that loses its power: what a name shows then, by what was synced until then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.states: list[set[bytes]] = []
        self._synced: dict[int, bytes] = {}
        self._possible = {path.read_bytes()}
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def _noted(self, name: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            done = real(*arguments)
            status = os.fstat(arguments[0]) if name == "fsync" else os.stat(self.path)
            if name == "replace":  # the new name may be on the disk or not, its data if synced
                self._possible |= {self._synced.get(status.st_ino, b"lost")}
            elif stat.S_ISREG(status.st_mode):
                self._synced[status.st_ino] = self._whole(arguments[0])
            else:
                self._possible = {self._synced[os.stat(self.path).st_ino]}
            self.states.append(set(self._possible))
            return done

        return call

    @staticmethod
    def _whole(descriptor: int) -> bytes:
        return Path(f"/proc/self/fd/{descriptor}").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_after_power_loss_the_file_is_the_old_or_the_new_one_and_then_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    private_files.write(path, b"old")
    disk = Disk(monkeypatch, path)
    private_files.write(path, b"new")
    assert disk.states == [{b"old"}, {b"old", b"new"}, {b"new"}]


def test_a_file_is_its_owners_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o644)
    link.symlink_to(real)
    private_files.write(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
