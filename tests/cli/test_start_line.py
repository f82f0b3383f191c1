"""The line while a command starts: it comes by itself, and goes when something else is written."""

import io
import os
import pty
import select
from collections.abc import Iterator

import pytest

from amulet_local.cli import start_line
from amulet_local.cli.start_line import TEXT, StartLine
from amulet_local.cli.terminal import StatusLine, TerminalStream, write

ERASED = "\r" + " " * len(TEXT) + "\r"
PLENTY = 60.0


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    start_line.end()
    os.close(reading)
    os.close(writing)


def came(reading: int, seconds: float) -> str:
    ready = select.select([reading], [], [], seconds)[0]
    return os.read(reading, 4096).decode() if ready else ""


def test_it_comes_by_itself_and_goes_once(ends: tuple[int, int]) -> None:
    reading, writing = ends
    line = StartLine(writing, 0.01)
    assert TEXT in came(reading, PLENTY)
    line.end()
    line.end()
    assert came(reading, PLENTY) == ERASED


def test_what_is_over_before_is_not_announced(ends: tuple[int, int]) -> None:
    reading, writing = ends
    line = StartLine(writing, 0.2)
    line.end()
    assert came(reading, 0.4) == ""


@pytest.mark.parametrize(
    "say",
    [
        lambda: TerminalStream(io.StringIO()).write("An answer"),
        lambda: TerminalStream(io.StringIO()).write_raw("\x1b[1m"),
        lambda: write("An answer"),
        lambda: StatusLine().erase(),
        lambda: StatusLine(enabled=False),
    ],
    ids=["written", "raw", "into a pipe", "status", "llama.cpp's log"],
)
def test_what_is_written_takes_its_place(
    say: object, ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(say)
    reading, writing = ends
    monkeypatch.setattr(start_line, "_line", StartLine(writing, 0))
    assert TEXT in came(reading, PLENTY)
    say()
    assert came(reading, PLENTY) == ERASED


def test_it_is_for_terminals_that_can_erase(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "dumb")
        start_line.begin(at_once=True)
        assert came(master, 0.2) == ""
        monkeypatch.setenv("TERM", "xterm")
        start_line.begin(at_once=True)
        assert TEXT in came(master, PLENTY)
        start_line.end()
        assert came(master, PLENTY) == ERASED
    os.close(master)


def test_a_log_has_none(ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = ends
    with open(os.dup(writing), "w") as log:
        monkeypatch.setattr("sys.stderr", log)
        start_line.begin(at_once=True)
        assert came(reading, 0.2) == ""
