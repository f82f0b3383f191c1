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


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"i": 1}\n{"i": 2')
    with Log(path) as log:
        log.append({"i": 3})
    assert [entry["i"] for entry in read_log(path)] == [1, 3]


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
