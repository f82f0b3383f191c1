"""What rows have in memory, kept on disk between processes, so that a prompt is computed once.

Knows nothing about what the tokens mean. A saved state goes to native code that trusts it, so it is
only read from a folder and a file that nobody else can write, with a digest over all of it, for the
same model, adapters, llama.cpp build and cache types. A file is written whole or not at all, for
its owner only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.llama import library
from amulet_local.loading.engine_parts import EngineParts
from amulet_local.loading.shared_rows import SharedRows

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_FORMAT = 1
_MAX_HEADER_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True)
class SavedRow:
    """One row.

    Attributes:
        tokens: its token ids.
        state: llama.cpp's serialised state of the sequence.
        bare: whether it lacks the adapters that other rows have.
    """

    tokens: tuple[int, ...]
    state: bytes
    bare: bool = False


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


def fingerprint_of(parts: EngineParts) -> str:
    """What a state in memory depends on: model, adapters, llama.cpp build and cache types."""
    settings = parts.settings
    facts = [
        parts.model.identity,
        f"llama.cpp {library.build_version()}",
        f"flash attention {settings.flash_attention}",
        f"{settings.cache_type_k}/{settings.cache_type_v}",
    ]
    if settings.adapters is not None:
        facts += [settings.adapters.fingerprint, f"on {parts.runtime.adapters_on} rows"]
    return "; ".join(facts)


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
    path = _path(name)
    header = json.dumps(
        {
            "format": _FORMAT,
            "fingerprint": fingerprint,
            "rows": [
                {"tokens": row.tokens, "n_bytes": len(row.state), "bare": row.bare} for row in rows
            ],
        }
    ).encode()
    digest = hashlib.sha256(header)
    for row in rows:
        digest.update(row.state)
    start = digest.hexdigest().encode() + b"\n" + header + b"\n"
    try:
        private_files.replace(path, [start, *(row.state for row in rows)])
    except OSError as error:
        raise FileAccessError(
            f"the prompt cache {name!r} can't be written: {error.strerror}"
        ) from None


def load(name: str, fingerprint: str) -> list[SavedRow] | None:
    """The rows saved under `name`, None if there are none.

    Raises:
        InvalidParameterError: not a name.
        FileAccessError: the file is damaged, somebody else could have written it, or it was made
            with another model, adapter, build or cache type.
    """
    path = _path(name)
    try:
        with _opened_privately(path, name) as file:
            digest = file.read(65)
            header = file.readline(_MAX_HEADER_BYTES).rstrip(b"\n")
            payload = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileAccessError(
            f"the prompt cache {name!r} can't be read: {error.strerror}"
        ) from None
    check = hashlib.sha256(header)
    check.update(payload)
    if check.hexdigest().encode() + b"\n" != digest:
        raise FileAccessError(f"the prompt cache {name!r} is damaged; it isn't used")
    content = json.loads(header)
    if content["format"] != _FORMAT or content["fingerprint"] != fingerprint:
        raise FileAccessError(
            f"the prompt cache {name!r} was made with another model, other adapters, another build "
            f"of llama.cpp or other cache types; it isn't used"
        )
    rows = []
    start = 0
    for row in content["rows"]:
        stop = start + row["n_bytes"]
        rows.append(
            SavedRow(
                tokens=tuple(row["tokens"]),
                state=payload[start:stop],
                bare=row.get("bare", False),
            )
        )
        start = stop
    return rows


def _path(name: str) -> Path:
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


@contextlib.contextmanager
def _opened_privately(path: Path, name: str) -> Iterator[BinaryIO]:
    """The file for reading, if it is a regular one that only this user can touch."""
    with private_files.opened_at_once(path, getattr(os, "O_NOFOLLOW", 0)) as file:
        status = os.fstat(file.fileno())
        private = os.name != "posix" or (
            status.st_uid == os.getuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        )
        if not (private and stat.S_ISREG(status.st_mode)):
            raise FileAccessError(
                f"the prompt cache {name!r} isn't a file of yours alone (mode 600); it isn't used"
            )
        yield file
