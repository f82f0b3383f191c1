"""Estimates the memory that contexts take, before llama.cpp allocates it.

Knows nothing about rows or prompts. Linux grants memory that it doesn't have and ends the process
when it is used, so a context that can't fit has to be refused before it is created.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from amulet_local.llama.gguf import GGUFArray, GGUFHeader

_BITS_PER_VALUE = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""Bits per value of llama.cpp's types, block scales included."""


def kv_cache_bytes(
    header: GGUFHeader, n_ctx: int, cache_type_k: str, cache_type_v: str
) -> int | None:
    """Size of the KV cache of one sequence of `n_ctx` tokens, in bytes.

    None where the architecture keeps something else (recurrent layers, compressed attention) or the
    header doesn't say enough.
    """
    arch = header.architecture

    def number(key: str) -> int | None:
        value = header.metadata.get(f"{arch}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    if any(f"{arch}.{key}" in header.metadata for key in ("ssm.state_size", "wkv.head_size")):
        return None
    if f"{arch}.attention.kv_lora_rank" in header.metadata:
        return None
    n_layers, n_heads, n_embd = (
        number("block_count"),
        number("attention.head_count"),
        number("embedding_length"),
    )
    if not (n_layers and n_heads and n_embd):
        return None
    heads_kv = header.metadata.get(f"{arch}.attention.head_count_kv", n_heads)
    if isinstance(heads_kv, GGUFArray):  # one number a layer
        if heads_kv.values is None:
            return None
        n_heads_kv_all_layers = sum(value for value in heads_kv.values if isinstance(value, int))
    elif isinstance(heads_kv, int):
        n_heads_kv_all_layers = n_layers * heads_kv
    else:
        return None
    key_length = number("attention.key_length") or n_embd // n_heads
    value_length = number("attention.value_length") or n_embd // n_heads
    bits = key_length * _BITS_PER_VALUE[cache_type_k] + value_length * _BITS_PER_VALUE[cache_type_v]
    return int(n_heads_kv_all_layers * n_ctx * bits / 8)


def available_bytes() -> int | None:
    """Memory that a process could still take without swapping, None where that isn't known."""
    limits = [_linux_available(), _cgroup_available(), _physical()]
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _linux_available() -> int | None:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> int | None:
    folder = Path("/sys/fs/cgroup")
    limit: Any = "".join(_lines(folder / "memory.max")).strip()
    used: Any = "".join(_lines(folder / "memory.current")).strip()
    if not (limit.isdigit() and used.isdigit()):
        return None
    cached = [line.split()[1] for line in _lines(folder / "memory.stat") if "inactive_file" in line]
    return max(0, int(limit) - int(used) + sum(int(value) for value in cached[:1]))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
