"""States of rows in a file, which is written whole or not at all, for its owner only.

Knows nothing about whose rows they are. A saved state goes to native code that trusts it, so it is
only read from a file that nobody else can write, with a digest over all of it, for the same model,
adapters, llama.cpp build and cache types.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError
from amulet_local.llama import library
from amulet_local.loading.engine_parts import EngineParts

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


def save(path: Path, what: str, fingerprint: str, rows: Sequence[SavedRow]) -> None:
    """Write the rows to a file, replacing what was there.

    Args:
        what: the file is, for messages.
        fingerprint: what the states depend on.

    Raises:
        FileAccessError: the file can't be written.
    """
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
        raise FileAccessError(f"{what} can't be written: {error.strerror}") from None


def load(path: Path, what: str, fingerprint: str) -> list[SavedRow] | None:
    """The rows saved in a file, None if there is none.

    Args:
        what, fingerprint: as for `save`.

    Raises:
        FileAccessError: the file is damaged, somebody else could have written it, or it was made
            with another model, adapter, build or cache type.
    """
    try:
        with _opened_privately(path, what) as file:
            digest = file.read(65)
            header = file.readline(_MAX_HEADER_BYTES).rstrip(b"\n")
            payload = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileAccessError(f"{what} can't be read: {error.strerror}") from None
    check = hashlib.sha256(header)
    check.update(payload)
    if check.hexdigest().encode() + b"\n" != digest:
        raise FileAccessError(f"{what} is damaged; it isn't used")
    content = json.loads(header)
    if content["format"] != _FORMAT or content["fingerprint"] != fingerprint:
        raise FileAccessError(
            f"{what} was made with another model, other adapters, another build "
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


@contextlib.contextmanager
def _opened_privately(path: Path, what: str) -> Iterator[BinaryIO]:
    """The file for reading, if it is a regular one that only this user can touch."""
    with private_files.opened_at_once(path, getattr(os, "O_NOFOLLOW", 0)) as file:
        status = os.fstat(file.fileno())
        private = os.name != "posix" or (
            status.st_uid == os.getuid() and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        )
        if not (private and stat.S_ISREG(status.st_mode)):
            raise FileAccessError(f"{what} isn't a file of yours alone (mode 600); it isn't used")
        yield file
