"""Models as they are listed: names, kinds, sizes, and why one can't be used.

Knows nothing about commands.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from amulet_local.cli.terminal import one_line
from amulet_local.common.errors import AmuletError

# fmt: off
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}
# fmt: on
"""general.file_type, llama.cpp's llama_ftype -> what files are called after it."""


@dataclass(frozen=True, kw_only=True)
class ModelListing:
    """A model in the list.

    Attributes:
        name: what -m takes.
        path: the file, None if it isn't installed.
        size_bytes: of the file.
        kind: architecture and quantisation.
        problem: why it can't be used, None if nothing is known to speak against it.
        description: of a catalogue entry.
        licence: of a catalogue entry.
        program: the program that has downloaded it; empty for others.
        has_template: whether it has a chat template.
    """

    name: str
    path: str | None
    size_bytes: int | None
    kind: str
    problem: str | None
    description: str = ""
    licence: str = ""
    program: str = ""
    has_template: bool = False


def usable_models() -> list[ModelListing]:
    """What can be asked as far as is known, each file once; chat models and own ones first."""
    from amulet_local.loading import model_store

    found: dict[str, ModelListing] = {}
    own = (inspected(path.stem, path) for path in model_store.local_models())
    catalogue = map(from_catalogue, model_store.catalogue().values())
    for item in (*own, *of_other_programs(), *catalogue):
        if item.path is not None and item.problem is None:
            found.setdefault(os.path.realpath(item.path), item)
    return sorted(found.values(), key=lambda item: not item.has_template)


def of_other_programs() -> list[ModelListing]:
    """What other programs have downloaded."""
    from amulet_local.loading.other_programs import found_models

    return [
        replace(inspected(item.name, item.path), program=item.program) for item in found_models()
    ]


def from_catalogue(entry: object) -> ModelListing:
    """An entry of the catalogue."""
    from amulet_local.loading.model_store import CatalogueEntry

    assert isinstance(entry, CatalogueEntry)
    path = entry.path()
    if path is not None:
        return replace(inspected(entry.name, path, entry.description), licence=entry.licence)
    return ModelListing(
        name=entry.name,
        path=None,
        size_bytes=entry.size_bytes,
        kind="",
        problem=f"not installed; run: {entry.install}",
        description=entry.description,
        licence=entry.licence,
    )


def inspected(name: str, path: Path, description: str = "") -> ModelListing:
    """A file, as its header says; one that can\'t be used has its problem."""
    from amulet_local.llama.generative import reason_not_generative
    from amulet_local.llama.gguf import read_header

    kind, problem, has_template = "", None, False
    try:
        header = read_header(path)
        reason = reason_not_generative(header)
        problem = f"can't generate text: {reason}" if reason else None
        has_template = isinstance(header.metadata.get("tokenizer.chat_template"), str)
        file_type = header.metadata.get("general.file_type")
        quantisation = FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
        kind = one_line(f"{header.architecture} {quantisation}")
    except AmuletError as error:
        problem = one_line(error)
    try:
        size = path.stat().st_size
    except OSError:
        size = None
    return ModelListing(
        name=name,
        path=str(path),
        size_bytes=size,
        kind=kind,
        problem=problem,
        description=description,
        has_template=has_template,
    )


def size_in_words(n_bytes: int | None) -> str:
    """A file's size; "-" where it isn't known."""
    if n_bytes is None:
        return "-"
    if n_bytes < 1e9:
        return f"{n_bytes / 1e6:.0f} MB"
    return f"{n_bytes / 1e9:.1f} GB"
