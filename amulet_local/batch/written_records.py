"""The records that a job has written before: which lines are done, and in which order they stand.

Knows nothing about models. Of each record twelve bytes are kept in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.common.json_log import read_log

_OPENAI = "batch_req_"
_HEADS = (b'{"key": "', b'{"id": "batch_req_', b'{"format": ')
"""What a record begins with."""
_KEY_DIGITS = 32
_SETTINGS_DIGITS = 8


def check_is_output(path: Path) -> None:
    """Refuse a file that begins with something else than a record, before anything is done to it:
    who goes on with a job cuts off a last line that was torn.

    Raises:
        FileAccessError: it does, or can't be read.
    """
    try:
        found = private_files.beginning(path, max(map(len, _HEADS)))
    except FileNotFoundError:
        return
    except OSError as error:
        raise FileAccessError(f"{path} can't be read: {error.strerror}") from None
    if found is None or not any(found[: len(head)] == head[: len(found)] for head in _HEADS):
        raise _no_output(path)


class WrittenRecords:
    """What is in a job's output.

    Attributes:
        n: records.
        n_failed: those with an error.
    """

    def __init__(self, path: Path, settings: str) -> None:
        """Read it.

        Args:
            settings: digits that the keys of this job's records begin with.

        Raises:
            FileAccessError: it can't be read, is damaged, or has records of other settings.
        """
        keys = bytearray()
        self.n = self.n_failed = 0
        for record in read_log(path):
            key = _key(record)
            if key is None:
                raise _no_output(path)
            if not key.startswith(settings):
                raise FileAccessError(
                    f"{path} has answers of another model or other settings; give another place "
                    f"with -o, or --overwrite"
                )
            keys += bytes.fromhex(key[_SETTINGS_DIGITS:])
            self.n += 1
            self.n_failed += record.get("error") is not None
        self._keys = np.sort(np.frombuffer(bytes(keys), dtype="S12"))
        self._used = np.zeros(len(self._keys), dtype=np.uint32)

    def take(self, key: str) -> bool:
        """Whether there is a record for this line that no other line has taken."""
        content = np.frombuffer(bytes.fromhex(key[_SETTINGS_DIGITS:]), dtype="S12")[0]
        first = int(np.searchsorted(self._keys, content))
        position = first + int(self._used[first]) if first < len(self._keys) else first
        if position >= len(self._keys) or self._keys[position] != content:
            return False
        self._used[first] += 1
        return True

    @property
    def n_left(self) -> int:
        """Records that no line has taken."""
        return self.n - int(self._used.sum())


def drop_failed(path: Path) -> int:
    """Take out the records with an error, so that these lines are asked again; how many.

    Raises:
        FileAccessError: the file can't be read or written; it is as it was.
    """
    n_failed = sum(record.get("error") is not None for record in read_log(path))
    if n_failed:
        _rewrite(path, (record for record in read_log(path) if record.get("error") is None))
    return n_failed


def put_in_order(path: Path, files: Mapping[str, int]) -> None:
    """Write the records anew in the order of their lines.

    Args:
        files: the place of each input file; standard input's name is empty.

    Raises:
        FileAccessError: it can't be read or written; it is as it was.
    """
    places = np.array(
        [(files.get(r.get("file", ""), len(files)), r.get("line", 0)) for r in read_log(path)],
        dtype=np.int64,
    ).reshape(-1, 2)
    order = np.lexsort((places[:, 1], places[:, 0]))
    if (order[:-1] <= order[1:]).all():
        return
    offsets = np.zeros(len(places) + 1, dtype=np.int64)
    with path.open("rb") as file:
        np.cumsum(np.fromiter(map(len, file), dtype=np.int64), out=offsets[1:])

    def sorted_lines() -> Iterator[bytes]:
        with path.open("rb") as file:
            for number in order:
                file.seek(offsets[number])
                yield file.readline()

    _replace(path, sorted_lines())


def _no_output(path: Path) -> FileAccessError:
    return FileAccessError(
        f"{path} has lines that aren't records of a job; give another place with -o"
    )


def _rewrite(path: Path, records: Iterator[dict[str, Any]]) -> None:
    _replace(path, ((json.dumps(record) + "\n").encode() for record in records))


def _replace(path: Path, lines: Iterator[bytes]) -> None:
    """Another content of a file, whole or not at all."""
    try:
        private_files.replace(private_files.place(path), lines)
    except OSError as error:
        raise FileAccessError(f"{path} can't be written anew: {error.strerror}") from None


def _key(record: Mapping[str, Any]) -> str | None:
    key = record.get("key", record.get("id"))
    key = key.removeprefix(_OPENAI) if isinstance(key, str) else ""
    is_key = len(key) == _KEY_DIGITS and set(key) <= set("0123456789abcdef")
    return key if is_key else None
