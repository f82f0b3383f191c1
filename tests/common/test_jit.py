"""First calls at once compile once; a folder that isn't this user's alone keeps nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amulet_local.common import jit


def plus_one(number: int) -> int:
    return number + 1


def test_first_calls_at_once_compile_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    compile_with = jit.compile_with

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(arguments)
        return compile_with(*arguments, **options)

    monkeypatch.setattr(jit, "compile_with", counted)
    kernel = jit.lazy_njit(plus_one)
    meeting = threading.Barrier(8, timeout=30)
    results = []

    def call(number: int) -> None:
        meeting.wait()
        results.append(kernel(number))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(1, 9))
    assert len(made) == 1


def read_only(folder: Path) -> None:
    folder.chmod(0o500)


def others_may_write(folder: Path) -> None:
    folder.chmod(0o777)


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize("spoil", [read_only, others_may_write, a_file])
def test_a_folder_that_cant_be_made_or_written_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("AMULET_CACHE", str(tmp_path))
    folder = tmp_path / "numba"
    assert jit.kernel_cache_folder() == folder
    spoil(folder)
    if spoil is read_only:  # root may write wherever it likes
        monkeypatch.setattr("os.access", lambda path, mode: False)
    assert jit.kernel_cache_folder() is None
