"""What tells one file from another. Knows nothing about what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any


def file_identity(path: str | os.PathLike[str]) -> str:
    """What tells a file from another and from what it was before, without reading it."""
    status = os.stat(path)
    return f"{os.path.realpath(path)}; {status.st_size} bytes of {status.st_mtime_ns}"


def identities(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """What each file is now, for `are_unchanged`.

    Raises:
        OSError: one of them isn't there.
    """
    return {os.path.realpath(path): file_identity(path) for path in paths}


def are_unchanged(noted: Any) -> bool:
    """Whether files are what `identities` has said; False of what it can't have said.

    Raises:
        OSError: one of them isn't there.
    """
    try:
        return isinstance(noted, dict) and all(
            file_identity(path) == identity for path, identity in noted.items()
        )
    except ValueError:  # no path of any file
        return False
