"""Writes LoRA adapters, control vectors and models that have them merged in, with the gguf package.

The merging is done by NumPy: W + scale * alpha / r * B A for a LoRA, and the bias of ffn_down for a
control vector, which is added to what a layer passes on, as that bias is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np

from amulet_local.benchmark.random_model import ModelShape
from amulet_local.llama.gguf import read_header
from amulet_local.loading.approved_files import approve
from tests.gguf_edit import copy_edited


class Pair(NamedTuple):
    """Matrices of a LoRA: a of shape (r, in), b of shape (out, r)."""

    a: np.ndarray
    b: np.ndarray

    @property
    def product(self) -> np.ndarray:
        return self.b.astype(np.float64) @ self.a.astype(np.float64) / len(self.a)


def random_pairs(
    shapes: Mapping[str, tuple[int, int]], *, rank: int, size: float, seed: int
) -> Any:
    """A pair for each tensor of a shape (out, in), so that B A is about `size` everywhere."""
    draw = np.random.default_rng(seed)
    deviation = (size / np.sqrt(rank)) ** 0.5
    return {
        name: Pair(
            draw.normal(0, deviation, (rank, n_in)).astype(np.float32),
            draw.normal(0, deviation, (n_out, rank)).astype(np.float32),
        )
        for name, (n_out, n_in) in shapes.items()
    }


def write_gguf(
    path: Path, architecture: str, keys: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Path:
    """Write a GGUF file with text and float keys and tensors in NumPy's order of dimensions."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in keys.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_float32(key, value)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    approve(path)
    return path


def write_lora(
    path: Path,
    pairs: Mapping[str, Pair],
    *,
    alpha: float = 1.0,
    architecture: str = "llama",
    keys: Mapping[str, Any] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write a LoRA adapter."""
    tensors = dict(more or {})
    for name, pair in pairs.items():
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = pair
    known = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": alpha}
    return write_gguf(path, architecture, {**known, **(keys or {})}, tensors)


def write_vector(path: Path, directions: Mapping[int, np.ndarray]) -> Path:
    """Write a control vector with directions by layer."""
    tensors = {f"direction.{layer}": data for layer, data in directions.items()}
    keys = {"controlvector.model_hint": "llama", "controlvector.layer_count": len(directions)}
    return write_gguf(path, "controlvector", keys, tensors)


def with_biases(source: Path, target: Path, shape: ModelShape) -> Path:
    """A model in F32 with a bias of zeros in each layer's ffn_down."""
    zeros = np.zeros(shape.width, dtype=np.float32)
    biases = {f"blk.{layer}.ffn_down.bias": zeros for layer in range(shape.n_layers)}
    copy_edited(source, target, more=biases)
    return target


def merged(source: Path, target: Path, added: Mapping[str, np.ndarray]) -> Path:
    """A model in F32 with something added to some of its tensors, float64, by name."""
    shutil.copyfile(source, target)
    for name, values in added.items():
        tensor = read_header(source).tensors[name]
        data = np.memmap(target, np.float32, "r+", tensor.start, values.shape)
        assert data.nbytes == tensor.n_bytes
        data[...] = data + values
        data.flush()
    return target
