"""Chooses whether llama.cpp computes products with K-quants tile by tile.

It does so for what isn't rearranged for the processor (Q6_K, Q5_K, ...), from eight columns on, and
rearranges a tile of weights each time. A prompt pays for that; eight or sixteen answers that are
computed together don't, above all at the product with the vocabulary. docs/decisions.md has the
figures. llama.cpp looks at the environment at a process's first product, and never again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from amulet_local.llama import library
from amulet_local.llama.gguf.tensors import GGUFTensor

VARIABLE = "GGML_CPU_TILED_MM"
_OFF = "00"
"""What this package writes; any other value is a user's own."""

_IS_ON = re.compile(r"\s*[+-]?0*[1-9]")

REARRANGED = frozenset({2, 12, 20, 39})
"""Q4_0, Q4_K, IQ4_NL and MXFP4, by ggml's numbers: what is rearranged for AVX2."""

TILED = frozenset({10, 11, 13, 14, 16, 17, 18, 19, 21, 22, 23, 29})
"""Q2_K to Q6_K and IQ1 to IQ4 without those: what tiles are for."""

_WANTED, _UNMEASURED = {"CPU: AVX2", "CPU: REPACK"}, "CPU: AVX512_VNNI"
"""Where tiles were measured; with VNNI they have instructions of their own."""


def choose(tensors: Iterable[GGUFTensor]) -> None:
    """Switch tiles off for a model on the CPU most of whose weights are rearranged.

    A model that has nothing for tiles leaves all as it is.

    Args:
        tensors: all of its tensors.
    """
    weights = [tensor for tensor in tensors if len(tensor.shape) > 1]
    has_tiled = any(tensor.kind in TILED for tensor in weights)
    if not has_tiled or os.environ.get(VARIABLE, _OFF) != _OFF:
        return
    os.environ.pop(VARIABLE, None)
    n_bytes = sum(tensor.n_bytes for tensor in weights)
    n_rearranged = sum(tensor.n_bytes for tensor in weights if tensor.kind in REARRANGED)
    features = set(library.build_features())
    if 2 * n_rearranged > n_bytes and features >= _WANTED and _UNMEASURED not in features:
        os.environ[VARIABLE] = _OFF


def are_off() -> bool:
    """Whether the environment switches them off; llama.cpp reads a number that isn't 0 as on."""
    value = os.environ.get(VARIABLE)
    return value is not None and _IS_ON.match(value) is None
