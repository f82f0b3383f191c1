"""Compiles functions with Numba when they are first needed, with a private on-disk cache.

Knows nothing about what the functions compute. Numba fixes a function's cache folder when its
decorator runs, and reads pickles from that folder: so functions are decorated on first use, never
on import, and the folder has to belong to this user alone. Where there is no such folder (a
read-only home, a folder that others may write to) functions are compiled in memory, which costs
one to three seconds a process.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amulet_local.common.user_folders import cache_folder, private_folder

_lock = threading.RLock()


def kernel_cache_folder() -> Path | None:
    """The folder for compiled code, created where needed; None if none can be trusted."""
    return private_folder(cache_folder() / "numba")


def has_compiled() -> bool:
    """Whether there is compiled code from an earlier run."""
    folder = kernel_cache_folder()
    return folder is not None and any(folder.rglob("*.nbc"))


def compile_with(
    decorator: Callable[..., Any], function: Callable[..., Any], **options: Any
) -> Any:
    """Apply a Numba decorator (njit, cfunc) with the private cache where there is one.

    Numba's global cache setting is changed during the call only.
    """
    import numba

    config: Any = numba.config  # its attributes are made at run time

    with _lock:
        folder = kernel_cache_folder()
        before = config.CACHE_DIR
        if folder is not None:
            config.CACHE_DIR = str(folder)
        try:
            return decorator(**options, cache=folder is not None)(function)
        finally:
            config.CACHE_DIR = before


class LazyKernel:
    """A function that is decorated with @njit at its first call, whichever thread comes first."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if self._compiled is None:
            with _lock:
                if self._compiled is None:
                    from numba import njit

                    self._compiled = compile_with(njit, self._function)
        return self._compiled(*arguments)


def lazy_njit(function: Callable[..., Any]) -> LazyKernel:
    """Decorator: compile `function` in nopython mode when it is first called."""
    return LazyKernel(function)
