"""Sockets that aren't ports: a path of this machine, or one that systemd hands over.

Knows nothing about what is served. Who may ask is who may write to the path: its owner.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from amulet_local.common.errors import ServerError

_FIRST_INHERITED = 3
"""systemd's SD_LISTEN_FDS_START."""


def inherited_socket() -> socket.socket | None:
    """The socket that systemd has opened for this process; None if it hasn't.

    Raises:
        ServerError: it has opened several.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    if os.environ.get("LISTEN_FDS") != "1":
        raise ServerError("systemd hands over several sockets, and one is served; give it one")
    return socket.socket(fileno=_FIRST_INHERITED)


def open_path(path: str, *, backlog: int) -> socket.socket:
    """A socket that listens at a path, for its owner alone. One that nobody listens at is replaced.

    Raises:
        ServerError: it can't be made, another process listens there, or it is no socket.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_left(path)
        before = os.umask(0o177)
        try:
            listening.bind(path)
        finally:
            os.umask(before)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        raise ServerError(f"can't listen at {path:.200}: {error.strerror or error}") from None
    except BaseException:
        listening.close()
        raise
    return listening


def remove(path: str) -> None:
    """Take away the path of a socket that was closed."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def _remove_left(path: str) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(Path(path).lstat().st_mode):
        raise ServerError(f"{path:.200} is there and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise ServerError(f"another process listens at {path:.200}")
