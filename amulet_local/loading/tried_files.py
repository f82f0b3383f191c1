"""Which model files have run here before, and how much; the others run in processes of their own.

A file is approved, and runs in the process that asks for it, if it is one of the catalogue or has
computed ENOUGH_TOKENS in processes of its own which all ended in order; one that ends a process
begins anew. An adapter counts likewise, beside the model that it changes. Where there is no other
process, a file has a trial at least, once. What ran is noted in the cache folder by the file's
place, size and time, with the build of llama.cpp: whoever may write a file of this user's unnoticed
needs no model to do harm. Knows nothing about how a trial is held.
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
from amulet_local.llama.gguf import GGUFHeader, read_header
from amulet_local.llama.model import file_identity, other_parts
from amulet_local.loading.model_store import catalogue
from amulet_local.params.choices import Isolate
from amulet_local.params.model_use import EMBEDDING, TEXT, ModelUse

ENOUGH_TOKENS = 10_000
"""Of prompts and answers, all rows together: about ten answers."""

_FILE = "tried_models.json"
_N_TOKENS = "tokens"


def needs_isolation(path: Path, isolate: Isolate, use: ModelUse = TEXT) -> bool:
    """Whether a file is to run in a process of its own.

    Args:
        isolate: "always", "never", or "auto": a file that isn't approved, or an adapter that isn't.
        use: what it is for.
    """
    if isolate != "auto":
        return isolate == "always"
    return not _has_computed(path, use, ENOUGH_TOKENS)


def reaches_llama_cpp(path: Path, use: ModelUse = TEXT) -> bool:
    """Whether a file passes what is looked at before llama.cpp loads it.

    Raises:
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    return _passes(read_header(path), use)


def hold_trial(path: Path, isolate: Isolate, use: ModelUse = TEXT) -> None:
    """Run a file in a process of its own, where that is asked for or it never ran here.

    Args:
        isolate, use: see `needs_isolation`; "auto" is a file, or an adapter, that hasn't run here.

    Raises:
        ModelFileError: the process died of it.
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    if isolate == "never" or not sys.executable or getattr(sys, "frozen", False):
        return
    if isolate == "auto" and _has_computed(path, use, 0):
        return
    header = read_header(path)
    if _passes(header, use) and trial.try_out(path, use) is None:
        note_as_run([path, *other_parts(path, header)], 0, use)


def note_as_run(parts: Sequence[Path], n_tokens: int, use: ModelUse = TEXT) -> None:
    """Note that a file, with the further files of a split model, has computed so many tokens."""
    first, *others = parts
    identities = {os.path.realpath(part): file_identity(part) for part in others}
    _add(_key(first, use), n_tokens, identities)
    for adapter in use.adapters:
        _add(_adapter_key(adapter, first), n_tokens, {})


def approve(*parts: Path) -> None:
    """Let a file run in the process that asks for it, whatever it is for."""
    for use in (TEXT, EMBEDDING):
        note_as_run(parts, ENOUGH_TOKENS, use)


def note_as_deadly(path: Path) -> None:
    """Note that a process ended over a file: it has run no more than one that is new here."""
    own = f"{file_identity(path)}; "
    for key, entry in measurement_cache.read(_FILE).items():
        if key.startswith(own) and entry is not None:
            measurement_cache.keep(_FILE, key, None)


def _passes(header: GGUFHeader, use: ModelUse) -> bool:
    reason = (reason_not_embedding if use.embeds else reason_not_generative)(header)
    return reason is None


def _has_computed(path: Path, use: ModelUse, n_tokens: int) -> bool:
    """Whether a file is of the catalogue or has computed so many tokens as it is, and its adapters,
    as far as there are such files, have too; no header is read for that."""
    adapters = filter(os.path.isfile, use.adapters)
    try:
        return (_is_of_catalogue(path) or _n_computed(_key(path, use)) >= n_tokens) and all(
            _n_computed(_adapter_key(adapter, path)) >= n_tokens for adapter in adapters
        )
    except OSError:
        return False


def _n_computed(key: str) -> int:
    """Tokens that were noted; -1 where nothing was, or a part has changed since.

    Raises:
        OSError: a part isn't there.
    """
    entry = measurement_cache.read(_FILE).get(key)
    if not isinstance(entry, dict):
        return -1
    others = {part: identity for part, identity in entry.items() if part != _N_TOKENS}
    are_same = all(file_identity(part) == identity for part, identity in others.items())
    n_tokens = entry.get(_N_TOKENS, 0)
    return n_tokens if are_same and isinstance(n_tokens, int) else -1


def _add(key: str, n_tokens: int, parts: dict[str, Any]) -> None:
    try:
        before = max(0, _n_computed(key))
    except OSError:
        before = 0
    measurement_cache.keep(_FILE, key, {**parts, _N_TOKENS: before + n_tokens})


def _key(path: Path, use: ModelUse) -> str:
    purpose = "hidden states" if use.embeds else "text"
    return f"{file_identity(path)}; {purpose}; {library.build_version()}"


def _adapter_key(adapter: str, path: Path) -> str:
    build = library.build_version()
    return f"{file_identity(adapter)}; an adapter of {file_identity(path)}; {build}"


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
