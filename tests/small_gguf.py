"""Writes GGUF files of a few kilobytes, byte by byte: sound ones, and such as no writer makes.

Knows nothing about what is done with them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

U8, I8, U32, I32, F32, BOOL, STR, ARR, U64 = 0, 1, 4, 5, 6, 7, 8, 9, 10
PACK = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}

Shape = tuple[int, ...]

N_VOCAB = 64
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TOKENS = ["<unk>", "<s>", "</s>", *LETTERS, *map(str, range(N_VOCAB - 3 - len(LETTERS)))]
VOCABULARY: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "default",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [2, 3, 3] + [1] * (N_VOCAB - 3),
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}


def text(value: str | bytes) -> bytes:
    """A string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: Any) -> bytes:
    """A value with its type."""
    body = text(value) if kind == STR else struct.pack("<" + PACK[kind], value)
    return struct.pack("<I", kind) + body


def array(kind: int, values: Any) -> bytes:
    """An array with its types."""
    one = text if kind == STR else lambda value: struct.pack("<" + PACK[kind], value)
    return struct.pack("<IIQ", ARR, kind, len(values)) + b"".join(map(one, values))


def tensor(name: str | bytes, shape: Shape = (32,), kind: int = 0, offset: int = 0) -> bytes:
    """An entry of the tensor table."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def packed(value: Any) -> bytes:
    """A value as a model has it: whole numbers in 32 bits; bytes are taken as they are."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, list):
        return array(_kind(value[0], small=True), value)
    return scalar(_kind(value, small=False), value)


def _kind(value: Any, *, small: bool) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return I32 if small or value < 0 else U32
    return F32 if isinstance(value, float) else STR


def write_small(
    path: Path, keys: Mapping[str, Any], shapes: Mapping[str, Shape], *, seed: int | None = None
) -> Path:
    """Write a model in F32, with random weights or with zeros, a sparse file; returns its path."""
    offset, table = 0, []
    for name, shape in shapes.items():
        table.append(tensor(name, shape, F32_TENSOR, offset))
        n_bytes = 4
        for n in shape:
            n_bytes *= n
        offset += n_bytes + -n_bytes % 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(table), len(keys))
    head += b"".join(text(key) + packed(value) for key, value in keys.items()) + b"".join(table)
    with path.open("wb") as file:
        file.write(head + bytes(-len(head) % 32))
        if seed is not None:
            weights = np.random.default_rng(seed).normal(0, 0.3, offset // 4)
            file.write(weights.astype(np.float32).tobytes())
        file.truncate(len(head) + -len(head) % 32 + offset)
    return path


F32_TENSOR = 0


def small_llama() -> tuple[dict[str, Any], dict[str, Shape]]:
    """Keys and shapes of a llama of two layers with four heads of 16."""
    sizes = {"context_length": 64, "embedding_length": 64, "block_count": 2}
    sizes |= {"feed_forward_length": 96, "attention.head_count": 4, "attention.head_count_kv": 2}
    keys: dict[str, Any] = {"general.architecture": "llama", **VOCABULARY}
    keys |= {f"llama.{key}": value for key, value in sizes.items()}
    keys["llama.attention.layer_norm_rms_epsilon"] = 1e-5
    shapes: dict[str, Shape] = {"token_embd.weight": (64, N_VOCAB), "output_norm.weight": (64,)}
    for layer in range(2):
        for name, shape in {
            "attn_norm": (64,),
            "attn_q": (64, 64),
            "attn_k": (64, 32),
            "attn_v": (64, 32),
            "attn_output": (64, 64),
            "ffn_norm": (64,),
            "ffn_gate": (64, 96),
            "ffn_up": (64, 96),
            "ffn_down": (96, 64),
        }.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
    return keys, shapes
