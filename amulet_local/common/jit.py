"""Compiles functions with Numba, with a private on-disk cache.

Knows nothing about what the functions compute. Numba reads pickles from its cache folder, so the
folder has to belong to this user alone; importing Numba takes a third of a second, so that happens
when something is compiled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amulet_local.common.user_folders import cache_folder, private_folder

_lock = threading.Lock()


def kernel_cache_folder() -> Path | None:
    """The folder for compiled code, created where needed; None if none can be trusted."""
    return private_folder(cache_folder() / "numba")


def compiled(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """A function that Numba compiles in nopython mode at its first call, or loads from a folder.

    Numba's global cache setting is changed during the call only.
    """
    import numba

    config: Any = numba.config  # its attributes are made at run time
    with _lock:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder)
        try:
            made: Callable[..., Any] = numba.njit(cache=True)(function)
        finally:
            config.CACHE_DIR = before
    return made
