"""Whether a file can be written is known before time is spent on what is to be in it."""

from __future__ import annotations

from pathlib import Path

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
