"""Which model files have run here before, and how much; the others run in processes of their own.

A file is approved, and runs in the process that asks for it, if it is one of the catalogue or has
computed ENOUGH_TOKENS in processes of its own which all ended in order; one that ends a process
begins anew. Where there is no other process, a file has a trial at least, once. What ran is noted
in the cache folder by the file's place, size and time, with the build of llama.cpp: whoever may
write a file of this user's unnoticed needs no model to do harm. Knows nothing about how a trial is
held.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amulet_local.common import measurement_cache
from amulet_local.llama import library, trial
from amulet_local.llama.generative import reason_not_embedding, reason_not_generative
from amulet_local.llama.gguf import read_header
from amulet_local.llama.model import file_identity, other_parts
from amulet_local.loading.model_store import catalogue
from amulet_local.params.choices import Isolate

ENOUGH_TOKENS = 10_000
"""Of prompts and answers, all rows together: about ten answers."""

_FILE = "tried_models.json"
_N_TOKENS = "tokens"


def needs_isolation(path: Path, isolate: Isolate, *, embeds: bool = False) -> bool:
    """Whether a file is to run in a process of its own.

    Args:
        isolate: "always", "never", or "auto": a file that isn't approved.
        embeds: whether it is for hidden states, and not for text.
    """
    if isolate != "auto":
        return isolate == "always"
    return not (_is_of_catalogue(path) or _n_computed(path, embeds=embeds) >= ENOUGH_TOKENS)


def reaches_llama_cpp(path: Path, *, embeds: bool = False) -> bool:
    """Whether a file passes what is looked at before llama.cpp loads it.

    Raises:
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    reason = (reason_not_embedding if embeds else reason_not_generative)(read_header(path))
    return reason is None


def hold_trial(path: Path, isolate: Isolate, *, embeds: bool = False) -> None:
    """Run a file in a process of its own, where that is asked for or it never ran here.

    Args:
        isolate, embeds: see `needs_isolation`; "auto" is a file that hasn't run here.

    Raises:
        ModelFileError: the process died of it.
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    if isolate == "never" or not sys.executable or getattr(sys, "frozen", False):
        return
    if isolate == "auto" and (_is_of_catalogue(path) or _n_computed(path, embeds=embeds) >= 0):
        return
    if not reaches_llama_cpp(path, embeds=embeds):
        return
    parts = [path, *other_parts(path, read_header(path))]
    if trial.try_out(path, embeds=embeds) is None:
        note_as_run(parts, 0, embeds=embeds)


def note_as_run(parts: Sequence[Path], n_tokens: int, *, embeds: bool = False) -> None:
    """Note that a file, with the further files of a split model, has computed so many tokens."""
    first, *others = parts
    before = max(0, _n_computed(first, embeds=embeds))
    entry: dict[str, Any] = {os.path.realpath(part): file_identity(part) for part in others}
    entry[_N_TOKENS] = before + n_tokens
    measurement_cache.keep(_FILE, _key(first, embeds), entry)


def approve(*parts: Path) -> None:
    """Let a file run in the process that asks for it, whatever it is for."""
    for embeds in (False, True):
        note_as_run(parts, ENOUGH_TOKENS, embeds=embeds)


def note_as_deadly(path: Path) -> None:
    """Note that a process ended over a file: it has run no more than one that is new here."""
    for embeds in (False, True):
        key = _key(path, embeds)
        if key in measurement_cache.read(_FILE):
            measurement_cache.keep(_FILE, key, None)


def _n_computed(path: Path, *, embeds: bool) -> int:
    """Tokens that it has computed as it is, -1 if it hasn't run; its header isn't read for that."""
    try:
        entry = measurement_cache.read(_FILE).get(_key(path, embeds))
        if not isinstance(entry, dict):
            return -1
        others = {part: identity for part, identity in entry.items() if part != _N_TOKENS}
        are_same = all(file_identity(part) == identity for part, identity in others.items())
        n_tokens = entry.get(_N_TOKENS, 0)
        return n_tokens if are_same and isinstance(n_tokens, int) else -1
    except OSError:
        return -1


def _key(path: Path, embeds: bool) -> str:
    purpose = "hidden states" if embeds else "text"
    return "; ".join([file_identity(path), purpose, library.build_version()])


def _is_of_catalogue(path: Path) -> bool:
    """Whether it is what a name of the catalogue stands for: its digest was compared then."""
    real = os.path.realpath(path)
    try:
        n_bytes = os.stat(real).st_size
    except OSError:
        return False
    for entry in catalogue().values():
        own = entry.path() if entry.size_bytes == n_bytes else None
        if own is not None and os.path.realpath(own) == real:
            return True
    return False
