"""Which files of models run in the process that asks for them; the others run in one of their own.

A file is approved if it is one of the catalogue, whose digest was compared when it came, or if the
user has said so (`amulet-local models approve`). Nothing that a file does approves it: one that
means harm can wait. An adapter counts like a file of its own. The user's word is kept in the cache
folder by the file's place, size and time: whoever may write a file of this user's unnoticed needs
no model to do harm. Knows nothing about how files are run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import measurement_cache
from amulet_local.common.file_identity import are_unchanged, file_identity, identities
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.loading.model_store import catalogue
from amulet_local.params.choices import Isolate
from amulet_local.params.model_use import TEXT, ModelUse

_FILE = "approved_files.json"


def needs_isolation(path: Path, isolate: Isolate, use: ModelUse = TEXT) -> bool:
    """Whether a file is to run in a process of its own.

    Args:
        isolate: "always", "never", or "auto": a file that isn't approved, or an adapter that isn't.
        use: what it is for. An adapter that isn't there is an error later.
    """
    if isolate != "auto":
        return isolate == "always"
    adapters = filter(os.path.isfile, use.adapters)
    return not (is_approved(path) and all(map(is_approved, adapters)))


def is_approved(path: str | os.PathLike[str]) -> bool:
    """Whether a file, with the further files of a split model, is what was approved."""
    try:
        if _is_of_catalogue(path):
            return True
        if private_folder(cache_folder()) is None:  # else another user could say it
            return False
        return are_unchanged(measurement_cache.read(_FILE).get(file_identity(path)))
    except OSError:
        return False


def approve(path: Path, others: Sequence[Path] = ()) -> None:
    """Let a file run in the process that asks for it.

    Args:
        path: of a model or an adapter.
        others: the further files of a split model.

    Raises:
        OSError: one of them isn't there.
    """
    measurement_cache.keep(_FILE, file_identity(path), identities(others))


def revoke(path: str | os.PathLike[str]) -> None:
    """Take that back. A file of the catalogue stays approved.

    Raises:
        OSError: it isn't there.
    """
    measurement_cache.keep(_FILE, file_identity(path), None)


def _is_of_catalogue(path: str | os.PathLike[str]) -> bool:
    """Whether it is what a name of the catalogue stands for."""
    real = os.path.realpath(path)
    n_bytes = os.stat(real).st_size
    for entry in catalogue().values():
        own = entry.path() if entry.size_bytes == n_bytes else None
        if own is not None and os.path.realpath(own) == real:
            return True
    return False
