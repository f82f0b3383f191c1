"""A file's header as a whole: opened, read within its limits, checked.

Knows nothing about llama_cpp, templates or how a model is run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from amulet_local.common.errors import FileAccessError, ModelFileError, ModelNotFoundError
from amulet_local.llama.gguf.cursor import Cursor
from amulet_local.llama.gguf.hyperparameters import check_hyperparameters, check_layers
from amulet_local.llama.gguf.metadata import MetadataValue, read_metadata
from amulet_local.llama.gguf.native_limits import check_sizes, check_tokenizer
from amulet_local.llama.gguf.tensors import DEFAULT_ALIGNMENT, GGUFTensor, read_tensors

MAX_KEYS, MAX_TENSORS = 1 << 14, 1 << 16  # far beyond any model, and read within a second

Result = TypeVar("Result")


@dataclass(frozen=True)
class GGUFHeader:
    """What a GGUF file says about itself.

    Attributes:
        version: 2 or 3.
        n_tensors: tensors in this file; 0 in a file that holds a vocabulary only.
        metadata: every key. Bytes of a string that aren't UTF-8 become U+FFFD.
        alignment: of the tensors, in bytes.
        data_offset: where the tensor data starts, in bytes from the start of the file.
        tensors: the tensor table by name, in the file's order.
    """

    version: int
    n_tensors: int
    metadata: Mapping[str, MetadataValue]
    alignment: int
    data_offset: int
    tensors: Mapping[str, GGUFTensor]

    @property
    def architecture(self) -> str:
        """`general.architecture`, such as "llama"."""
        return str(self.metadata["general.architecture"])


def read_header(path: str | os.PathLike[str], *, is_further: bool = False) -> GGUFHeader:
    """Read and check the header of a GGUF file; the tensor data is not read.

    Args:
        is_further: whether it is another than the first file of a split model, which has tensors
            and says nothing of the model.

    Raises:
        ModelNotFoundError: there is no such file.
        FileAccessError: the system doesn't let us read it (no permission, a disk error).
        ModelFileError: it isn't a regular file, or not a sound GGUF file.
    """
    shown = repr(os.fsdecode(path))
    return _opened(
        path, lambda fd: _parse(Cursor(fd, shown, os.fstat(fd).st_size), is_further=is_further)
    )


def parse_header(data: bytes, shown: str) -> GGUFHeader:
    """Check the header of a file that is in memory.

    Args:
        data: all of the file.
        shown: what messages call it.

    Raises:
        ModelFileError: it isn't a sound GGUF file.
    """
    cursor = Cursor(-1, shown, len(data))
    cursor.data = data
    return _parse(cursor)


def read_data(path: str | os.PathLike[str], tensors: Iterable[GGUFTensor]) -> list[bytes]:
    """The data of some tensors of a file whose header was read.

    Args:
        tensors: of its header; together no more than the caller wants in memory.

    Raises:
        As `read_header`; ModelFileError also where the file has become shorter since.
    """

    def read(fd: int) -> list[bytes]:
        found = []
        for tensor in tensors:
            os.lseek(fd, tensor.start, os.SEEK_SET)
            chunks, missing = [], tensor.n_bytes
            while missing and (chunk := os.read(fd, missing)):
                chunks.append(chunk)
                missing -= len(chunk)
            if missing:
                raise ModelFileError(f"{os.fsdecode(path)!r} became shorter while it was read")
            found.append(b"".join(chunks))
        return found

    return _opened(path, read)


def _opened(path: str | os.PathLike[str], read: Callable[[int], Result]) -> Result:
    """What `read` makes of the open file; what the system says becomes one of our errors."""
    shown = repr(os.fsdecode(path))
    try:
        fd = _open_regular(path, shown)
        try:
            return read(fd)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFoundError(f"no model file at {shown}: check the path") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FileAccessError(f"can't read {shown}: {reason}") from error


def _open_regular(path: str | os.PathLike[str], shown: str) -> int:
    try:
        mode = os.stat(path).st_mode
    except ValueError as error:  # a NUL in the path
        raise ModelNotFoundError(f"no model file at {shown}: no path has a NUL in it") from error
    if stat.S_ISREG(mode):
        # Not blocking, in case a FIFO took the file's place just now.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        fd = os.open(path, flags)
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        os.close(fd)
    kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
    raise ModelFileError(f"{shown} is {kind}, not a GGUF file: give the path of the .gguf file")


def _parse(cursor: Cursor, *, is_further: bool = False) -> GGUFHeader:
    _check_magic(cursor)
    version = cursor.u32()
    if version in (2 << 24, 3 << 24):
        cursor.fail("it is a big-endian GGUF file: get the little-endian one")
    if version not in (2, 3):
        cursor.fail(f"its GGUF version is {version}, only 2 and 3 can be read: get a newer file")
    cursor.place = "its entry counts"
    n_tensors, n_keys = cursor.u64(), cursor.u64()
    if n_keys > MAX_KEYS or n_tensors > MAX_TENSORS:
        cursor.damaged(f"it claims {n_keys} keys and {n_tensors} tensors")
    metadata = read_metadata(cursor, n_keys)
    if is_further:
        if "split.count" not in metadata:
            cursor.fail("split.count is missing: it is no part of a split model")
    else:
        _check_model(cursor, metadata, has_tensors=n_tensors > 0)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        cursor.damaged(f"general.alignment is {alignment!r}, not a power of two")
    data_offset, tensors = read_tensors(cursor, n_tensors, alignment)
    if tensors and "split.count" not in metadata:
        check_layers(cursor, metadata, tensors.keys())
    return GGUFHeader(
        version,
        n_tensors,
        MappingProxyType(metadata),
        alignment,
        data_offset,
        MappingProxyType(tensors),
    )


def _check_model(
    cursor: Cursor, metadata: Mapping[str, MetadataValue], *, has_tensors: bool
) -> None:
    """Refuse what says of a model what llama.cpp can't take."""
    architecture = metadata.get("general.architecture")
    if architecture is None and metadata.get("split.no"):
        cursor.fail("it is a further part of a split model: give the first one, 00001-of-...")
    if not isinstance(architecture, str) or not architecture or "\0" in architecture:
        cursor.fail("general.architecture is missing or not a name: it is no model file")
    check_tokenizer(cursor, metadata)
    check_sizes(cursor, metadata, architecture)
    if has_tensors:  # of a file with a vocabulary alone they aren't read
        check_hyperparameters(cursor, metadata, architecture)


