"""Reads the tensor table and holds it against the file: types, shapes, places.

Knows nothing about metadata. What a table promises has to be in the file, one tensor after the
other, without gaps, where llama.cpp can map it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from amulet_local.llama.gguf.cursor import Cursor, cut

DEFAULT_ALIGNMENT = 32
NATIVE_ALIGNMENT = 32  # TENSOR_ALIGNMENT: llama.cpp aborts on a mapped tensor that isn't
MAX_NAME_BYTES = 63  # GGML_MAX_NAME is 64 with the terminating NUL
MAX_DIMS = 4
INT64_MAX = 2**63 - 1

# fmt: off
# ggml tensor type -> (elements in a block, bytes in a block). The gaps are types that llama.cpp
# removed (4, 5, 31-33, 36-38): it doesn't load them either.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}
# fmt: on
NOT_WEIGHTS = {9: "Q8_1", 15: "Q8_K", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64"}
"""Types that llama.cpp has no product with: it calls what isn't there, or aborts."""
ADDENDS = ("_norm.weight", ".bias")
"""Ends of names of what is added to or multiplied with each element: always in F32."""
TABLE = "ffn_gate_tid2eid.weight"
"""The end of the one name whose whole numbers are looked up and not multiplied."""


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """An entry of the tensor table.

    Attributes:
        shape: elements in each dimension, the contiguous one first, without trailing ones.
        kind: ggml's number of its type, 0 for F32.
        start: where its data starts, in bytes from the start of the file.
        n_bytes: length of its data.
    """

    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int


def read_tensors(
    cursor: Cursor, n_tensors: int, alignment: int
) -> tuple[int, dict[str, GGUFTensor]]:
    """Check the tensor table; returns where the tensor data starts, in bytes, and the table."""
    tensors: dict[str, GGUFTensor] = {}  # `start` counts from the tensor data at first
    for i in range(n_tensors):
        cursor.place = f"tensor {i + 1} of {n_tensors}"
        name = cursor.name(MAX_NAME_BYTES)
        if name in tensors:
            cursor.damaged(f"the tensor {cut(name)} is there twice")
        n_dims = cursor.u32()
        if n_dims > MAX_DIMS:
            cursor.damaged(f"the tensor {cut(name)} has {n_dims} dimensions, over 4")
        *shape, kind, offset = struct.unpack(f"<{n_dims}QIQ", cursor.take(8 * n_dims + 12))
        n_bytes = _n_tensor_bytes(cursor, name, shape, kind)
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        tensors[name] = GGUFTensor(tuple(shape), kind, offset, n_bytes)
    if n_tensors == 0:
        return cursor.pos, {}
    data_offset = cursor.pos + -cursor.pos % alignment
    expected = 0
    for name, tensor in tensors.items():
        offset, n_bytes = tensor.start, tensor.n_bytes
        if offset != expected:
            relation = "overlaps the one before" if offset < expected else "leaves a gap before it"
            if offset % alignment:
                relation = f"isn't aligned to {alignment}"
            cursor.damaged(
                f"the tensor {cut(name)} at offset {offset} {relation} (expected {expected})"
            )
        if (data_offset + offset) % NATIVE_ALIGNMENT:
            cursor.fail(
                f"the tensor {cut(name)} isn't aligned to {NATIVE_ALIGNMENT} bytes: "
                f"general.alignment is {alignment}, convert the model with {DEFAULT_ALIGNMENT}"
            )
        end = data_offset + offset + n_bytes
        if end > cursor.n_file_bytes:
            cursor.fail(
                f"it has {cursor.n_file_bytes} bytes, but the tensor {cut(name)} ends at {end}; "
                "the download is incomplete: download it again"
            )
        expected = offset + n_bytes + -n_bytes % alignment
        tensors[name] = replace(tensor, start=data_offset + offset)
    return data_offset, tensors


def _n_tensor_bytes(cursor: Cursor, name: str, shape: list[int], kind: int) -> int:
    n_elements = 1
    for n in shape:
        n_elements *= n
    if not 0 < n_elements <= INT64_MAX:
        cursor.damaged(f"the tensor {cut(name)} has the impossible shape {shape}")
    if kind not in BLOCKS:
        cursor.fail(
            f"the tensor {cut(name)} has the type {kind}, unknown here: "
            "get the model in another quantization"
        )
    if kind in NOT_WEIGHTS and not name.endswith(TABLE):
        cursor.fail(f"the tensor {cut(name)} has the type {NOT_WEIGHTS[kind]}, which no weight has")
    if kind and name.endswith(ADDENDS):
        cursor.fail(f"the tensor {cut(name)} has the type {kind}, and llama.cpp needs F32 there")
    n_block_elements, n_block_bytes = BLOCKS[kind]
    n_row = shape[0] if shape else 1
    if n_row % n_block_elements:
        cursor.damaged(
            f"the tensor {cut(name)} has rows of {n_row}, not whole blocks of {n_block_elements}"
        )
    return n_elements // n_block_elements * n_block_bytes
