"""What tells one file from another. Knows nothing about what is in them."""

from __future__ import annotations

import os


def file_identity(path: str | os.PathLike[str]) -> str:
    """What tells a file from another and from what it was before, without reading it."""
    status = os.stat(path)
    return f"{os.path.realpath(path)}; {status.st_size} bytes of {status.st_mtime_ns}"
