"""The files of a model that is split into several.

Knows nothing about how they are loaded; llama.cpp opens all but the first by itself.
"""

from __future__ import annotations

from pathlib import Path

from amulet_local.common.errors import ModelFileError
from amulet_local.llama.gguf import GGUFHeader


def other_parts(path: Path, header: GGUFHeader) -> list[Path]:
    """The further files of a split model, which llama.cpp opens by itself.

    Raises:
        ModelFileError: the first one's name isn't what llama.cpp makes the others' from.
    """
    n_parts = header.metadata.get("split.count", 1)
    if not isinstance(n_parts, int) or n_parts <= 1:
        return []
    first = f"-00001-of-{n_parts:05d}.gguf"
    if not path.name.endswith(first):
        raise ModelFileError(
            f"{path.name} is the first of {n_parts} parts, so its name must end in {first}"
        )
    stem = path.name.removesuffix(first)
    return [
        path.with_name(f"{stem}-{part:05d}-of-{n_parts:05d}.gguf") for part in range(2, n_parts + 1)
    ]
