"""Measurements that are kept: whole or not at all, and never in the way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import measurement_cache
from amulet_local.common.folder_lock import locked


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_kept_is_read_back_beside_what_was_there(folder: Path) -> None:
    assert measurement_cache.read("a.json") == {}
    measurement_cache.keep("a.json", "x", 0.25)
    measurement_cache.keep("a.json", "y", {"z": [1]})
    measurement_cache.keep("b.json", "x", 3)
    measurement_cache.keep("a.json", "x", 0.5)
    assert measurement_cache.read("a.json") == {"x": 0.5, "y": {"z": [1]}}
    assert measurement_cache.read("b.json") == {"x": 3}
    assert sorted(os.listdir(folder)) == ["a.json", "b.json"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b"[" * 100_000, b"\xff\xfe\x00", b"{" + b" " * (5 << 20)]
)
def test_unsound_file_counts_as_empty_and_is_written_over(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "a.json").write_bytes(content)
    assert measurement_cache.read("a.json") == {}
    measurement_cache.keep("a.json", "x", 1)
    assert measurement_cache.read("a.json") == {"x": 1}


def test_folder_or_pipe_in_the_files_place_is_no_obstacle(folder: Path) -> None:
    (folder / "a.json").mkdir(parents=True)
    os.mkfifo(folder / "b.json")
    for name in ("a.json", "b.json"):
        assert measurement_cache.read(name) == {}
        measurement_cache.keep(name, "x", 1)
        assert measurement_cache.read(name) == {}


def test_full_disk_leaves_the_file_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measurement_cache.keep("a.json", "x", 1)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for call in ("replace", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            measurement_cache.keep("a.json", "y", 2)
        assert measurement_cache.read("a.json") == {"x": 1}
        assert os.listdir(folder) == ["a.json"]


def read_only(folder: Path) -> None:
    folder.chmod(0o500)


def others_may_write(folder: Path) -> None:
    folder.chmod(0o777)


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize("spoil", [read_only, others_may_write, a_file])
def test_a_folder_that_cant_be_made_or_written_keeps_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    folder.mkdir()
    spoil(folder)
    if spoil is read_only:  # root may write wherever it likes
        monkeypatch.setattr("os.access", lambda path, mode: False)
    measurement_cache.keep("a.json", "x", 1)
    assert measurement_cache.read("a.json") == {}
    assert folder.is_file() or os.listdir(folder) == []


def test_of_what_several_write_at_once_nothing_is_lost(folder: Path) -> None:
    def write(writer: int) -> None:
        for n in range(20):
            measurement_cache.keep("a.json", f"{writer}, {n}", n)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = measurement_cache.read("a.json")
    assert set(entries) == {f"{writer}, {n}" for writer in range(4) for n in range(20)}
    assert os.listdir(folder) == ["a.json"]


def test_a_writer_that_hangs_costs_what_was_to_be_kept_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement_cache, "LOCK_SECONDS", 0.05)
    measurement_cache.keep("a.json", "x", 1)
    with locked(folder, 0):
        measurement_cache.keep("a.json", "y", 2)
    assert measurement_cache.read("a.json") == {"x": 1}


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_what_another_user_could_have_written_counts_as_nothing(folder: Path) -> None:
    measurement_cache.keep("a.json", "x", 1)
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        assert measurement_cache.read("a.json") == {}
    folder.chmod(0o500)  # of a disk that can only be read
    assert measurement_cache.read("a.json") == {"x": 1}
    folder.chmod(0o700)
