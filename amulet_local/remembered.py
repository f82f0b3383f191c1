"""Small JSON files in the user's cache folder: measurements that can be made again.

Knows nothing about what is kept. A file that isn't sound counts as empty, and where there is no
folder nothing is kept: it is a cache.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from amulet_local.user_folders import cache_folder, private_folder


def read(name: str) -> dict[str, Any]:
    """Everything in the cache file `name`, by key."""
    try:
        entries = json.loads((cache_folder() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def keep(name: str, key: str, entry: Any) -> None:
    """Add an entry and write the file anew, whole or not at all."""
    folder = private_folder(cache_folder())
    if folder is None:
        return
    entries = {**read(name), key: entry}
    try:
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=f"{name}-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
        os.replace(path, folder / name)
    except OSError:
        return
