"""Reads published weights: a folder of safetensors files, each tensor when it is asked for.

The format: 8 bytes with the length of a JSON header (little-endian), the header with each tensor's
type, shape and place, the data. Files come from the network, so nothing in them is believed before
it is checked. Knows nothing about what the tensors are for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import FileAccessError, ModelFileError

MAX_HEADER_BYTES = 64 << 20
MAX_JSON_BYTES = 64 << 20
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
}


@dataclass(frozen=True, kw_only=True)
class _TensorPlace:
    file: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    n_bytes: int


class Weights:
    """The tensors of a folder, by name."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Args:
            folder: with model.safetensors, or with the parts that an index lists.

        Raises:
            FileAccessError: a file can't be read.
            ModelFileError: there are no weights in it, or a header is damaged.
        """
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            parts = read_json(index).get("weight_map")
            if not isinstance(parts, dict) or not all(isinstance(p, str) for p in parts.values()):
                raise ModelFileError(f"{index.name} has no weight_map: download it again")
            names = sorted(set(parts.values()))
            if any(Path(name).name != name for name in names):
                raise ModelFileError(f"{index.name} names a file outside of its folder")
        else:
            names = ["model.safetensors"]
        if not (folder / names[0]).is_file():
            raise ModelFileError(f"{folder} has no {names[0]}: it isn't a folder of weights")
        self._places: dict[str, _TensorPlace] = {}
        for name in names:
            self._places.update(_read_header(folder / name))

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __iter__(self) -> Any:
        return iter(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape.

        Raises:
            ModelFileError: there is none of that name.
        """
        return self._place(name).shape

    def read(self, name: str) -> NDArray[np.float32]:
        """A tensor as float32.

        Raises:
            FileAccessError: the file can't be read.
            ModelFileError: there is no tensor of that name, or it isn't of floats.
        """
        place = self._place(name)
        if place.kind == "I64":
            raise ModelFileError(f"the tensor {name} is of integers, not of weights")
        try:
            with place.file.open("rb") as file:
                file.seek(place.offset)
                raw = np.frombuffer(file.read(place.n_bytes), dtype=_TYPES[place.kind])
        except OSError as error:
            raise FileAccessError(f"can't read {place.file}: {error.strerror}") from None
        if place.kind == "BF16":  # the upper half of a float32
            wide = raw.astype(np.uint32)
            wide <<= np.uint32(16)
            raw = wide.view(np.float32)
        return raw.astype(np.float32, copy=False).reshape(place.shape)

    def _place(self, name: str) -> _TensorPlace:
        try:
            return self._places[name]
        except KeyError:
            raise ModelFileError(
                f"the weights have no tensor {name}: is it another model?"
            ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object in a file.

    Raises:
        FileAccessError: it can't be read.
        ModelFileError: it isn't one.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JSON_BYTES + 1)
    except OSError as error:
        raise FileAccessError(f"can't read {path}: {error.strerror}") from None
    try:
        if len(raw) > MAX_JSON_BYTES:
            raise ValueError
        found = json.loads(raw)
    except (ValueError, RecursionError):
        raise ModelFileError(f"{path.name} isn't JSON: download it again") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{path.name} isn't a JSON object: download it again")
    return found


def _read_header(path: Path) -> dict[str, _TensorPlace]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            if n_header > min(MAX_HEADER_BYTES, size - 8):
                raise ModelFileError(f"{path.name} is cut off, or not a safetensors file")
            raw = file.read(n_header)
    except OSError as error:
        raise FileAccessError(f"can't read {path}: {error.strerror}") from None
    try:
        header = json.loads(raw)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _place(path, entry, 8 + n_header, size) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelFileError(f"{path.name} has a damaged header: download it again") from None


def _place(path: Path, entry: dict[str, Any], start: int, size: int) -> _TensorPlace:
    kind, (first, last) = entry["dtype"], entry["data_offsets"]
    shape = tuple(entry["shape"])
    if kind not in _TYPES or any(type(n) is not int or n < 0 for n in (*shape, first, last)):
        raise ValueError
    n_elements = 1
    for n in shape:
        n_elements *= n
    if last - first != n_elements * _TYPES[kind].itemsize or start + last > size:
        raise ValueError
    return _TensorPlace(
        file=path, kind=kind, shape=shape, offset=start + first, n_bytes=last - first
    )
