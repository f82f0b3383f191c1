"""Logs of JSON lines: what is in the file, and what is on the disk, at which moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amulet_local.common.errors import FileAccessError
from amulet_local.common.json_log import Log, read_log
from tests.conftest import REPOSITORY

KILLED = """
import os, signal, sys
from pathlib import Path
from amulet_local.common.json_log import Log
log = Log(Path(sys.argv[1]), sync_seconds=1e9)
for i in range(100):
    log.append({"i": i})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=REPOSITORY)
    assert killed.returncode == -signal.SIGKILL
    assert [entry["i"] for entry in read_log(path)] == list(range(100))


def test_lines_go_to_the_disk_at_once_or_when_it_is_time_and_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    synced: list[int] = []
    for seconds, expected in ((0.0, [1, 2, 3]), (1e9, [3])):
        path.unlink(missing_ok=True)
        synced.clear()
        with Log(
            path, sync_seconds=seconds, sync=lambda fd: synced.append(os.fstat(fd).st_size // 10)
        ) as log:
            for _ in range(3):
                log.append({"i": 12})
        assert path.stat().st_size == 30
        assert synced == expected


def test_lines_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    entries = [{"text": "a\nb\u2028\ud800", "n": n} for n in range(5)]
    with Log(path) as log:
        log.append(entries[0])
        log.append(*entries[1:])
    assert list(read_log(path)) == entries


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_torn_last_line_is_healed_wherever_it_is_torn(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    with Log(path) as log:
        log.append({"n": 1})
        log.append({"other": 2})
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert list(read_log(path)) == [{"n": 1}]
    with Log(path) as log:
        log.append({"other": 2})
    assert path.read_bytes() == whole


def test_a_log_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": ' + b"1" * 200_000)
    with Log(path) as log:
        assert list(read_log(path)) == []
        log.append({"n": 1})
    assert list(read_log(path)) == [{"n": 1}]


@pytest.mark.parametrize("line", [b"nothing\n", b"[1]\n", b"\xff\n"])
def test_a_damaged_line_is_said_and_not_skipped(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'{"n": 2}\n')
    with pytest.raises(FileAccessError, match="line 2"):
        list(read_log(path))


def test_a_log_where_none_can_be_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError):
        Log(tmp_path)


def test_one_process_writes_at_a_time_also_after_the_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def rewrite(there: Path) -> None:
        (tmp_path / "new").write_bytes(b'{"i": 5}\n')
        os.replace(tmp_path / "new", there)

    with Log(path) as log:
        log.replace(rewrite)
        with pytest.raises(FileAccessError, match="another process"):
            Log(path)
        log.append({"i": 6})
    assert [entry["i"] for entry in read_log(path)] == [5, 6]
