"""Reads the keys of a header and their values.

Knows nothing about what llama.cpp makes of them, but for the types that its own reader insists on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from amulet_local.llama.gguf.cursor import Cursor, cut

MAX_KEY_BYTES = 65_535
MAX_KEPT_ELEMENTS = 1024  # longer arrays keep their type and length only
MAX_VOCAB_SIZE = 2**20  # without a tokenizer llama.cpp allocates as many as the file says

# fmt: off
# GGUF value type -> (name, struct code). Strings (8) and arrays (9) have no fixed size.
_TYPES = {
    0: ("u8", "B"), 1: ("i8", "b"), 2: ("u16", "H"), 3: ("i16", "h"), 4: ("u32", "I"),
    5: ("i32", "i"), 6: ("f32", "f"), 7: ("bool", "B"), 10: ("u64", "Q"), 11: ("i64", "q"),
    12: ("f64", "d"),
}
# fmt: on
_STRING, _ARRAY = 8, 9
_SCALARS = {code: struct.Struct("<" + fmt) for code, (_, fmt) in _TYPES.items()}


@dataclass(frozen=True)
class GGUFArray:
    """An array in the metadata.

    Attributes:
        element_type: "u8", "i8", ..., "f64", "bool" or "str".
        length: number of elements.
        values: the elements, or None where there are more than 1024 of them.
    """

    element_type: str
    length: int
    values: tuple[bool | int | float | str, ...] | None


MetadataValue: TypeAlias = bool | int | float | str | GGUFArray


def read_metadata(cursor: Cursor, n_keys: int) -> dict[str, MetadataValue]:
    """The next keys with their values; the vocabulary stays with the cursor."""
    metadata: dict[str, MetadataValue] = {}
    for i in range(n_keys):
        cursor.place = f"key {i + 1} of {n_keys}"
        key = cursor.name(MAX_KEY_BYTES)
        if not key:
            cursor.damaged(f"{cursor.place} has an empty name")
        if key in metadata:
            cursor.damaged(f"the key {cut(key)} is there twice")
        cursor.place = f"the value of {cut(key)}"
        code = cursor.u32()
        if code == _ARRAY:
            metadata[key] = _read_array(cursor, key)
        elif code == _STRING:
            metadata[key] = cursor.take(cursor.u64()).decode("utf-8", "replace")
        elif code not in _TYPES:
            cursor.damaged(f"{cursor.place} has the unknown type {code}")
        else:
            value = _SCALARS[code].unpack(cursor.take(_SCALARS[code].size))[0]
            if _TYPES[code][0] == "bool":
                if value > 1:
                    cursor.damaged(f"{cursor.place} is {value}, not true or false")
                value = bool(value)
            elif key == "general.alignment" and _TYPES[code][0] != "u32":
                cursor.damaged(f"{cursor.place} has the type {_TYPES[code][0]}, not u32")
            metadata[key] = value
    return metadata


def _read_array(cursor: Cursor, key: str) -> GGUFArray:
    code, length = cursor.u32(), cursor.u64()
    kept = length <= MAX_KEPT_ELEMENTS
    if code == _STRING:
        if length * 8 > cursor.n_file_bytes - cursor.pos:
            cursor.damaged(f"{cursor.place} claims {length} strings, more than fit")
        if key == "tokenizer.ggml.tokens" and length > MAX_VOCAB_SIZE:
            cursor.fail(f"it has {length} tokens, over {MAX_VOCAB_SIZE}: too large")
        if not kept and key != "tokenizer.ggml.tokens":
            cursor.skip_strings(length)
            return GGUFArray("str", length, None)
        strings = cursor.strings(length)
        if key == "tokenizer.ggml.tokens":
            cursor.tokens = strings
        texts = tuple(raw.decode("utf-8", "replace") for raw in strings) if kept else None
        return GGUFArray("str", length, texts)
    if code not in _TYPES:
        kind = "an array of arrays" if code == _ARRAY else f"an array of the unknown type {code}"
        cursor.damaged(f"{cursor.place} is {kind}")
    name, fmt = _TYPES[code]
    raw = cursor.take(length * _SCALARS[code].size)
    if name == "bool" and raw.translate(None, b"\0\1"):
        cursor.damaged(f"{cursor.place} has elements that are not true or false")
    if key == "tokenizer.ggml.token_type":
        cursor.token_types = raw
    if not kept:
        return GGUFArray(name, length, None)
    values = struct.unpack(f"<{length}{fmt}", raw)
    return GGUFArray(name, length, tuple(map(bool, values)) if name == "bool" else values)
