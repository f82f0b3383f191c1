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
        return _is_noted(file_identity(path))
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

    Where nothing can be written, on a full disk, the word for every other file goes as well.

    Raises:
        OSError: it isn't there, or the word can't be taken back.
    """
    identity = file_identity(path)
    measurement_cache.keep(_FILE, identity, None)
    if _is_noted(identity):
        measurement_cache.forget_all(_FILE)


def _is_noted(identity: str) -> bool:
    return are_unchanged(measurement_cache.read(_FILE).get(identity))


def _is_of_catalogue(path: str | os.PathLike[str]) -> bool:
    """Whether it is what a name of the catalogue stands for."""
    real = os.path.realpath(path)
    n_bytes = os.stat(real).st_size
    for entry in catalogue().values():
        own = entry.path() if entry.size_bytes == n_bytes else None
        if own is not None and os.path.realpath(own) == real:
            return True
    return False
