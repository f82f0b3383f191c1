"""What a place has in memory, in files: llama-server's form for each row.

Knows nothing about HTTP or about when a place is free. A state goes to native code that trusts it,
so that files are only read which nobody but this user could have written. The first row's file is
the one that llama-server would write, and read; those of a preference's rows stand beside it, and
so do the SHA-256 digests of all of them, which a file of llama-server's doesn't have.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.llama.memory import available_bytes
from amulet_local.serving.places import SavedState

MAX_ROWS = 64
_HEAD = struct.Struct("=III")
"""Magic, version, and words of the payload."""
_MAGIC, _VERSION = 0x67677371, 3
_PACKED = 0xFFFFFFFF
"""Begins a payload with a version, a number of tokens, these, and a number of pictures."""
_PACKED_VERSION = 1
_IN_MEMORY = struct.Struct("=Ii")
"""What llama.cpp puts before a state that it gives as bytes, and not into a file."""
_IN_MEMORY_MAGIC = 0xAF143CD8
_COPIES = 2
"""Of a state there are so many in memory while it is read."""
_MOST_WORDS = 2**24
"""More tokens than any context holds."""
_NAME = re.compile(r"[\w-][\w.+@=, -]{0,199}")
_DIGESTS = ".sha256"
"""Ends the name of the file of digests, in the form of `sha256sum`."""
_BESIDE = re.compile(rf".*(\.row\d+|{re.escape(_DIGESTS)})")
"""What stands beside another file."""


class PlaceFiles:
    """The folder of such files."""

    def __init__(self, folder: str) -> None:
        """Take note.

        Raises:
            FileAccessError: it is none, or others may write into it.
        """
        self._folder = Path(folder).expanduser()
        try:
            status = self._folder.stat()
        except OSError as error:
            raise FileAccessError(f"--slot-save-path: {folder}: {error.strerror}") from None
        if not stat.S_ISDIR(status.st_mode):
            raise FileAccessError(f"--slot-save-path: {folder} is no folder")
        if _others_write(status):
            raise FileAccessError(
                f"--slot-save-path: others may write into {folder}, and what is read from there "
                f"has to be trusted; take a folder of your own (chmod go-w)"
            )

    def write(self, name: object, rows: Sequence[SavedState]) -> int:
        """Write the rows, in the place of what there is of this name; how many bytes.

        Raises:
            InvalidParameterError: not a name; there are no rows.
            FileAccessError: it can't be written.
        """
        path = self._path(name)
        if not rows:
            raise InvalidParameterError("the place has nothing in memory that could be saved")
        n_bytes, digests = 0, ""
        _remove(_digests_of(path))  # so that none is an older file's
        for number, (tokens, state, _) in enumerate(rows):
            payload = [_PACKED, _PACKED_VERSION, len(tokens), *tokens, 0]
            head = _HEAD.pack(_MAGIC, _VERSION, len(payload))
            data = head + struct.pack(f"={len(payload)}I", *payload) + _in_file(state)
            target = _of_row(path, number)
            _write(target, data)
            digests += f"{hashlib.sha256(data).hexdigest()}  {target.name}\n"
            n_bytes += len(data)
        for number in range(len(rows), MAX_ROWS):
            if not _remove(_of_row(path, number)):
                break
        _write(_digests_of(path), digests.encode())
        return n_bytes

    def read(self, name: object) -> tuple[list[SavedState], int]:
        """The rows of this name, and how many bytes they have.

        Raises:
            InvalidParameterError: not a name, or no such file is there.
            FileAccessError: it can't be read, is damaged, isn't what was written here, or others
                could have written it.
        """
        path = self._path(name)
        found = [_row(data) for data in _contents(path)]
        if not found:
            raise InvalidParameterError("filename: there is no such file")
        return [row for row, _ in found], sum(n_bytes for _, n_bytes in found)

    def _path(self, name: object) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith((" ", ".")):
            raise InvalidParameterError("filename: must be the name of a file, without a folder")
        if _BESIDE.fullmatch(name):
            raise InvalidParameterError(
                "filename: .sha256 and .row1, .row2, ... end the names of what stands beside a file"
            )
        return self._folder / name


def _contents(path: Path) -> Iterator[bytes]:
    digests = _content(_digests_of(path))
    for number in range(MAX_ROWS):
        source = _of_row(path, number)
        data = _content(source)
        if data is None:
            return
        digest = f"{hashlib.sha256(data).hexdigest()}  {source.name}"
        if digests is not None and digest.encode() not in digests.split(b"\n"):
            raise FileAccessError(
                f"{source.name} isn't what was saved here: {_digests_of(path).name} has another "
                f"digest of it (remove that file if llama-server has saved this one)"
            )
        yield data


def _content(path: Path) -> bytes | None:
    try:
        with private_files.opened_at_once(path) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or _others_write(status):
                raise FileAccessError("others could have written this file; it isn't used")
            free = available_bytes()
            if free is not None and _COPIES * status.st_size > free:
                raise FileAccessError("the file has more bytes than there is memory for")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileAccessError(f"the file can't be read: {error.strerror}") from None


def _row(data: bytes) -> tuple[SavedState, int]:
    damaged = FileAccessError("this isn't the file of a place, or it is damaged")
    if len(data) < _HEAD.size:
        raise damaged
    magic, version, n_words = _HEAD.unpack_from(data)
    end = _HEAD.size + 4 * n_words
    if (magic, version) != (_MAGIC, _VERSION) or end > len(data) or n_words > _MOST_WORDS:
        raise damaged
    words = list(struct.unpack_from(f"={n_words}I", data, _HEAD.size))
    if words[:1] == [_PACKED]:
        if len(words) < 4 or words[1] != _PACKED_VERSION or words[2] > len(words) - 4:
            raise damaged
        words, rest = words[3 : 3 + words[2]], words[3 + words[2] :]
        if rest != [0]:
            raise FileAccessError("pictures and sounds aren't read here")
    return (words, _IN_MEMORY.pack(_IN_MEMORY_MAGIC, 0) + data[end:], False), len(data)


def _in_file(state: bytes) -> bytes:
    size = _IN_MEMORY.size
    if len(state) < size or _IN_MEMORY.unpack_from(state)[0] != _IN_MEMORY_MAGIC:
        raise FileAccessError("this llama.cpp gives states in a form that isn't known here")
    return state[size:]


def _write(path: Path, data: bytes) -> None:
    try:
        private_files.write(path, data)
    except FileAccessError:
        raise FileAccessError("the file can't be written; is there room for it?") from None


def _remove(path: Path) -> bool:
    """Whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileAccessError(f"{path.name} can't be replaced: {error.strerror}") from None
    return True


def _of_row(path: Path, number: int) -> Path:
    return path if number == 0 else path.with_name(f"{path.name}.row{number}")


def _digests_of(path: Path) -> Path:
    return path.with_name(path.name + _DIGESTS)


def _others_write(status: os.stat_result) -> bool:
    return os.name == "posix" and (
        status.st_uid != os.getuid() or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    )
