"""A folder's lock: who changes what lies in it waits for who does so already.

It is the kernel's, on the folder itself, so that no file stays behind and it ends with its holder.
Knows nothing about what is changed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from amulet_local.common.errors import FileAccessError

_LOOK_SECONDS = 0.01


@contextlib.contextmanager
def locked(folder: Path, seconds: float) -> Iterator[None]:
    """Hold a folder's lock inside the block, where the system has such a thing.

    Args:
        seconds: how long another holder is waited for.

    Raises:
        FileAccessError: it hasn't ended by then.
        OSError: there is no such folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that can't be listed
        yield
        return
    try:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise FileAccessError(
                        f"another program is changing what is in {folder}; try again"
                    ) from None
                time.sleep(_LOOK_SECONDS)
            except OSError:  # some network file systems
                break
        yield
    finally:
        os.close(descriptor)
