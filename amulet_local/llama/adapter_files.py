"""Checks LoRA adapters before native code sees them, and reads control vectors itself.

llama.cpp aborts the process on a LoRA with keys of another type or with matrices that don't go
together, so everything that it asserts on is looked at here first. Control vectors aren't loaded by
its library at all. Knows nothing about llama_cpp.

Source of the facts: llama.cpp's llama-adapter.cpp, build_lora_mm and build_inp_embd in
llama-graph.cpp, and common_control_vector_load in common.cpp.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import AdapterFileError, ModelFileError, ModelNotFoundError
from amulet_local.common.readable import printable
from amulet_local.llama import native
from amulet_local.llama.gguf import GGUFHeader, GGUFTensor, read_data, read_header
from amulet_local.params.scaled_files import ScaledFile

_F32 = native.CACHE_TYPES["f32"]
_LORA_TYPES = {native.CACHE_TYPES[name]: name.upper() for name in ("f32", "f16", "bf16", "q8_0")}
_DIRECTION = re.compile(r"direction\.([1-9][0-9]{0,3})")
_A, _B = ".lora_a", ".lora_b"


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """What an adapter has to fit.

    Attributes:
        architecture: such as "llama".
        tensor_shapes: by name, the contiguous dimension first.
        n_layers: layers.
        n_embd: numbers in the state that goes from layer to layer.
    """

    architecture: str
    tensor_shapes: Mapping[str, tuple[int, ...]]
    n_layers: int
    n_embd: int


def check_lora(path: str, base: BaseModel) -> tuple[str, ...]:
    """Make sure that llama.cpp can take a LoRA adapter for this model.

    Returns:
        What the user should know about it.

    Raises:
        AdapterFileError: there is no such file, it is no LoRA, or one for another model.
        FileAccessError: the system doesn't let us read it.
    """
    header = _header(path, "LoRA adapter")
    if header.architecture == "controlvector":
        _fail(path, "it is a control vector, no LoRA adapter: give it as one")
    for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora")):
        if (found := header.metadata.get(key)) != wanted:
            _fail(path, f"{key} is {_short(found)}, not {wanted!r}: it is no LoRA adapter")
    alpha = header.metadata.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, float) or not math.isfinite(alpha):
        _fail(path, f"adapter.lora.alpha is {_short(alpha)}, not a finite float")
    if "adapter.alora.invocation_tokens" in header.metadata:
        _fail(
            path, "it is an activated LoRA, at work after certain tokens only, which can't be had"
        )
    if header.architecture != base.architecture:
        _fail(
            path,
            f"it is for the architecture {_short(header.architecture)}, and the model is of "
            f"{base.architecture!r}: use the adapter of this model",
        )
    ignored = _check_matrices(path, header.tensors, base)
    if ignored:
        return (f"{printable(os.path.basename(path))}: llama.cpp leaves out its {ignored} norms",)
    return ()


def _check_matrices(path: str, tensors: Mapping[str, GGUFTensor], base: BaseModel) -> int:
    """Check each pair of matrices; returns how many tensors llama.cpp leaves out."""
    n_ignored = 0
    names = set()
    for name in tensors:
        target, suffix = name[: -len(_A)], name[-len(_A) :]
        if suffix not in (_A, _B):
            if not name.endswith("_norm.weight"):
                _fail(path, f"its tensor {_short(name)} is neither {_A} nor {_B} of another")
            n_ignored += 1
            continue
        if _A in target or _B in target:
            _fail(path, f"its tensor {_short(name)} has an impossible name")
        names.add(target)
    if not names:
        _fail(path, "it has no LoRA matrices")
    for target in sorted(names):
        pair = [tensors.get(target + suffix) for suffix in (_A, _B)]
        if pair[0] is None or pair[1] is None:
            _fail(path, f"of {_short(target)} it has one matrix of two; it is incomplete")
        _check_pair(path, target, pair[0], pair[1], base.tensor_shapes)
    return n_ignored


def _check_pair(
    path: str, target: str, a: GGUFTensor, b: GGUFTensor, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    shape = shapes.get(target)
    if shape is None:
        _fail(path, f"the model has no tensor {_short(target)}: it is for another model")
    for tensor in (a, b):
        if tensor.kind not in _LORA_TYPES:
            _fail(
                path,
                f"its matrices for {_short(target)} have ggml type {tensor.kind}; "
                f"{', '.join(_LORA_TYPES.values())} can be used",
            )
    rank = b.shape[0] if b.shape else 1
    wanted_a, wanted_b = (*shape[:1], rank, *shape[2:]), (rank, *shape[1:])
    if target.endswith("token_embd.weight"):  # flipped: rows of A are looked up by token
        if target == "token_embd.weight" and "output.weight" not in shapes:
            _fail(path, "it changes embeddings that are the model's output as well, which can't be")
        wanted_a, wanted_b = (rank, *shape[1:]), (rank, *shape[:1])
    if len(shape) < 2 or _padded(a.shape) != wanted_a or _padded(b.shape) != wanted_b:
        _fail(
            path,
            f"its matrices {list(a.shape)} and {list(b.shape)} don't go with the model's "
            f"{_short(target)} {list(shape)}: it is for another model",
        )


def _padded(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) > 1 else (*shape, 1)


def read_control_vector(files: Sequence[ScaledFile], base: BaseModel) -> NDArray[np.float32]:
    """The sum of control vectors, each times its scale; float32, shape (n_layers - 1, n_embd).

    Row 0 is for layer 1: layer 0 takes none. What no file has a direction for is 0.

    Raises:
        AdapterFileError: there is no such file, it is no control vector, or one for another model.
        FileAccessError: the system doesn't let us read it.
    """
    total = np.zeros((base.n_layers - 1, base.n_embd), dtype=np.float32)
    for path, scale in files:
        directions = _directions(path, base)
        try:
            data = read_data(path, directions.values())
        except (ModelFileError, ModelNotFoundError) as error:
            raise AdapterFileError(str(error)) from error
        for layer, raw in zip(directions, data, strict=True):
            values = np.frombuffer(raw, dtype="<f4")
            if not np.isfinite(values).all():
                _fail(path, f"its direction for layer {layer} isn't finite")
            with np.errstate(over="ignore", invalid="ignore"):
                total[layer - 1] += values * np.float32(scale)
            if not np.isfinite(total[layer - 1]).all():
                _fail(path, f"its direction for layer {layer} isn't finite at the scale {scale:g}")
    return total


def _directions(path: str, base: BaseModel) -> dict[int, GGUFTensor]:
    """The checked directions of a file by layer."""
    header = _header(path, "control vector")
    if header.architecture != "controlvector":
        _fail(
            path, f"its architecture is {_short(header.architecture)}, so it is no control vector"
        )
    found = {}
    for name, tensor in header.tensors.items():
        match = _DIRECTION.fullmatch(name)
        if match is None:
            _fail(path, f"its tensor {_short(name)} is no direction.N with a layer N from 1 on")
        layer = int(match[1])
        if layer >= base.n_layers:
            _fail(
                path,
                f"it has a direction for layer {layer}, and this model takes them for layers 1 to "
                f"{base.n_layers - 1}: it is for another model",
            )
        if tensor.kind != _F32 or tensor.shape != (base.n_embd,):
            _fail(
                path,
                f"{name} has shape {list(tensor.shape)} and ggml type {tensor.kind}, and this "
                f"model takes {base.n_embd} numbers in F32: it is for another model",
            )
        found[layer] = tensor
    if not found:
        _fail(path, "it has no directions")
    return found


def _header(path: str, what: str) -> GGUFHeader:
    try:
        return read_header(path)
    except ModelNotFoundError as error:
        raise AdapterFileError(f"no {what} at {path!r}: check the path") from error
    except ModelFileError as error:
        raise AdapterFileError(f"{what}: {error}") from error


def _fail(path: str, why: str) -> NoReturn:
    raise AdapterFileError(f"{path!r} can't be used: {why}")


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
