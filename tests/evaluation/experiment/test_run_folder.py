"""Logs that survive kills, and which folder a run has."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local import errors
from amulet_local.evaluation.experiment.run_folder import (
    Log,
    existing_run,
    read_log,
    read_settings,
    run_folder,
)


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
    with pytest.raises(errors.FileAccessError, match="line 2"):
        list(read_log(path))


def test_two_processes_dont_write_one_run(tmp_path: Path) -> None:
    with Log(tmp_path / "log.jsonl"), pytest.raises(errors.FileAccessError, match="another"):
        Log(tmp_path / "log.jsonl")


def test_a_log_where_none_can_be_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(errors.FileAccessError):
        Log(tmp_path)


def test_the_same_settings_have_the_same_folder_and_others_another(tmp_path: Path) -> None:
    one = run_folder(tmp_path, {"a": 1, "b": [2]})
    assert run_folder(tmp_path, {"b": [2], "a": 1}) == one
    assert run_folder(tmp_path, {"a": 2, "b": [2]}) != one
    assert read_settings(one) == {"a": 1, "b": [2]}


def test_a_run_is_found_by_its_own_folder_or_as_the_only_one(tmp_path: Path) -> None:
    with pytest.raises(errors.FileAccessError, match="no run"):
        existing_run(tmp_path)
    one = run_folder(tmp_path, {"a": 1})
    assert existing_run(one) == existing_run(tmp_path) == one
    run_folder(tmp_path, {"a": 2})
    with pytest.raises(errors.FileAccessError, match="2 runs"):
        existing_run(tmp_path)
