"""Files for their owner alone, written whole or not at all.

Knows nothing about what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from amulet_local.common.errors import FileAccessError, InvalidParameterError


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, in the place of one that is there. A link stays one.

    Whatever happens meanwhile, power loss included, the file is the old one or the new one; after
    the return it is the new one, where the system keeps what it was told to sync. A killed process
    may leave a hidden file beside it.

    Raises:
        InvalidParameterError: not a path.
        FileAccessError: it can't be written; a file that was there is as it was.
    """
    shown = _path(path)
    try:
        target = place(shown)
        if target.exists() and not target.is_file():
            raise FileAccessError(f"{shown} can't be written: it is there and isn't a file")
        replace(target, [data])
    except OSError as error:
        raise FileAccessError(f"{shown} can't be written: {error.strerror}") from None


def replace(
    target: Path, parts: Iterable[bytes], *, last: Callable[[], object] = lambda: None
) -> None:
    """Put a file in the place of another, as `write` does.

    Args:
        target: no link.
        parts: its content.
        last: called when all of it is on the disk; what that raises leaves the old file.

    Raises:
        OSError: it can't be written; a file that was there is as it was.
    """
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".amulet-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        last()
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(target.parent)


def place(path: Path) -> Path:
    """The file that a path stands for; links that lead there stay.

    Raises:
        PermissionError: a link leads to another user's file, or another user made it: who follows
            it with more rights than that user has would write where that user can't.
    """
    target = Path(os.path.realpath(path))
    if hasattr(os, "geteuid") and os.path.islink(path):
        user = os.geteuid()
        if os.lstat(path).st_uid not in (user, 0):
            raise PermissionError(errno.EPERM, "it is another user's link")
        if target.exists() and target.stat().st_uid != user:
            raise PermissionError(errno.EPERM, "it is a link to another user's file")
    return target


def put_in_place(part: Path, target: Path) -> None:
    """Give a file that is written its name: after power loss there is all of it or none.

    Raises:
        OSError: that can't be done; both are as they were.
    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have a new name in a folder survive power loss; not every system syncs folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check(path: str | os.PathLike[str]) -> None:
    """Refuse a path that `write` can't write, before time is spent on what is to be written.

    Raises:
        InvalidParameterError: not a path.
        FileAccessError: there is no such folder, it can't be written to, or something that isn't
            a file is there.
    """
    shown = _path(path)
    try:
        target = place(shown)
        if target.exists() and not target.is_file():
            raise FileAccessError(f"{shown} can't be written: it is there and isn't a file")
        if not target.parent.is_dir():
            raise FileAccessError(f"{shown} can't be written: there is no folder {target.parent}")
        try_folder(target.parent)
    except PermissionError:
        raise FileAccessError(
            f"{shown} can't be written: no right to write into its folder"
        ) from None
    except OSError as error:  # a name that is too long, a disk that is read-only, full or no disk
        raise FileAccessError(f"{shown!s:.80} can't be written: {error.strerror}") from None


def try_folder(folder: Path) -> None:
    """Write a file in a folder and remove it: rights alone don't tell whether that can be done.

    On a full disk a file can still be made, and nothing be written into it.

    Raises:
        OSError: it can't.
    """
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".amulet-")
    try:
        os.write(descriptor, bytes(4096))
    finally:
        os.close(descriptor)
        os.unlink(temporary)


def make_folder(folder: Path) -> None:
    """Make a folder for what is to be written, or find it there.

    Raises:
        FileAccessError: it can't be made, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_folder(folder)
    except OSError as error:
        raise FileAccessError(
            f"the folder {folder} can't be made or written to: {error.strerror}"
        ) from None


def read(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """All of a file.

    Raises:
        InvalidParameterError: not a path.
        FileAccessError: it can't be read, is no file, or has more than `max_bytes`.
    """
    shown = _path(path)
    try:
        data = beginning(shown, max_bytes + 1)
    except OSError as error:
        raise FileAccessError(f"{shown} can't be read: {error.strerror}") from None
    if data is None:
        raise FileAccessError(f"{shown} isn't a file")
    if len(data) > max_bytes:
        raise FileAccessError(f"{shown} has more than {max_bytes >> 20} MiB; it isn't read")
    return data


def beginning(path: Path, n_bytes: int) -> bytes | None:
    """At most the first `n_bytes` of a file; None of what is no file, such as a pipe.

    Raises:
        OSError: it can't be read.
    """
    with opened_at_once(path) as file:
        return file.read(n_bytes) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def opened_at_once(path: Path, flags: int = 0) -> BinaryIO:
    """Whatever is there, open for reading: a pipe's other end isn't waited for.

    Raises:
        OSError: it can't be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | flags)
    return os.fdopen(descriptor, "rb")


def _path(path: str | os.PathLike[str]) -> Path:
    try:
        shown = Path(path)
        if b"\0" not in os.fsencode(shown):
            return shown
    except (TypeError, UnicodeEncodeError):
        pass
    raise InvalidParameterError(f"{str(path)[:60]!r} can't be the path of a file")
