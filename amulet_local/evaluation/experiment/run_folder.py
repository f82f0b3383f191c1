"""A run's folder: its settings, and logs of JSON lines that survive a kill at any moment.

Knows nothing about what is in a line. A line is whole once `append` returns; one that was torn by a
kill is cut off when the log is opened again, so that what follows it stays readable. One process
writes at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.closing import Closing
from amulet_local.common.errors import FileAccessError

SETTINGS = "settings.json"
MAX_LOG_BYTES = 4 * 2**30


class Log(Closing):
    """A file of JSON objects, one a line. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        """Open it for appending, and heal its end.

        Raises:
            FileAccessError: it can't be written, or another process writes it.
        """
        self._path = path
        try:
            self._file = open(path, "a+b")  # noqa: SIM115
            self._lock()
            self._heal()
        except OSError as error:
            raise FileAccessError(f"{path} can't be written: {error.strerror}") from None

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write lines, through to the disk.

        Raises:
            FileAccessError: they can't be written; nothing of them stays.
        """
        lines = (json.dumps(entry, ensure_ascii=True, allow_nan=False) for entry in entries)
        data = "".join(line + "\n" for line in lines).encode()
        size = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise FileAccessError(f"{self._path} can't be written: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise FileAccessError(
                f"another process is at work on {self._path.parent}; wait for it or give another "
                f"folder with -o"
            ) from None

    def _heal(self) -> None:
        """Cut off what comes after the last whole line."""
        size = self._file.seek(0, os.SEEK_END)
        position = size
        while position > 0:
            start = max(0, position - 2**16)
            self._file.seek(start)
            block = self._file.read(position - start)
            newline = block.rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < size:
            self._file.truncate(position)
        self._file.seek(0, os.SEEK_END)


def read_log(
    path: Path, fields: Mapping[str, type | tuple[type, ...]] | None = None
) -> Iterator[dict[str, Any]]:
    """The lines of a log; a torn last one isn't there yet.

    Args:
        fields: what each line has to have, with its types.

    Raises:
        FileAccessError: it can't be read, or a line isn't such a JSON object.
    """
    if not path.exists():
        return
    try:
        with open(path, "rb") as file:
            for n, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    entry = None
                if not isinstance(entry, dict) or not all(
                    name in entry and isinstance(entry[name], kind)
                    for name, kind in (fields or {}).items()
                ):
                    raise FileAccessError(
                        f"{path}, line {n} is damaged; take it out of the file to make that answer "
                        f"again"
                    )
                yield entry
    except OSError as error:
        raise FileAccessError(f"{path} can't be read: {error.strerror}") from None


def run_folder(base: Path, settings: Mapping[str, Any]) -> Path:
    """The folder of a run with these settings: the one that is there, or a new one.

    Args:
        base: the folder of all runs.
        settings: everything that the answers depend on, as JSON values.

    Raises:
        FileAccessError: it can't be made.
    """
    text = json.dumps(settings, indent=1, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = base / f"run-{digest}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileAccessError(f"{folder} can't be made: {error.strerror}") from None
    if not (folder / SETTINGS).exists():
        private_files.write(folder / SETTINGS, (text + "\n").encode())
    return folder


def existing_run(folder: Path) -> Path:
    """The run that a folder is, or the only one that it holds.

    Raises:
        FileAccessError: there is none, or more than one.
    """
    if (folder / SETTINGS).is_file():
        return folder
    runs = sorted(path.parent for path in folder.glob(f"run-*/{SETTINGS}"))
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise FileAccessError(f"{folder} holds no run (no {SETTINGS} in it or in a run-... folder)")
    raise FileAccessError(
        f"{folder} holds {len(runs)} runs; name one of them: "
        f"{', '.join(path.name for path in runs[:8])}"
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """A run's settings.

    Raises:
        FileAccessError: they can't be read.
    """
    path = folder / SETTINGS
    try:
        settings = json.loads(private_files.read(path, max_bytes=64 * 2**20))
    except (ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise FileAccessError(f"{path} is damaged")
    return settings
