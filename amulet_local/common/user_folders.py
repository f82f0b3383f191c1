"""Where this user's own files live: the folders for the cache, the configuration and data.

Knows nothing about what is kept there. Follows the platform's convention (XDG on Linux and BSD,
~/Library on macOS, %LOCALAPPDATA% and %APPDATA% on Windows); AMULET_CACHE, AMULET_CONFIG and
AMULET_DATA name other folders.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def cache_folder() -> Path:
    """Folder for files that can be made again. It may not exist yet."""
    return _folder("AMULET_CACHE", "XDG_CACHE_HOME", ".cache", "Caches", "LOCALAPPDATA")


def config_folder() -> Path:
    """Folder for the user's settings. It may not exist yet."""
    return _folder("AMULET_CONFIG", "XDG_CONFIG_HOME", ".config", "Application Support", "APPDATA")


def data_folder() -> Path:
    """Folder for what can't be made again, such as conversations. It may not exist yet."""
    return _folder("AMULET_DATA", "XDG_DATA_HOME", ".local/share", "Application Support", "APPDATA")


def private_folder(folder: Path) -> Path | None:
    """Create `folder` for this user alone and return it.

    Returns None where it can't be created or written, belongs to somebody else, or others may
    write in it: nothing in such a folder can be trusted.
    """
    try:
        _make(folder)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) and is_private(folder) else None


def why_unusable(folder: Path) -> str:
    """What to say of a folder in the data folder that `private_folder` hasn't for this user."""
    reason: str | None = "it can't be written, or not by you alone"
    try:
        _make(folder)
    except FileExistsError:
        reason = "there is a file where a folder should be"
    except OSError as error:
        reason = error.strerror
    return f"{folder} can't be used: {reason}; AMULET_DATA names another folder"


def is_private(folder: Path) -> bool:
    """Whether a folder is there, and nobody but this user could have put something into it."""
    try:
        status = folder.stat()
    except OSError:
        return False
    return os.name != "posix" or (
        status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _make(folder: Path) -> None:
    """Make a folder with those above it: whatever the umask says, nobody else may write there."""
    if not os.path.isdir(folder):
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _folder(own: str, xdg: str, linux: str, macos: str, windows: str) -> Path:
    if os.environ.get(own):
        return Path(os.environ[own]).expanduser()
    try:
        home = Path.home()
    except RuntimeError:
        home = Path.cwd()
    if sys.platform == "darwin":
        return home / "Library" / macos / "amulet-local"
    if os.name == "nt":
        return Path(os.environ.get(windows) or home) / "amulet-local"
    base = os.environ.get(xdg, "")
    return (Path(base) if os.path.isabs(base) else home / linux) / "amulet-local"
