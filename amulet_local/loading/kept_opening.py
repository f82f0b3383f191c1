"""The tokens that every conversation begins with, kept computed between processes.

Chat template and default system text come before anybody's question, and are often most of a
short prompt. They are computed by themselves, and what memory has then goes into the user's cache
folder: a later process goes on from there, with the same logits to the bit. Nothing that a user
wrote is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from amulet_local.common.errors import AmuletError, FileAccessError
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.llama.row import common_length
from amulet_local.loading import saved_rows
from amulet_local.loading.engine_parts import EngineParts
from amulet_local.loading.saved_rows import SavedRow, fingerprint_of

FEWEST_TOKENS = 16
"""Of an opening that is worth a file."""

MOST_BYTES = 64 << 20
"""Of all such files together; those that weren't used for longest go first."""

THREAD = "kept opening"
"""The name of the thread that writes."""


class KeptOpening:
    """What prompts of one engine begin with, as far as no user wrote it."""

    def __init__(self, parts: EngineParts, prompts: Callable[[], Sequence[Sequence[int]]]) -> None:
        """Take note.

        Args:
            parts: the model and what its contexts are created with.
            prompts: gives two that have nothing in common but the opening; called once, when a
                prompt is first computed. Its AmuletErrors mean that there is none.
        """
        self._parts = parts
        self._prompts = prompts

    @cached_property
    def tokens(self) -> tuple[int, ...]:
        """Its token ids; none where there is no opening that is worth it."""
        try:
            one, other = self._prompts()
        except AmuletError:
            return ()
        opening = tuple(one[: common_length(one, other)])
        return opening if len(opening) >= FEWEST_TOKENS else ()

    def begins(self, prompt: Sequence[int]) -> bool:
        """Whether a prompt begins with it and goes on."""
        n = len(self.tokens)
        return 0 < n < len(prompt) and tuple(prompt[:n]) == self.tokens

    def load(self, n_sequences: int) -> bytes:
        """The state that was kept of it; empty if there is none that can be used.

        Args:
            n_sequences: of the context that is to have it; one with more or fewer refuses it.
        """
        fingerprint = self._fingerprint(n_sequences)
        path = self._path(fingerprint)
        try:
            rows = saved_rows.load(path, path.name, fingerprint)
        except FileAccessError:
            return b""
        with contextlib.suppress(OSError):  # of a disk that can only be read
            os.utime(path)
        return rows[0].state if rows else b""

    def keep(self, state: bytes, n_sequences: int) -> None:
        """Keep its state, in the background: nobody waits for a disk, or hears of one that fails.

        Args:
            state: llama.cpp's, of a sequence that has these tokens and no others.
            n_sequences: of its context.
        """
        if state and len(state) <= MOST_BYTES:
            row = SavedRow(tokens=self.tokens, state=state)
            # what the model says of itself is asked here: it may be closed before the thread ends
            fingerprint = self._fingerprint(n_sequences)
            args = (self._path(fingerprint), fingerprint, row)
            threading.Thread(target=_write, args=args, name=THREAD).start()

    def _fingerprint(self, n_sequences: int) -> str:
        n_ctx = self._parts.settings.n_ctx
        return f"{fingerprint_of(self._parts)}; {n_sequences} x {n_ctx} positions"

    def _path(self, fingerprint: str) -> Path:
        name = hashlib.sha256(f"{fingerprint}; {self.tokens}".encode()).hexdigest()[:32]
        return cache_folder() / "openings" / f"{name}.state"


def _write(path: Path, fingerprint: str, row: SavedRow) -> None:
    if private_folder(path.parent) is None:
        return
    with contextlib.suppress(OSError, FileAccessError):
        _make_room(path.parent, len(row.state))
        saved_rows.save(path, path.name, fingerprint, [row])


def _make_room(folder: Path, n_bytes: int) -> None:
    files = sorted(folder.glob("*.state"), key=lambda path: path.stat().st_mtime)
    total = n_bytes + sum(path.stat().st_size for path in files)
    for path in files:
        if total <= MOST_BYTES:
            return
        total -= path.stat().st_size
        path.unlink()
