"""What is read: files, patterns, gzip, pipes; and how much of it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import threading
from pathlib import Path

import pytest

from amulet_local.batch import input_lines
from amulet_local.batch.input_lines import InputLine, InputLines, files_of, is_among
from amulet_local.common.errors import FileAccessError


def lines_of(*names: Path | str) -> list[InputLine]:
    with InputLines(files_of([str(name) for name in names])) as lines:
        return [line for line in lines.ready() if line is not None]


def test_files_are_read_in_order_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(b"1\n\n2")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"3\n") + gzip.compress(b"4\n"))
    (tmp_path / "[x].jsonl").write_bytes(b"5\n")
    found = lines_of(tmp_path / "b.jsonl", tmp_path / "a*", tmp_path / "[x].jsonl")
    assert [(line.number, line.data) for line in found] == [
        (1, b"1\n"),
        (3, b"2"),
        (1, b"3\n"),
        (2, b"4\n"),
        (1, b"5\n"),
    ]
    assert [line.place[0] for line in found] == [0, 0, 1, 1, 2]
    shares = [line.share or 0 for line in found]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_patterns_are_sorted_and_one_without_a_file_is_an_error(tmp_path: Path) -> None:
    for name in ("2", "10", "1"):
        (tmp_path / name).write_bytes(b"x")
    assert [Path(name).name for name in files_of([str(tmp_path / "*")])] == ["1", "10", "2"]
    with pytest.raises(FileAccessError, match="no file"):
        files_of([str(tmp_path / "*.jsonl")])


def test_a_line_that_is_too_long_is_known_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_lines, "MAX_LINE_BYTES", 10)
    path = tmp_path / "in"
    path.write_bytes(b"short\n" + b"x" * 35 + b"\nshort again"[:9] + b"\n")
    assert [line.data for line in lines_of(path)] == [b"short\n", None, b"short ag\n"]


def test_gzip_that_is_torn_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "in.gz"
    path.write_bytes(gzip.compress(os.urandom(4096).hex().encode() + b"\n")[:-20])
    with pytest.raises(FileAccessError, match="after line 0"):
        lines_of(path)


@pytest.mark.parametrize("line", [b"\0" * 99, b'{"prompt": "a"}\n'], ids=["zeros", "lines"])
def test_a_small_file_that_unpacks_to_a_huge_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    monkeypatch.setattr(input_lines, "MAX_LINE_BYTES", 2**14)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(line * (2**20 // len(line))))
    with pytest.raises(FileAccessError, match="more than 500 times"):
        lines_of(path)
    path.write_bytes(gzip.compress(os.urandom(2**16).hex().encode() + b"\n" + line * 2**10))
    assert lines_of(path)


def test_what_a_pipe_has_is_there_before_it_ends(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = os.open(pipe, os.O_RDWR)
    try:
        os.write(writing, b"1\n")
        with InputLines([str(pipe)]) as lines:
            ready = lines.ready()
            while (line := next(ready)) is None:
                pass
            assert line.data == b"1\n"
            assert line.share is None
            assert next(ready) is None
    finally:
        os.close(writing)


def test_a_named_pipe_is_opened_once_so_that_who_writes_to_it_lives(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    failed: list[OSError] = []

    def write() -> None:
        try:
            pipe.write_bytes((b"1" * 99 + b"\n") * 2000)  # more than a pipe holds
        except OSError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert len(lines_of(pipe)) == 2000
    writer.join()
    assert failed == []


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such devices here")
def test_a_device_is_refused_and_nothing_is_read_from_it() -> None:
    for device in ("/dev/zero", "/dev/urandom"):
        with pytest.raises(FileAccessError, match="is a device"):
            lines_of(device)
    assert lines_of(os.devnull) == []


def test_a_line_without_an_end_is_an_error_and_what_came_before_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_lines, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(input_lines, "ENDLESS_LINE_BYTES", 100)
    path = tmp_path / "in"
    path.write_bytes(b"1\n" + b"x" * 90 + b"\n2\n" + b"x" * 200)
    read: list[bytes | None] = []
    with (
        InputLines([str(path)]) as lines,
        pytest.raises(FileAccessError, match="after line 3: the next one has no end"),
    ):
        read.extend(line.data for line in lines.ready() if line is not None)
    assert read == [b"1\n", None, b"2\n"]


@pytest.mark.parametrize(
    "line",
    [b"\xb5\x80\xff{\n", '{"prompt": 1}\n'.encode("utf-16-be")],
    ids=["noise", "other encoding"],
)
def test_what_is_no_text_is_an_error_soon_and_what_came_before_is_read(
    tmp_path: Path, line: bytes
) -> None:
    n_bad = input_lines.MOST_NO_TEXT
    path = tmp_path / "in"
    path.write_bytes((line * n_bad + b"1\n") * 3 + line * 10_000)
    read: list[bytes | None] = []
    with (
        InputLines([str(path)]) as lines,
        pytest.raises(FileAccessError, match="this is no text"),
    ):
        read.extend(line.data for line in lines.ready() if line is not None)
    assert read.count(b"1\n") == 3
    assert len(read) <= 4 * n_bad + 3


def test_endless_noise_in_a_pipe_is_an_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    noise = random.Random(18)

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe, contextlib.suppress(BrokenPipeError):
            while True:
                pipe.write(noise.randbytes(65536))

    fifo = f"/dev/fd/{reading}"
    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(FileAccessError, match="this is no text"):
        lines_of(fifo)
    os.close(reading)
    writer.join()


def test_a_file_is_known_by_any_of_its_names(tmp_path: Path) -> None:
    path, link, hard = tmp_path / "in", tmp_path / "link", tmp_path / "hard"
    path.write_bytes(b"1\n")
    link.symlink_to(path)
    os.link(path, hard)
    for name in (path, link, hard, tmp_path / ".." / tmp_path.name / "in"):
        assert is_among(name, ["-", str(tmp_path / "gone"), str(path)])
    assert not is_among(tmp_path / "gone", [str(path), str(tmp_path / "gone")])
    assert not is_among(tmp_path, [str(path)])


def test_rows_of_a_table_are_lines_with_the_fields_of_its_columns(tmp_path: Path) -> None:
    rows = 'ID;Question;Temperature;Author\r\na;"Why; and\r\nhow?";0.5;Ann\r\n;;;\r\nb;Who?;;Bo\r\n'
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    (tmp_path / "b.CSV.gz").write_bytes(gzip.compress(b"prompt\nWhat is m\xc3\xa4rchen?\n"))
    found = lines_of(tmp_path / "a.csv", tmp_path / "b.CSV.gz")
    assert [(line.place, line.number, json.loads(line.data or b"")) for line in found] == [
        ((0, 2), 2, {"id": "a", "question": "Why; and\r\nhow?", "temperature": "0.5"}),
        ((0, 5), 5, {"id": "b", "question": "Who?"}),
        ((1, 2), 2, {"prompt": "What is m\u00e4rchen?"}),
    ]
    assert [line.problem for line in found] == ["", "", ""]
    shares = [line.share or 0 for line in found]
    assert shares == sorted(shares)


def test_columns_that_nothing_is_read_of_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,Preferense,id\nWhy?,concise,1\n", encoding="utf-8")
    with InputLines([str(path)]) as lines:
        assert lines.remarks == [f"{path}: nothing is read of 'preferense'"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"What is yeast, and malt?", "2 values under 1 headings; a text with ',' in it has to be"),
        (b"Stra\xdfe?", "isn't UTF-8 text; save the table as CSV in UTF-8"),
        (b'"Why" then?', "isn't sound CSV"),
        (b'"' + b"x" * 200_000 + b'"', "isn't sound CSV"),
    ],
)
def test_a_row_that_cant_be_read_is_a_bad_line_among_others(
    row: bytes, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"prompt\nHi\n" + row + b"\nBye\n")
    first, bad, last = lines_of(path)
    assert problem in bad.problem
    assert (first.problem, last.problem) == ("", "")
    assert (bad.number, last.number) == (3, 4)


def test_a_table_without_questions_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for heading in ("What is yeast?\nWhat is malt?\n", ""):
        path.write_text(heading, encoding="utf-8")
        with pytest.raises(FileAccessError, match=r"a\.csv.*name the columns, prompt or question"):
            InputLines([str(path)])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["in.txt", "in.jsonl", "in.csv"])
def test_text_in_utf_16_is_refused_by_name(name: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes("\ufeffprompt\nKäse?\n".encode(encoding))
    with pytest.raises(FileAccessError, match=r"is text in UTF-16 or UTF-32; save it in UTF-8"):
        lines_of(path)


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "in.txt"
    path.write_bytes(b"\xef\xbb\xbfWho?\nWhy?\n")
    assert [line.data for line in lines_of(path)] == [b"Who?\n", b"Why?\n"]
