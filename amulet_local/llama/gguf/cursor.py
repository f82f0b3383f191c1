"""Goes through the bytes of a header, and reads no more of the file than is needed.

Knows nothing about what the bytes mean. Every length that a file claims is held against the file's
own and against limits before anything is read or allocated for it.
"""

from __future__ import annotations

import os
import struct
from typing import NoReturn

from amulet_local.common.errors import ModelFileError

MAX_HEADER_BYTES = 64 * 2**20

FIRST_READ_BYTES = 8 * 2**20  # the vocabulary of most models is in it
_U64 = struct.Struct("<Q")
_PAST_THE_END = (struct.error, OverflowError, IndexError)  # of unpack_from


class Cursor:
    """A position in the header, and as much of the header as was read so far.

    Attributes:
        data: what was read, from the file's first byte.
        pos: where in it the next value begins.
        place: what is being read, for messages.
        tokens, token_types: the vocabulary until it was checked; nothing keeps them after that.
        n_file_bytes: the file's length.
    """

    def __init__(self, fd: int, shown: str, n_file_bytes: int) -> None:
        """At the beginning of an open file, which messages call `shown`."""
        self.data = b""
        self.pos = 0
        self.place = "its first bytes"
        self.tokens: list[bytes] = []
        self.token_types = b""
        self.n_file_bytes = n_file_bytes
        self._fd = fd
        self._shown = shown

    def fail(self, what: str) -> NoReturn:
        """Refuse the file."""
        raise ModelFileError(f"{self._shown} can't be used: {what}")

    def damaged(self, what: str) -> NoReturn:
        """Refuse the file as one that lost something on its way here."""
        self.fail(f"{what}; the file is damaged or its download incomplete: download it again")

    def need(self, n_bytes: int) -> None:
        """Make sure that the next n_bytes are in `data`."""
        end = self.pos + n_bytes
        if end <= len(self.data):
            return
        if end > self.n_file_bytes:
            self.damaged(f"it ends after {self.n_file_bytes} bytes, inside {self.place}")
        if end > MAX_HEADER_BYTES:
            self.fail(f"its header is over {MAX_HEADER_BYTES} bytes, in {self.place}: too large")
        target = max(end, 2 * len(self.data), FIRST_READ_BYTES)
        target = min(target, self.n_file_bytes, MAX_HEADER_BYTES)
        chunks = [self.data]
        n_read = len(self.data)
        while n_read < target and (chunk := os.read(self._fd, target - n_read)):
            chunks.append(chunk)
            n_read += len(chunk)
        self.data = b"".join(chunks)
        if end > n_read:
            self.damaged(f"it shrank to {n_read} bytes while it was being read")

    def take(self, n_bytes: int) -> bytes:
        """The next bytes."""
        self.need(n_bytes)
        start, self.pos = self.pos, self.pos + n_bytes
        return self.data[start : self.pos]

    def u32(self) -> int:
        """The next four bytes, as a number."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """The next eight bytes, as a number."""
        return int.from_bytes(self.take(8), "little")

    def name(self, max_bytes: int) -> str:
        """The next string, as a key or a tensor name."""
        n_bytes = self.u64()
        if n_bytes > max_bytes:
            self.damaged(f"{self.place} has a name of {n_bytes} bytes, over {max_bytes}")
        raw = self.take(n_bytes)
        if b"\0" in raw:  # native code would see another, shorter name
            self.fail(f"the name of {self.place} has a NUL in it: {cut(raw)}")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.damaged(f"the name of {self.place} isn't UTF-8: {cut(raw)}")

    def skip_strings(self, count: int) -> None:
        """Go past the next strings, in a loop that does as little as it can: there are millions."""
        data, pos, unpack = self.data, self.pos, _U64.unpack_from
        for _ in range(count):
            try:
                pos += 8 + unpack(data, pos)[0]
            except _PAST_THE_END:
                self.pos = pos
                self.need(8)
                data = self.data
                pos += 8 + unpack(data, pos)[0]
        self.pos = pos
        self.need(0)

    def strings(self, count: int) -> list[bytes]:
        """The next strings."""
        data, pos, unpack = self.data, self.pos, _U64.unpack_from
        found: list[bytes] = []
        append = found.append
        try:
            for _ in range(count):
                start = pos + 8
                pos = start + unpack(data, pos)[0]
                append(data[start:pos])
        except _PAST_THE_END:
            pos = len(data) + 1
        if pos > len(data):
            start = self.pos
            self.skip_strings(count)  # reads on, or fails
            self.pos = start
            return self.strings(count)
        self.pos = pos
        return found


def cut(value: object) -> str:
    """The repr of a value from the file, short enough for a message."""
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
