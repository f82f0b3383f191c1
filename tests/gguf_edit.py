"""Edits copies of GGUF files for tests, with the gguf package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from amulet_local.loading.tried_files import note_as_tried

SHALLOW_LAYERS = (0, 1, 8, 27)
"""Of the embedded model: some whose answers depend on the question and on each preference."""


def copy_without(source: Path, target: Path, key: str) -> None:
    """Copy a model with one metadata key under another name, which nothing looks for."""
    stored = len(key).to_bytes(8, "little") + key.encode()
    content = source.read_bytes()
    assert content.count(stored) == 1, key
    target.write_bytes(content.replace(stored, stored[:-1] + b"_"))
    note_as_tried([target])


def copy_layers(source: Path, target: Path, layers: Sequence[int]) -> None:
    """Copy some of a model's layers, and all that isn't in a layer."""

    def value(name: str, found: Any) -> Any:
        return len(layers) if name.endswith(".block_count") else found

    def rename(name: str) -> str | None:
        kind, *rest = name.split(".", 2)
        if kind != "blk":
            return name
        layer = int(rest[0])
        return f"blk.{layers.index(layer)}.{rest[1]}" if layer in layers else None

    copy_edited(source, target, value=value, rename=rename)


def copy_edited(
    source: Path,
    target: Path,
    *,
    value: Callable[[str, Any], Any] = lambda name, value: value,
    rename: Callable[[str], str | None] = lambda name: name,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Copy a model with other values, tensors of the same type, and more of them.

    Args:
        value: what takes the place of a value of the metadata; None leaves it out.
        rename: what a tensor is called in the copy; None leaves it out.
        more: further tensors.
    """
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name == "general.architecture" or field.name.startswith("GGUF."):
            continue
        content = value(field.name, field.contents())
        if content is None:
            continue
        kind = field.types[0]
        sub_type = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, content, kind, sub_type=sub_type)
    for item in reader.tensors:
        name = rename(item.name)
        if name is not None:
            writer.add_tensor(name, item.data, raw_dtype=item.tensor_type)
    for name, data in (more or {}).items():
        writer.add_tensor(name, data)
    finish(writer)


def finish(writer: gguf.GGUFWriter) -> None:
    """Write everything that was added; who loads the file needs no trial of it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    note_as_tried([Path(writer.path)])
