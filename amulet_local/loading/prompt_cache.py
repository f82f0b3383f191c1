"""What rows have in memory, kept on disk between processes, so that a prompt is computed once.

Knows nothing about what the tokens mean, nor about the format of the files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.loading import saved_rows
from amulet_local.loading.saved_rows import SavedRow, fingerprint_of
from amulet_local.loading.shared_rows import SharedRows

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def save_rows(shared: SharedRows, name: str) -> None:
    """Keep what the rows of a model have in memory.

    Args and Raises: as `Engine.save_prompt_cache`.
    """
    _check_reuse(shared)
    with shared.at_work():
        rows = [
            SavedRow(tokens=tuple(tokens), state=state, bare=bare)
            for tokens, state, bare in shared.rows.export()
        ]
        save(name, fingerprint_of(shared.parts), rows)


def load_rows(shared: SharedRows, name: str) -> bool:
    """Take over what `save_rows` kept; False if there is nothing that can be used.

    Args and Raises: as `Engine.load_prompt_cache`.
    """
    _check_reuse(shared)
    with shared.at_work():
        rows = load(name, fingerprint_of(shared.parts))
        if not rows or any(len(row.tokens) > shared.parts.settings.n_ctx for row in rows):
            return False
        shared.settle_schedule(len(rows))
        return shared.rows.restore([(row.tokens, row.state, row.bare) for row in rows])


def _check_reuse(shared: SharedRows) -> None:
    shared.lock.check_open()
    if shared.parts.runtime.reproducible:
        raise InvalidParameterError(
            "a prompt cache reuses earlier work, which reproducible=True (--reproducible) "
            "rules out; leave one of them out"
        )


def save(name: str, fingerprint: str, rows: Sequence[SavedRow]) -> None:
    """Write the rows under `name`, replacing what was there.

    Raises:
        InvalidParameterError: not a name.
        FileAccessError: no private folder, or the file can't be written.
    """
    saved_rows.save(path_of(name), _called(name), fingerprint, rows)


def load(name: str, fingerprint: str) -> list[SavedRow] | None:
    """The rows saved under `name`, None if there are none.

    Raises:
        InvalidParameterError: not a name.
        FileAccessError: as `saved_rows.load`.
    """
    return saved_rows.load(path_of(name), _called(name), fingerprint)


def _called(name: str) -> str:
    return f"the prompt cache {name!r}"


def path_of(name: str) -> Path:
    """The file of a prompt cache.

    Raises:
        InvalidParameterError: not a name.
        FileAccessError: no folder is there for it, or none that is private.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidParameterError(
            f"a prompt cache is called by letters, digits, '.', '_' and '-', got {name!r}"
        )
    folder = cache_folder() / "prompts"
    if private_folder(folder) is None:
        raise FileAccessError(
            f"{folder} must be writable by you and by nobody else to keep prompt caches in it, or "
            f"name such a folder in AMULET_CACHE"
        )
    return folder / f"{name}.state"
