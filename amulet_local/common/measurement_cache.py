"""Small JSON files in the user's cache folder: measurements that can be made again.

Knows nothing about what is kept. A file that isn't sound counts as empty, and so does one that
another user could have written; where there is no folder nothing is kept: it is a cache. Several
processes may keep something at once, and nothing of it is lost.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.common.folder_lock import locked
from amulet_local.common.user_folders import cache_folder, is_private, private_folder

LOCK_SECONDS = 5.0
"""How long another process that keeps something is waited for."""

_MAX_BYTES = 4 << 20


def read(name: str) -> dict[str, Any]:
    """Everything in the cache file `name`, by key."""
    folder = cache_folder()
    if not is_private(folder):
        return {}
    try:
        entries = json.loads(private_files.read(folder / name, max_bytes=_MAX_BYTES))
    except (FileAccessError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def keep(name: str, key: str, entry: Any) -> None:
    """Add an entry, or take it away if it is None; the file is written whole or not at all."""
    folder = private_folder(cache_folder())
    if folder is None:
        return
    with contextlib.suppress(OSError, FileAccessError), locked(folder, LOCK_SECONDS):
        entries = read(name)
        entries.pop(key, None)
        if entry is not None:
            entries[key] = entry
        private_files.write(folder / name, json.dumps(entries, indent=1).encode())


def forget_all(name: str) -> None:
    """Take every entry away, also where nothing can be written: it takes no room on the disk.

    Raises:
        OSError: the file can't be removed.
    """
    (cache_folder() / name).unlink(missing_ok=True)
