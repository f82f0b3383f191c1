"""Small JSON files in the user's cache folder: measurements that can be made again.

Knows nothing about what is kept. A file that isn't sound counts as empty, and where there is no
folder nothing is kept: it is a cache.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.common.user_folders import cache_folder, private_folder

_MAX_BYTES = 4 << 20


def read(name: str) -> dict[str, Any]:
    """Everything in the cache file `name`, by key."""
    try:
        entries = json.loads(private_files.read(cache_folder() / name, max_bytes=_MAX_BYTES))
    except (FileAccessError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def keep(name: str, key: str, entry: Any) -> None:
    """Add an entry, or take it away if it is None; the file is written whole or not at all."""
    folder = private_folder(cache_folder())
    if folder is None:
        return
    entries = read(name)
    entries.pop(key, None)
    if entry is not None:
        entries[key] = entry
    with contextlib.suppress(FileAccessError):
        private_files.write(folder / name, json.dumps(entries, indent=1).encode())
