"""The lines of a job's input: files, patterns of files, standard input, gzip or not.

Knows nothing about what is in a line. A thread reads ahead, so that a pipe that brings nothing at
present holds nobody up.
"""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import io
import os
import queue
import stat
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from amulet_local.batch.tables import is_table, lines_of_rows, unread_columns
from amulet_local.common.closing import Closing
from amulet_local.common.errors import AmuletError, FileAccessError

STDIN = "-"
MAX_LINE_BYTES = 16 * 2**20
ENDLESS_LINE_BYTES = 2**30
"""A line without an end within so many isn't read any further."""
MOST_PACKED = 500
"""Bytes that gzip has made one of: lines of a job don't repeat one another so much."""
MOST_NO_TEXT = 100
"""So many lines in a row that no text has, and the file is none."""
_N_AHEAD = 256
_GZIP = b"\x1f\x8b"
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
"""What text in UTF-16 or UTF-32 begins with."""


@dataclass(frozen=True)
class InputLine:
    """A line that isn't blank.

    Attributes:
        place: how many files and lines come before it: records have this order.
        file: its name; empty for standard input.
        number: of the line in there, from 1.
        data: what is in it; None if that is longer than MAX_LINE_BYTES.
        share: of the input, how much is read with it; None where its size isn't known.
        problem: what is wrong with it, which nobody sees from the data; empty if nothing is.
    """

    place: tuple[int, int]
    file: str
    number: int
    data: bytes | None
    share: float | None
    problem: str = ""


def files_of(names: Sequence[str]) -> list[str]:
    """The files that names and patterns stand for, in the order of the names.

    Raises:
        FileAccessError: there is none for one of them.
    """
    found: list[str] = []
    for name in names:
        if name == STDIN or os.path.lexists(name):
            found.append(name)
            continue
        matching = sorted(glob.glob(name, recursive=True))
        if not matching:
            raise FileAccessError(f"there is no file {name!r}")
        found += matching
    return found


