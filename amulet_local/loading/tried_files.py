"""Which model files have run here before; the others have a trial first.

Knows nothing about how a trial is held. What ran is noted in the cache folder by the file's place,
size and time, with the build of llama.cpp: whoever may write a file of this user's unnoticed needs
no model to do harm. A catalogue's model comes with the package that it was installed with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from amulet_local.common import measurement_cache
from amulet_local.llama import library, trial
from amulet_local.llama.generative import reason_not_embedding, reason_not_generative
from amulet_local.llama.gguf import read_header
from amulet_local.llama.model import file_identity, other_parts
from amulet_local.loading.model_store import catalogue
from amulet_local.params.choices import Isolate

_FILE = "tried_models.json"


def hold_trial(path: Path, isolate: Isolate, *, embeds: bool = False) -> None:
    """Run a file in a process of its own, where that is asked for or it never ran here.

    Args:
        isolate: "always", "never", or "auto": a file that hasn't run here.
        embeds: whether it is for hidden states, and not for text.

    Raises:
        ModelFileError: the process died of it.
        ModelError, FileAccessError: its header isn't sound, or it can't be read.
    """
    if isolate == "never" or not sys.executable or getattr(sys, "frozen", False):
        return
    if isolate == "auto" and (_is_packaged(path) or _has_run(path, embeds=embeds)):
        return
    header = read_header(path)
    if (reason_not_embedding if embeds else reason_not_generative)(header):
        return  # nothing loads it then
    parts = [path, *other_parts(path, header)]
    if trial.try_out(path, embeds=embeds) is None:
        note_as_tried(parts, embeds=embeds)


def note_as_tried(parts: Sequence[Path], *, embeds: bool = False) -> None:
    """Note that a file, with the further files of a split model, has run here."""
    first, *others = parts
    entry = {os.path.realpath(part): file_identity(part) for part in others}
    measurement_cache.keep(_FILE, _key(first, embeds), entry)


def _has_run(path: Path, *, embeds: bool) -> bool:
    """Whether it has, as it is; its header, which says what its parts are, isn't read for that."""
    try:
        parts = measurement_cache.read(_FILE).get(_key(path, embeds))
        return isinstance(parts, dict) and all(
            file_identity(part) == identity for part, identity in parts.items()
        )
    except OSError:
        return False


def _key(path: Path, embeds: bool) -> str:
    purpose = "hidden states" if embeds else "text"
    return "; ".join([file_identity(path), purpose, library.build_version()])


def _is_packaged(path: Path) -> bool:
    real = os.path.realpath(path)
    for entry in catalogue().values():
        own = entry.path() if entry.package else None
        if own is not None and os.path.realpath(own) == real:
            return os.stat(real).st_size == entry.size_bytes
    return False
