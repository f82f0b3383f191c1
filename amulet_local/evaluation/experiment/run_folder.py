"""A run's folder: its settings, and its logs. Knows nothing about what is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError

SETTINGS = "settings.json"
MAX_LOG_BYTES = 4 * 2**30


def run_folder(base: Path, settings: Mapping[str, Any]) -> Path:
    """The folder of a run with these settings: the one that is there, or a new one.

    Args:
        base: the folder of all runs.
        settings: everything that the answers depend on, as JSON values.

    Raises:
        FileAccessError: it can't be made, or not written to.
    """
    text = json.dumps(settings, indent=1, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = base / f"run-{digest}"
    private_files.make_folder(folder)
    if not (folder / SETTINGS).exists():
        private_files.write(folder / SETTINGS, (text + "\n").encode())
    return folder


def existing_runs(folder: Path) -> list[Path]:
    """The run that a folder is, or those that it holds, the one that was begun last first.

    Raises:
        FileAccessError: there is none.
    """
    if (folder / SETTINGS).is_file():
        return [folder]
    found = sorted(folder.glob(f"run-*/{SETTINGS}"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise FileAccessError(f"{folder} holds no run (no {SETTINGS} in it or in a run-... folder)")
    return [path.parent for path in reversed(found)]


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
