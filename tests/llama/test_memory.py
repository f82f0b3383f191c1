"""Estimates of memory against what llama.cpp itself reports."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import pytest

from amulet_local import errors, load
from amulet_local.llama import library, memory
from amulet_local.llama.gguf import read_header


@pytest.mark.parametrize(
    ("cache_type", "flash_attention"),
    [("f32", "off"), ("f16", "off"), ("q8_0", "on"), ("q4_0", "on")],
)
def test_estimate_equals_llama_cpps_own_figure(
    shallow_path: Path, cache_type: str, flash_attention: str
) -> None:
    with load(
        shallow_path,
        n_ctx=1024,
        cache_type_k=cache_type,
        cache_type_v=cache_type,
        flash_attention=flash_attention,
    ) as engine:
        text = "".join(line for _, line in library.log._lines)
        estimate = memory.kv_cache_bytes(engine.model.header, 1024, cache_type, cache_type)
    reported = re.search(r"KV buffer size\s*=\s*([\d.]+) MiB", text)
    assert reported is not None
    assert estimate is not None
    assert estimate / 2**20 == pytest.approx(float(reported.group(1)), rel=0.01)


def test_context_that_cant_fit_is_refused_before_anything_is_allocated(shallow_path: Path) -> None:
    header = read_header(shallow_path)
    per_token = memory.kv_cache_bytes(header, 1, "f16", "f16")
    available = memory.available_bytes()
    assert per_token is not None
    assert available is not None
    n_ctx = min(2**24, available // per_token)
    with pytest.raises(errors.ContextCreationError, match=f"2 rows with {n_ctx} tokens"):
        load(shallow_path, n_ctx=n_ctx)


def test_available_memory_is_some_of_the_machines(shallow_path: Path) -> None:
    import psutil

    available = memory.available_bytes()
    assert available is not None
    assert 0 < available <= psutil.virtual_memory().total


def test_large_pieces_go_back_to_the_system_whatever_was_freed_before() -> None:
    """glibc's own limit follows what is freed: then the second one would come out of a heap."""
    c = ctypes.CDLL(None)
    if not hasattr(c, "mallinfo2") or any(name.startswith("MALLOC_") for name in os.environ):
        pytest.skip("not glibc, or somebody set limits")
    c.malloc.restype, c.malloc.argtypes, c.free.argtypes = (
        ctypes.c_void_p,
        (ctypes.c_size_t,),
        (ctypes.c_void_p,),
    )
    c.mallinfo2.restype = MallocInfo
    library.start()
    c.free(c.malloc(24 << 20))
    before = c.mallinfo2().hblks
    piece = c.malloc(16 << 20)
    assert c.mallinfo2().hblks == before + 1
    c.free(piece)
    assert c.mallinfo2().hblks == before


class MallocInfo(ctypes.Structure):
    """What mallinfo2 returns; hblks is the number of pieces that are mapped by themselves."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("rest", ctypes.c_size_t * 6),
    )
