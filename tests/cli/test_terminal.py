"""What a terminal gets to see."""

from __future__ import annotations

import io
import sys
import threading
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amulet_local.batch.job import JobTally
from amulet_local.cli import batch_summary, learn, terminal
from amulet_local.cli.terminal import RewritingStream, TerminalStream, one_line, visible

BIDI_CLASSES = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
texts = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x1b[]0;m\x07\r\n\t\x9b\x9d\x7f\u061c\u200e\u200f\u202e\u2066 a"),
    )
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 日本 👩‍👩‍👧 text\n\twith layout", "plain äöü 日本 👩‍👩‍👧 text\n\twith layout"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x1b]52;c;cGFzdGU=\x1b\\", "\\x1b]52;c;cGFzdGU=\\x1b\\"),
        ("\x9b2J\x9d0;t\x9c\x85", "\\x9b2J\\x9d0;t\\x9c\\x85"),
        ("a\b\bb\x7f\x00\x0e", "a\\x08\\x08b\\x7f\\x00\\x0e"),
        ("line\r\nline\rover", "line\nlineover"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("שלום\u200f, ‎left", "שלום, left"),
    ],
)
def test_characters_that_act_on_a_terminal_are_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(texts)
@example("\x1b]8;;http://evil\x1b\\link")
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    for character in visible(text):
        assert character in "\n\t" or unicodedata.category(character) != "Cc"
        assert unicodedata.bidirectional(character) not in BIDI_CLASSES
        assert character not in "\u061c\u200e\u200f"


@given(texts, texts)
def test_cutting_a_stream_anywhere_changes_nothing(first: str, second: str) -> None:
    assert visible(first) + visible(second) == visible(first + second)


@given(texts)
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def test_a_terminal_stream_filters_every_way_of_writing() -> None:
    inner = io.StringIO()
    stream = TerminalStream(inner)
    print("\x1b[1mprinted", file=stream)  # type: ignore[arg-type]
    stream.writelines(["\x9b1m", "lines"])
    stream.write_raw("\r")
    assert inner.getvalue() == "\\x1b[1mprinted\n\\x9b1mlines\r"
    assert not stream.closed


def test_painted_text_is_filtered_and_no_colour_runs_over_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inner = io.StringIO()
    monkeypatch.setattr(sys, "stdout", TerminalStream(inner))
    terminal.write_painted("a\x1b[2J\n\nb", "1")
    terminal.write_painted("c\x07", "")
    assert inner.getvalue() == "\x1b[1ma\\x1b[2J\x1b[0m\n\n\x1b[1mb\x1b[0mc\\x07"


@pytest.mark.parametrize(
    ("term", "no_color", "expected"),
    [("xterm", "", True), ("xterm", "1", False), ("dumb", "", False)],
)
def test_colours_are_for_terminals_whose_owners_want_them(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, expected: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert not terminal.has_colours()  # a pipe
    monkeypatch.setattr(sys, "stdout", TerminalStream(io.StringIO()))
    assert terminal.has_colours() == expected


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", " · "), ("ascii", " | ")])
def test_the_separator_is_one_that_the_encoding_has(encoding: str, shown: str) -> None:
    assert terminal.separator(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) == shown


def test_streams_that_the_caller_closed_are_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    terminal.prepare_streams()
    terminal.write("nowhere")
    terminal.note("nowhere")
    sys.stdout.close()
    sys.stderr.close()


def test_text_into_a_pipe_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="utf-8"))
    terminal.prepare_streams()
    terminal.write("\x1b[31mred\u202e\n")
    assert buffer.getvalue() == "\x1b[31mred\u202e\n".encode()


def test_an_encoding_that_lacks_a_character_gets_an_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    terminal.prepare_streams()
    terminal.write("It’s 日")
    assert buffer.getvalue() == rb"It\u2019s \u65e5"


class _Terminal(io.StringIO):
    """A terminal that says when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """In a test itself: between fixtures and tests pytest replaces the stream."""
    inner = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", TerminalStream(inner))  # type: ignore[arg-type]
    return inner


def test_work_that_takes_a_while_is_announced_though_it_says_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = on_a_terminal(monkeypatch)
    monkeypatch.setattr(terminal, "STATUS_DELAY_SECONDS", 0.01)
    line = terminal.StatusLine()
    line.show("compiling")
    assert stderr.written.wait(timeout=60)
    line.erase()
    assert "\x1b[2mcompiling\x1b[0m" in stderr.getvalue()
    assert stderr.getvalue().endswith("\r" + " " * len("compiling") + "\r")


def test_texts_that_are_read_are_announced_before_their_first_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = on_a_terminal(monkeypatch)
    monkeypatch.setattr(terminal, "STATUS_DELAY_SECONDS", 0.01)
    with learn._progress(enabled=True):
        assert stderr.written.wait(timeout=60)
    assert "\x1b[2mreading the texts\x1b[0m" in stderr.getvalue()


@pytest.mark.parametrize(("share", "says_time"), [(None, False), (0.25, True), (1.0, False)])
def test_the_time_that_is_left_is_said_while_lines_are_read(
    share: float | None, says_time: bool
) -> None:
    tally = JobTally(share=share, seconds=5.0, completion_tokens=100)
    assert ("15 s left" in batch_summary.progress(tally, None)) == says_time
    assert ("left" in batch_summary.progress(tally, None)) == says_time


def test_work_that_is_done_soon_is_not_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = on_a_terminal(monkeypatch)
    monkeypatch.setattr(terminal, "STATUS_DELAY_SECONDS", 60)
    line = terminal.StatusLine()
    line.show("compiling")
    line.erase()
    assert stderr.getvalue() == ""


def test_notes_break_between_words_on_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "/a/path/that/is/wider/than/the/terminal"
    said = f"error: can't read {path} as there is no such file"
    monkeypatch.setenv("COLUMNS", "24")
    stderr = on_a_terminal(monkeypatch)
    terminal.note(said)
    lines = stderr.getvalue().splitlines()
    assert path in lines
    assert max(len(line) for line in lines if line != path) < 24
    assert " ".join(lines) == said

    into_a_pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", into_a_pipe)
    terminal.note(said)
    assert into_a_pipe.getvalue() == f"{said}\n"


def test_ctrl_c_ends_the_line_of_a_terminal_and_nothing_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stderr = on_a_terminal(monkeypatch)
    terminal.end_echo()
    assert stderr.getvalue() == "\n"
    into_a_pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", into_a_pipe)
    terminal.end_echo()
    assert into_a_pipe.getvalue() == ""


def test_a_library_s_bar_is_drawn_over_itself_and_does_nothing_else() -> None:
    written = io.StringIO()
    RewritingStream(TerminalStream(written)).write("\r10%\x1b[2J\r20%\n")
    assert written.getvalue() == "\r10%\\x1b[2J\r20%\n"
