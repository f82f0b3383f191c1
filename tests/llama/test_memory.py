"""Estimates of memory against what llama.cpp itself reports."""

from __future__ import annotations

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
