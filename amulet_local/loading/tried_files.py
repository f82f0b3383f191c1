"""Trials of model files: what runs in a process of its own, for a moment, before it is loaded.

That is for where no other process can run the model itself. A file, or an adapter beside a model,
has one trial, until it changes or another llama.cpp comes; one that is approved has none. Knows
nothing about how a trial is held.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import measurement_cache
from amulet_local.common.file_identity import are_unchanged, file_identity, identities
from amulet_local.llama import library, trial
from amulet_local.llama.generative import reason_not_embedding, reason_not_generative
from amulet_local.llama.gguf import read_header
from amulet_local.llama.split_files import other_parts
from amulet_local.loading.approved_files import needs_isolation
from amulet_local.params.choices import Isolate
from amulet_local.params.model_use import TEXT, ModelUse

_FILE = "tried_models.json"


def hold_trial(path: Path, isolate: Isolate, use: ModelUse = TEXT) -> None:
    """Run a file in a process of its own, where that is asked for or it never ran here.

    Args:
        isolate: "always", "never", or "auto": what isn't approved and had no trial.
        use: what it is for.

    Raises:
        ModelFileError: the process died of it.
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    if isolate == "never" or not sys.executable or getattr(sys, "frozen", False):
        return
    if isolate == "auto" and (not needs_isolation(path, isolate, use) or _has_run(path, use)):
        return
    header = read_header(path)
    reason = (reason_not_embedding if use.embeds else reason_not_generative)(header)
    if reason is None and trial.try_out(path, use) is None:
        note_as_run([path, *other_parts(path, header)], use)


def note_as_run(parts: Sequence[Path], use: ModelUse = TEXT) -> None:
    """Note that a file, with the further files of a split model, needs no trial any more."""
    first, *others = parts
    measurement_cache.keep(_FILE, _key(first, use), identities(others))


def _has_run(path: Path, use: ModelUse) -> bool:
    """Whether a file ran as it is with its adapters; no header is read for that."""
    try:
        return are_unchanged(measurement_cache.read(_FILE).get(_key(path, use)))
    except OSError:
        return False


def _key(path: Path, use: ModelUse) -> str:
    purpose = "hidden states" if use.embeds else "text"
    files = [os.fspath(path), *filter(os.path.isfile, use.adapters)]
    return "; ".join([*map(file_identity, files), purpose, library.build_version()])
