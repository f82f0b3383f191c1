"""Logs of JSON lines that survive a kill at any moment.

Knows nothing about what is in a line. A line is whole in the file once `append` returns, so that a
kill of the process takes nothing from it; it is on the disk, where a power cut takes nothing from
it either, at the latest after `sync_seconds`. One that was torn is cut off when the log is opened
again, so that what follows it stays readable. One process writes at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from amulet_local.common.closing import Closing
from amulet_local.common.errors import FileAccessError
from amulet_local.common.private_files import place, sync_folder


class Log(Closing):
    """A file of JSON objects, one a line. Use as a context manager."""

    def __init__(
        self,
        path: Path,
        *,
        sync_seconds: float = 0.0,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        """Open it for appending, and heal its end.

        Args:
            sync_seconds: how long at most lines that were appended stay with the system alone,
                while others follow; the last ones go to the disk when it is closed.
            sync: brings what is written to a descriptor to the disk.

        Raises:
            FileAccessError: it can't be written, or another process writes it.
        """
        self._path = path
        self._sync_seconds, self._sync = sync_seconds, sync
        self._unsynced_since: float | None = None
        with self._typed_errors():
            target = place(path)
            is_new = not target.exists()
            self._file = open(target, "a+b", buffering=0)  # noqa: SIM115
            self._lock()
            self._heal()
        if is_new:
            sync_folder(target.parent)

    def append(self, *entries: Mapping[str, Any]) -> None:
        """Write lines, through to the disk if it is time for that.

        Raises:
            FileAccessError: they can't be written; nothing of them stays.
        """
        lines = (json.dumps(entry, ensure_ascii=True, allow_nan=False) for entry in entries)
        data = "".join(line + "\n" for line in lines).encode()
        size = self._file.seek(0, os.SEEK_END)
        try:
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]
            if self._unsynced_since is None:
                self._unsynced_since = time.monotonic()
            if time.monotonic() - self._unsynced_since >= self._sync_seconds:
                self._sync_now()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(size)
            raise FileAccessError(f"{self._path} can't be written: {error.strerror}") from None

    def clear(self) -> None:
        """Take out every line.

        Raises:
            FileAccessError: it can't be written.
        """
        with self._typed_errors():
            self._file.truncate(0)

    def replace(self, rewrite: Callable[[Path], object]) -> None:
        """Let a function put another file in the place of this one, and go on with that.

        Raises:
            FileAccessError: another process writes that one, or it can't be written; what the
                function raises.
        """
        rewrite(self._path)
        with self._typed_errors():
            replaced, self._file = self._file, open(self._path, "a+b", buffering=0)  # noqa: SIM115
            replaced.close()
            self._lock()

    def close(self) -> None:
        """Bring the last lines to the disk, and close the file.

        Raises:
            FileAccessError: the disk doesn't take them.
        """
        if self._file.closed:
            return
        try:
            with self._typed_errors():
                if self._unsynced_since is not None:
                    self._sync_now()
        finally:
            self._file.close()

    @contextlib.contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FileAccessError(f"{self._path} can't be written: {error.strerror}") from None

    def _sync_now(self) -> None:
        self._sync(self._file.fileno())
        self._unsynced_since = None

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
                f"another process is at work on {self._path}; wait for it, or give another place "
                f"with -o"
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