def _check_magic(cursor: Cursor) -> None:
    if cursor.n_file_bytes == 0:
        cursor.fail("it is empty: download it again")
    head = cursor.take(min(256, cursor.n_file_bytes))
    if head.startswith(b"GGUF"):
        cursor.pos = 4
        return
    text = head.lstrip().lower()
    if b"GGUF".startswith(head):
        looks = f"a GGUF file cut off after {len(head)} bytes"
    elif head[:4] in (b"lmgg", b"fmgg", b"tjgg", b"algg"):
        looks = "an old GGML or GGJT file, from before GGUF"
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= cursor.n_file_bytes:
        looks = "a safetensors file, which must be converted to GGUF"
    elif text.startswith(b"version https://git-lfs"):
        looks = "a Git LFS pointer: run `git lfs pull`"
    elif text.startswith((b"<!doctype", b"<html", b"<?xml", b"{", b"[")):
        looks = "a web page or a server's answer that was saved in place of the model"
    elif head.startswith((b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")):
        looks = "an archive or a PyTorch checkpoint"
    elif not head.strip(b"\0"):
        looks = "zero bytes, left by a download that never finished"
    else:
        looks = f"{head[:4]!r}"
    cursor.fail(f"it doesn't start with 'GGUF' but looks like {looks}; download the .gguf file")