def is_among(path: str | os.PathLike[str], files: Sequence[str]) -> bool:
    """Whether a file is one of these, by whatever name."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        for name in files:
            with contextlib.suppress(OSError):
                if os.path.samestat(status, os.fstat(0) if name == STDIN else os.stat(name)):
                    return True
    return False


class InputLines(Closing):
    """Reads the lines of some files, one after the other.

    Attributes:
        remarks: what the user should know of the files.
    """

    def __init__(self, files: Sequence[str]) -> None:
        """Begin to read.

        Args:
            files: their names; STDIN stands for standard input.

        Raises:
            FileAccessError: one of them can't be read, or is a table without questions.
        """
        self._files = files
        self._sizes = [_size(name) for name in files]
        self.remarks = [
            f"{name}: nothing is read of {', '.join(map(repr, columns[:9]))}"
            for name, size in zip(files, self._sizes, strict=True)
            if size is not None and is_table(name)
            if (columns := _unread_columns(name))
        ]
        self._read: queue.Queue[InputLine | AmuletError | None] = queue.Queue(_N_AHEAD)
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="amulet-lines", daemon=True).start()

    def ready(self) -> Iterator[InputLine | None]:
        """The lines; None where there is none at present.

        Raises:
            FileAccessError: a file can't be read any further.
        """
        while True:
            try:
                item = self._read.get_nowait()
            except queue.Empty:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, AmuletError):
                raise item
            yield item

    def close(self) -> None:
        """Read no further."""
        self._closed.set()

    def _run(self) -> None:
        try:
            for place, name in enumerate(self._files):
                for line in self._lines(place, name):
                    self._hand_over(line)
                    if self._closed.is_set():
                        return
        except AmuletError as error:
            self._hand_over(error)
        else:
            self._hand_over(None)

    def _hand_over(self, item: InputLine | AmuletError | None) -> None:
        while not self._closed.is_set():
            try:
                self._read.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def _lines(self, place: int, name: str) -> Iterator[InputLine]:
        shown = "" if name == STDIN else name
        with _OpenLines(name) as read:
            if is_table(name):
                for row in lines_of_rows(read.whole_lines(), name):
                    share = self._share(place, read)
                    where = (place, row.number)
                    yield InputLine(where, shown, row.number, row.data, share, row.problem)
                return
            for data in read.lines():
                if data is None or data.strip():
                    where = (place, read.n_lines)
                    yield InputLine(where, shown, read.n_lines, data, self._share(place, read))

    def _share(self, place: int, read: _OpenLines) -> float | None:
        sizes = [size for size in self._sizes if size is not None]
        if len(sizes) < len(self._sizes) or not sum(sizes):
            return None
        return (sum(sizes[:place]) + read.n_bytes) / sum(sizes)


class _OpenLines(Closing):
    """Reads the lines of a file, packed or not.

    Attributes:
        n_lines: that were read.
    """

    def __init__(self, name: str) -> None:
        self.n_lines = 0
        self._name = name
        with self._reporting():
            # a descriptor of its own: at the end of the program nobody waits for the thread to
            # leave stdin
            self._raw = open(os.dup(0) if name == STDIN else name, "rb")  # noqa: SIM115 - see close

    @property
    def n_bytes(self) -> int:
        """How much of what is stored was read."""
        return self._raw.tell()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def lines(self) -> Iterator[bytes | None]:
        """Its lines; None for one that is longer than MAX_LINE_BYTES.

        Raises:
            FileAccessError: it can't be read any further, or is no text.
        """
        with self._reporting():
            n_no_text = 0
            packed = self._raw.peek(2)[:2] == _GZIP
            file = cast(BinaryIO, _Packed(self._raw)) if packed else self._raw
            while line := file.readline(MAX_LINE_BYTES + 1):
                data: bytes | None = line
                n_bytes = len(line)
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    data, line = None, file.readline(MAX_LINE_BYTES + 1)
                    n_bytes += len(line)
                    if n_bytes > ENDLESS_LINE_BYTES:
                        raise OSError(f"the next one has no end within {n_bytes:,} bytes")
                self.n_lines += 1
                if self.n_lines == 1 and line.startswith(_WIDE):
                    raise FileAccessError(
                        f"{self._name!r} is text in UTF-16 or UTF-32; save it in UTF-8"
                    )
                if self.n_lines == 1 and data is not None:
                    data = data.removeprefix(codecs.BOM_UTF8)
                n_no_text = n_no_text + 1 if _is_no_text(data) else 0
                if n_no_text > MOST_NO_TEXT:
                    raise OSError(f"this is no text: {n_no_text} lines in a row aren't UTF-8")
                yield data

    def whole_lines(self) -> Iterator[bytes]:
        """The same of a table, which has no such long ones.

        Raises:
            FileAccessError: see `lines`, or one is that long.
        """
        for data in self.lines():
            if data is None:
                raise FileAccessError(
                    f"{self._name!r}, line {self.n_lines}, has more than {MAX_LINE_BYTES} bytes"
                )
            yield data

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
            reason = getattr(error, "strerror", None) or error
            raise FileAccessError(
                f"can't read {self._name!r} after line {self.n_lines}: {reason}"
            ) from None


def _unread_columns(name: str) -> list[str]:
    with _OpenLines(name) as read:
        return unread_columns(read.whole_lines(), name)


class _Packed(gzip.GzipFile):
    """A packed file, which ends in an error where it becomes far more than is stored."""

    def __init__(self, stored: io.BufferedReader) -> None:
        super().__init__(fileobj=stored)
        self._stored, self._n_bytes, self._allowed = stored, 0, MAX_LINE_BYTES

    def readline(self, size: int | None = -1) -> bytes:
        """The next line.

        Raises:
            OSError: there are more than MOST_PACKED bytes for each that is stored.
        """
        line = super().readline(size)
        self._n_bytes += len(line)
        if self._n_bytes > self._allowed and self._stored.seekable():  # a pipe may be endless
            most = MOST_PACKED * self._stored.tell()
            if self._n_bytes > most:
                raise OSError(f"it unpacks to more than {MOST_PACKED} times of what is stored")
            self._allowed = most
        return line


def _is_no_text(data: bytes | None) -> bool:
    """Whether a line is in no text that has JSON; one that is too long may be."""
    if data is None:
        return False
    try:
        return "\0" in data.decode()
    except UnicodeDecodeError:
        return True


def _size(name: str) -> int | None:
    """Bytes of a regular file, None of anything else.

    Raises:
        FileAccessError: it can't be read, or is a device that brings no lines.
    """
    if name == STDIN:
        return None
    try:
        status = os.stat(name)
        if stat.S_ISFIFO(status.st_mode):
            return None  # opened once: who writes to it wouldn't outlive that somebody goes away
        with open(name, "rb") as file:
            if _is_device(status) and not (os.path.samefile(name, os.devnull) or file.isatty()):
                raise FileAccessError(f"{name!r} is a device; name a file or a pipe")
            return status.st_size if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        raise FileAccessError(f"can't read {name!r}: {error.strerror}") from None


def _is_device(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
