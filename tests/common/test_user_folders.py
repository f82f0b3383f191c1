"""Folders for this user alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from amulet_local.common.user_folders import is_private, private_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes")


def test_nobody_else_may_write_into_what_is_made_whatever_the_umask(tmp_path: Path) -> None:
    """One folder that its group may write to, and nothing is kept in it from then on."""
    wanted = tmp_path / "cache" / "program" / "openings"
    before = os.umask(0)
    try:
        assert private_folder(wanted) == wanted
    finally:
        os.umask(before)
    for folder in (wanted, wanted.parent, wanted.parent.parent):
        assert is_private(folder)
        assert private_folder(folder) == folder


def test_what_others_may_write_to_is_trusted_by_nobody(tmp_path: Path) -> None:
    for mode, trusted in ((0o700, True), (0o755, True), (0o775, False), (0o702, False)):
        tmp_path.chmod(mode)
        assert is_private(tmp_path) is trusted
        assert (private_folder(tmp_path) is not None) is trusted
    tmp_path.chmod(0o700)
    assert not is_private(tmp_path / "gone")


def test_a_file_or_a_link_to_nothing_in_the_place_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for name in ("file", "link"):
        assert private_folder(tmp_path / name) is None
        assert private_folder(tmp_path / name / "below") is None
