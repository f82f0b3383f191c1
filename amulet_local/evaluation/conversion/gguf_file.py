"""Writes a GGUF file tensor by tensor, whole or not at all. Memory holds the largest tensor.

Knows nothing about architectures.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.common.extras import missing_extra

DIRECT_TYPES = ("F32", "F16", "BF16", "Q8_0")
"""Types that are written as they are made; others need llama.cpp's quantiser afterwards."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor to write.

    Attributes:
        name: GGUF's name.
        shape: rows first.
        load: gives it as float32.
        exact: keep it in F32, as norms and biases are.
    """

    name: str
    shape: tuple[int, ...]
    load: Callable[[], NDArray[np.float32]]
    exact: bool = False


def need_gguf() -> None:
    """Raise MissingExtraError if the package `gguf` isn't installed."""
    if importlib.util.find_spec("gguf") is None:
        raise missing_extra("converting a model needs gguf", "eval")


def write_gguf(
    target: Path,
    architecture: str,
    write_metadata: Callable[[Any], None],
    tensors: Sequence[Tensor],
    type_name: str,
) -> None:
    """Write a file.

    Args:
        target: it is there when all of it is.
        architecture: GGUF's name of it.
        write_metadata: gets the GGUFWriter.
        tensors: in the file's order.
        type_name: of DIRECT_TYPES; a tensor whose rows don't fit its blocks becomes F16.

    Raises:
        FileAccessError: it can't be written.
        InvalidParameterError: another type.
        MissingExtraError: `gguf` isn't installed.
        ModelFileError: a tensor can't be loaded.
    """
    need_gguf()
    import gguf

    if type_name not in DIRECT_TYPES:
        raise InvalidParameterError(f"can't write {type_name}; known: {', '.join(DIRECT_TYPES)}")
    part = target.with_name(f"{target.name}.part")
    try:
        writer = gguf.GGUFWriter(part, architecture)
        try:
            write_metadata(writer)
            types = [_type_of(tensor, type_name) for tensor in tensors]
            for tensor, kind in zip(tensors, types, strict=True):
                n_block, n_block_bytes = gguf.GGML_QUANT_SIZES[kind]
                n_bytes = math.prod(tensor.shape) // n_block * n_block_bytes
                writer.add_tensor_info(
                    tensor.name, tensor.shape, np.dtype(np.float32), n_bytes, raw_dtype=kind
                )
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for tensor, kind in zip(tensors, types, strict=True):
                writer.write_tensor_data(gguf.quantize(tensor.load(), kind))
        finally:
            writer.close()
        private_files.put_in_place(part, target)
    except OSError as error:
        raise FileAccessError(f"can't write {target}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _type_of(tensor: Tensor, type_name: str) -> Any:
    import gguf

    kinds = gguf.GGMLQuantizationType
    if tensor.exact:
        return kinds.F32
    kind = kinds[type_name]
    n_block, _ = gguf.GGML_QUANT_SIZES[kind]
    return kind if tensor.shape[-1] % n_block == 0 else kinds.F16
