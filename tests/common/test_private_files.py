"""Files are written whole or not at all, for their owner alone, whatever fails meanwhile."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amulet_local.batch.written_records import drop_failed
from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.conversation import conversation_file
from amulet_local.conversation.conversation_file import SavedConversation
from amulet_local.conversation.conversation_settings import ConversationSettings
from amulet_local.loading import prompt_cache
from amulet_local.loading.prompt_cache import SavedRow
from amulet_local.preferences.settings_editor import set_preference
from amulet_local.prompts.dialogue import Turn


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


def write_conversation(folder: Path, text: str) -> None:
    turn = Turn(question=text, answer="", token_ids=(), finish_reason="stop")
    settings = ConversationSettings()
    saved = SavedConversation(model="a.gguf", settings=settings, turns=(turn,))
    conversation_file.write(folder / "talk.json", saved)


def write_records(folder: Path, text: str) -> None:
    """First two records, then those without an error."""
    path = folder / "records.jsonl"
    if path.exists():
        drop_failed(path)
    else:
        path.write_text('{"line": 1, "error": "full"}\n{"line": 2}\n')


WRITERS: dict[str, Callable[[Path, str], object]] = {
    "any file": lambda folder, text: private_files.write(folder / "file", text.encode()),
    "settings": lambda folder, text: set_preference("a", text, force=True),
    "a conversation": write_conversation,
    "a prompt cache": lambda folder, text: prompt_cache.save(
        "a", "fingerprint", [SavedRow(tokens=(1, 2), state=text.encode())]
    ),
    "a batch's records": write_records,
}
FAILING = {"mkstemp": tempfile, "fdopen": os, "fsync": os, "replace": os}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AMULET_CONFIG", "AMULET_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("writer", WRITERS)
def test_whatever_fails_the_old_file_stays_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writer: str, failing: str
) -> None:
    write = WRITERS[writer]
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
@pytest.mark.parametrize("writer", WRITERS)
def test_after_power_loss_the_file_is_the_old_or_the_new_one_and_then_the_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    WRITERS[writer](folder, "old")
    (path,) = contents(folder)
    old = path.read_bytes()
    disk = Disk(monkeypatch, path)
    WRITERS[writer](folder, "new")
    new = path.read_bytes()
    assert disk.states == [{old}, {old, new}, {new}]


def test_a_file_is_its_owners_alone_and_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o644)
    link.symlink_to(real)
    private_files.write(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
