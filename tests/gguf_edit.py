"""Edits copies of GGUF files for tests, byte by byte.

A vocabulary of tens of thousands of strings is copied as it lies, which takes no time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from amulet_local.llama.gguf import read_data, read_header
from amulet_local.loading.approved_files import approve
from tests.small_gguf import ARR, F32_TENSOR, PACK, STR, packed, tensor, text

SHALLOW_LAYERS = (0, 1, 8, 27)
"""Of the embedded model: some whose answers depend on the question and on each preference."""

Tensor = tuple[str, Sequence[int], int, bytes]
"""Its name, its shape with the contiguous dimension first, ggml's number of its type, its data."""


def raw_keys(path: Path) -> dict[str, bytes]:
    """The metadata of a sound model of version 3: types and values as they lie in the file."""
    data = path.read_bytes()
    (n_keys,) = struct.unpack_from("<Q", data, 16)
    keys, at = {}, 24
    for _ in range(n_keys):
        name_end = _string_end(data, at)
        value_end = _value_end(data, name_end + 4, *struct.unpack_from("<I", data, name_end))
        keys[data[at + 8 : name_end].decode()] = data[name_end:value_end]
        at = value_end
    return keys


def _string_end(data: bytes, at: int) -> int:
    return at + 8 + int.from_bytes(data[at : at + 8], "little")


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind == STR:
        return _string_end(data, at)
    if kind != ARR:
        return at + struct.calcsize(PACK[kind])
    element, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if element != STR:
        return at + count * struct.calcsize(PACK[element])
    for _ in range(count):
        at = _string_end(data, at)
    return at


def strings_of(value: bytes) -> list[str]:
    """The elements of a raw array of strings."""
    _, _, count = struct.unpack_from("<IIQ", value)
    found, at = [], 16
    for _ in range(count):
        end = _string_end(value, at)
        found.append(value[at + 8 : end].decode())
        at = end
    return found


def write_raw(path: Path, keys: Mapping[str, bytes], tensors: Iterable[Tensor]) -> None:
    """Write a model from raw metadata; who loads the file needs no trial of it."""
    table, chunks, offset = [], [], 0
    for name, shape, kind, data in tensors:
        table.append(tensor(name, tuple(shape), kind, offset))
        chunks += [data, bytes(-len(data) % 32)]
        offset += len(data) + -len(data) % 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(table), len(keys))
    head += b"".join(text(key) + value for key, value in keys.items()) + b"".join(table)
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        file.writelines(chunks)
    approve(path)


def float_tensor(name: str, data: np.ndarray) -> Tensor:
    """A tensor of float32, from NumPy's order of dimensions."""
    return name, data.shape[::-1], F32_TENSOR, data.astype(np.float32).tobytes()


def copy_without(source: Path, target: Path, key: str) -> None:
    """Copy a model without one key of its metadata."""
    copy_edited(source, target, keys={key: None})


def copy_layers(source: Path, target: Path, layers: Sequence[int]) -> None:
    """Copy some of a model's layers, and all that isn't in a layer."""

    def rename(name: str) -> str | None:
        kind, *rest = name.split(".", 2)
        if kind != "blk":
            return name
        layer = int(rest[0])
        return f"blk.{layers.index(layer)}.{rest[1]}" if layer in layers else None

    architecture = read_header(source).architecture
    count = packed(len(layers))
    copy_edited(source, target, keys={f"{architecture}.block_count": count}, rename=rename)


def copy_edited(
    source: Path,
    target: Path,
    *,
    keys: Mapping[str, bytes | None] | None = None,
    rename: Callable[[str], str | None] = lambda name: name,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Copy a model with other values, tensors under other names, and more of them.

    Args:
        keys: what takes the place of raw values of the metadata; None leaves one out.
        rename: what a tensor is called in the copy; None leaves it out.
        more: further tensors, of float32.
    """
    found: dict[str, bytes | None] = {**raw_keys(source), **(keys or {})}
    kept = {
        renamed: item
        for name, item in read_header(source).tensors.items()
        if (renamed := rename(name)) is not None
    }
    copied = zip(kept.items(), read_data(source, kept.values()), strict=True)
    write_raw(
        target,
        {key: value for key, value in found.items() if value is not None},
        [
            *((name, item.shape, item.kind, data) for (name, item), data in copied),
            *(float_tensor(name, data) for name, data in (more or {}).items()),
        ],
    )
