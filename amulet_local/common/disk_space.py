"""Says before a large file is written that there is no place for it, or no right to write there.

Knows nothing about what is in it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from amulet_local.common.errors import FileAccessError
from amulet_local.common.private_files import try_folder

_SPARE_BYTES = 64 << 20


def check_space(target: Path, n_bytes: int, *, note: str = "") -> None:
    """Refuse a place that has no room.

    Args:
        target: the file.
        n_bytes: how large it will be.
        note: what the size is made up of, for the message.

    Raises:
        FileAccessError: the folder doesn't exist, nothing can be written there, or it has less free
            than needed.
    """
    if not target.parent.is_dir():
        raise FileAccessError(f"there is no folder {target.parent}")
    free = shutil.disk_usage(target.parent).free
    if free < n_bytes + _SPARE_BYTES:
        raise FileAccessError(
            f"too little room in {target.parent}: {free / 1e9:.1f} GB free, {n_bytes / 1e9:.1f} GB "
            f"needed{note}"
        )
    try:
        try_folder(target.parent)
    except OSError as error:
        raise FileAccessError(
            f"nothing can be written in {target.parent}: {error.strerror}"
        ) from None
