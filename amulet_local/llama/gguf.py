"""A bounded check of a GGUF file's header, before native code sees the file.

llama.cpp calls abort() on some damaged files, and a native abort can't be caught. So this module
walks the header in pure Python with exact integers and accepts only what llama.cpp's own reader
accepts, less what is known to kill or hang that reader. Of the tensor data it reads what it is
asked for, of small files. It knows nothing about llama_cpp, templates or how a model is run.

Sources of the facts: the GGUF specification (ggml/docs/gguf.md) and llama.cpp's gguf.cpp, ggml.h,
llama-vocab.cpp, llama-model.cpp and llama-arch.cpp. A file that passes can still be refused by
llama.cpp (an unknown architecture, a missing tensor): that is an ordinary error.
"""

from __future__ import annotations

import math
import os
import re
import stat
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NoReturn, TypeAlias, TypeVar

from amulet_local.common.errors import FileAccessError, ModelFileError, ModelNotFoundError

__all__ = ["GGUFArray", "GGUFHeader", "GGUFTensor", "read_data", "read_header"]

MAX_ENTRIES = 1_000_000  # keys and tensors together
MAX_HEADER_BYTES = 64 * 2**20
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63  # GGML_MAX_NAME is 64 with the terminating NUL
MAX_DIMS = 4
MAX_KEPT_ELEMENTS = 1024  # longer arrays keep their type and length only
MAX_TOKEN_BYTES = 4096  # llama.cpp's tries recurse once a byte: long tokens overflow the stack
MAX_VOCAB_SIZE = 2**21  # without a tokenizer llama.cpp allocates as many as the file says
MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
NATIVE_ALIGNMENT = 32  # TENSOR_ALIGNMENT: llama.cpp aborts on a mapped tensor that isn't

FIRST_READ_BYTES = 8 * 2**20  # the vocabulary of most models is in it
DEFAULT_ALIGNMENT = 32
INT64_MAX = 2**63 - 1
BYTE_TOKEN_TYPE = 6  # LLAMA_TOKEN_TYPE_BYTE

# fmt: off
# GGUF value type -> (name, struct code). Strings (8) and arrays (9) have no fixed size.
_TYPES = {
    0: ("u8", "B"), 1: ("i8", "b"), 2: ("u16", "H"), 3: ("i16", "h"), 4: ("u32", "I"),
    5: ("i32", "i"), 6: ("f32", "f"), 7: ("bool", "B"), 10: ("u64", "Q"), 11: ("i64", "q"),
    12: ("f64", "d"),
}
# ggml tensor type -> (elements in a block, bytes in a block). The gaps are types that llama.cpp
# removed (4, 5, 31-33, 36-38): it doesn't load them either.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}
# fmt: on
_STRING, _ARRAY = 8, 9
_SCALARS = {code: struct.Struct("<" + fmt) for code, (_, fmt) in _TYPES.items()}
_U64 = struct.Struct("<Q")
_PAST_THE_END = (struct.error, OverflowError, IndexError)  # of unpack_from
_RWKV_UNIT = re.compile(rb"\\x..|\\.|.", re.DOTALL)


@dataclass(frozen=True)
class GGUFArray:
    """An array in the metadata.

    Attributes:
        element_type: "u8", "i8", ..., "f64", "bool" or "str".
        length: number of elements.
        values: the elements, or None where there are more than 1024 of them.
    """

    element_type: str
    length: int
    values: tuple[bool | int | float | str, ...] | None


Result = TypeVar("Result")
MetadataValue: TypeAlias = bool | int | float | str | GGUFArray


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """An entry of the tensor table.

    Attributes:
        shape: elements in each dimension, the contiguous one first, without trailing ones.
        kind: ggml's number of its type, 0 for F32.
        start: where its data starts, in bytes from the start of the file.
        n_bytes: length of its data.
    """

    shape: tuple[int, ...]
    kind: int
    start: int
    n_bytes: int


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


def read_header(path: str | os.PathLike[str]) -> GGUFHeader:
    """Read and check the header of a GGUF file; the tensor data is not read.

    Raises:
        ModelNotFoundError: there is no such file.
        FileAccessError: the system doesn't let us read it (no permission, a disk error).
        ModelFileError: it isn't a regular file, or not a sound GGUF file.
    """
    shown = repr(os.fsdecode(path))
    return _opened(path, lambda fd: _parse(_Cursor(fd, shown, os.fstat(fd).st_size)))


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


class _Cursor:
    """A position in the header, and as much of the header as was read so far.

    `place` names what is being read, for messages. `tokens` and `token_types` hold the vocabulary
    until it was checked; nothing keeps them after that.
    """

    def __init__(self, fd: int, shown: str, n_file_bytes: int) -> None:
        self.data = b""
        self.pos = 0
        self.place = "its first bytes"
        self.tokens: list[bytes] = []
        self.token_types = b""
        self.n_file_bytes = n_file_bytes
        self._fd = fd
        self._shown = shown

    def fail(self, what: str) -> NoReturn:
        raise ModelFileError(f"{self._shown} can't be used: {what}")

    def damaged(self, what: str) -> NoReturn:
        self.fail(f"{what}; the file is damaged or its download incomplete: download it again")

    def need(self, n_bytes: int) -> None:
        """Make sure that the next n_bytes are in `data`."""
        end = self.pos + n_bytes
        if end <= len(self.data):
            return
        if end > self.n_file_bytes:
            self.damaged(f"it ends after {self.n_file_bytes} bytes, inside {self.place}")
        if end > MAX_HEADER_BYTES:
            self.fail(f"its header is over {MAX_HEADER_BYTES} bytes, in {self.place}: too large")
        target = max(end, 2 * len(self.data), FIRST_READ_BYTES)
        target = min(target, self.n_file_bytes, MAX_HEADER_BYTES)
        chunks = [self.data]
        n_read = len(self.data)
        while n_read < target and (chunk := os.read(self._fd, target - n_read)):
            chunks.append(chunk)
            n_read += len(chunk)
        self.data = b"".join(chunks)
        if end > n_read:
            self.damaged(f"it shrank to {n_read} bytes while it was being read")

    def take(self, n_bytes: int) -> bytes:
        self.need(n_bytes)
        start, self.pos = self.pos, self.pos + n_bytes
        return self.data[start : self.pos]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def name(self, max_bytes: int) -> str:
        """The next string, as a key or a tensor name."""
        n_bytes = self.u64()
        if n_bytes > max_bytes:
            self.damaged(f"{self.place} has a name of {n_bytes} bytes, over {max_bytes}")
        raw = self.take(n_bytes)
        if b"\0" in raw:  # native code would see another, shorter name
            self.fail(f"the name of {self.place} has a NUL in it: {_cut(raw)}")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.damaged(f"the name of {self.place} isn't UTF-8: {_cut(raw)}")

    def skip_strings(self, count: int) -> None:
        data, pos, unpack = self.data, self.pos, _U64.unpack_from
        for _ in range(count):
            try:
                pos += 8 + unpack(data, pos)[0]
            except _PAST_THE_END:
                self.pos = pos
                self.need(8)
                data = self.data
                pos += 8 + unpack(data, pos)[0]
        self.pos = pos
        self.need(0)

    def strings(self, count: int) -> list[bytes]:
        data, pos, unpack = self.data, self.pos, _U64.unpack_from
        found: list[bytes] = []
        append = found.append
        try:
            for _ in range(count):
                start = pos + 8
                pos = start + unpack(data, pos)[0]
                append(data[start:pos])
        except _PAST_THE_END:
            pos = len(data) + 1
        if pos > len(data):
            start = self.pos
            self.skip_strings(count)  # reads on, or fails
            self.pos = start
            return self.strings(count)
        self.pos = pos
        return found


def _parse(cursor: _Cursor) -> GGUFHeader:
    _check_magic(cursor)
    version = cursor.u32()
    if version in (2 << 24, 3 << 24):
        cursor.fail("it is a big-endian GGUF file: get the little-endian one")
    if version not in (2, 3):
        cursor.fail(f"its GGUF version is {version}, only 2 and 3 can be read: get a newer file")
    cursor.place = "its entry counts"
    n_tensors, n_keys = cursor.u64(), cursor.u64()
    if n_tensors + n_keys > MAX_ENTRIES:
        cursor.damaged(f"it claims {n_keys} keys and {n_tensors} tensors")
    metadata = _read_metadata(cursor, n_keys)
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture or "\0" in architecture:
        cursor.fail("general.architecture is missing or not a name: it is no model file")
    _check_tokenizer(cursor, metadata)
    _check_limits(cursor, metadata, architecture)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        cursor.damaged(f"general.alignment is {alignment!r}, not a power of two")
    data_offset, tensors = _read_tensors(cursor, n_tensors, alignment)
    return GGUFHeader(
        version,
        n_tensors,
        MappingProxyType(metadata),
        alignment,
        data_offset,
        MappingProxyType(tensors),
    )


def _check_magic(cursor: _Cursor) -> None:
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


def _read_metadata(cursor: _Cursor, n_keys: int) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {}
    for i in range(n_keys):
        cursor.place = f"key {i + 1} of {n_keys}"
        key = cursor.name(MAX_KEY_BYTES)
        if not key:
            cursor.damaged(f"{cursor.place} has an empty name")
        if key in metadata:
            cursor.damaged(f"the key {_cut(key)} is there twice")
        cursor.place = f"the value of {_cut(key)}"
        code = cursor.u32()
        if code == _ARRAY:
            metadata[key] = _read_array(cursor, key)
        elif code == _STRING:
            metadata[key] = cursor.take(cursor.u64()).decode("utf-8", "replace")
        elif code not in _TYPES:
            cursor.damaged(f"{cursor.place} has the unknown type {code}")
        else:
            value = _SCALARS[code].unpack(cursor.take(_SCALARS[code].size))[0]
            if _TYPES[code][0] == "bool":
                if value > 1:
                    cursor.damaged(f"{cursor.place} is {value}, not true or false")
                value = bool(value)
            elif key == "general.alignment" and _TYPES[code][0] != "u32":
                cursor.damaged(f"{cursor.place} has the type {_TYPES[code][0]}, not u32")
            metadata[key] = value
    return metadata


def _read_array(cursor: _Cursor, key: str) -> GGUFArray:
    code, length = cursor.u32(), cursor.u64()
    kept = length <= MAX_KEPT_ELEMENTS
    if code == _STRING:
        if length * 8 > cursor.n_file_bytes - cursor.pos:
            cursor.damaged(f"{cursor.place} claims {length} strings, more than fit")
        if key == "tokenizer.ggml.tokens" and length > MAX_VOCAB_SIZE:
            cursor.fail(f"it has {length} tokens, over {MAX_VOCAB_SIZE}: too large")
        if not kept and key != "tokenizer.ggml.tokens":
            cursor.skip_strings(length)
            return GGUFArray("str", length, None)
        strings = cursor.strings(length)
        if key == "tokenizer.ggml.tokens":
            cursor.tokens = strings
        texts = tuple(raw.decode("utf-8", "replace") for raw in strings) if kept else None
        return GGUFArray("str", length, texts)
    if code not in _TYPES:
        kind = "an array of arrays" if code == _ARRAY else f"an array of the unknown type {code}"
        cursor.damaged(f"{cursor.place} is {kind}")
    name, fmt = _TYPES[code]
    raw = cursor.take(length * _SCALARS[code].size)
    if name == "bool" and raw.translate(None, b"\0\1"):
        cursor.damaged(f"{cursor.place} has elements that are not true or false")
    if key == "tokenizer.ggml.token_type":
        cursor.token_types = raw
    if not kept:
        return GGUFArray(name, length, None)
    values = struct.unpack(f"<{length}{fmt}", raw)
    return GGUFArray(name, length, tuple(map(bool, values)) if name == "bool" else values)


def _check_tokenizer(cursor: _Cursor, metadata: Mapping[str, MetadataValue]) -> None:
    prefix = "tokenizer.ggml."
    for key in ("model", "pre"):
        value = metadata.get(prefix + key, "")
        if not isinstance(value, str) or "\0" in value:
            cursor.damaged(f"{prefix}{key} is {_cut(value)}, not a name")
    allowed = {"tokens": ("str",), "scores": ("f32", "i32"), "token_type": ("i32",)}
    allowed["merges"] = ("str",)
    lengths = {}
    for key, types in allowed.items():
        if (array := metadata.get(prefix + key)) is None:
            continue
        if not isinstance(array, GGUFArray) or array.element_type not in types:
            kind = f"a {array.element_type} array" if isinstance(array, GGUFArray) else "no array"
            cursor.damaged(f"{prefix}{key} is {kind}, not an array of {types[0]}")
        lengths[key] = array.length
    n_tokens = lengths.get("tokens")
    if n_tokens is None:
        return
    for key in ("scores", "token_type"):
        if lengths.get(key, n_tokens) != n_tokens:
            cursor.damaged(f"{prefix}{key} has {lengths[key]} entries for {n_tokens} tokens")
    _check_tokens(cursor, str(metadata.get(prefix + "model", "")))
    cursor.tokens, cursor.token_types = [], b""


def _check_tokens(cursor: _Cursor, model: str) -> None:
    """Refuse the vocabularies that llama.cpp's tokenizers abort or hang on."""
    tokens = cursor.tokens
    if not tokens:
        cursor.damaged("its vocabulary is empty")
    longest = max(map(len, tokens))
    if longest > MAX_TOKEN_BYTES:
        cursor.damaged(f"a token has {longest} bytes, over {MAX_TOKEN_BYTES}")
    distinct = set(tokens)
    if b"" in distinct or b"\0" in b"".join(tokens):
        # llama.cpp ends a token at the first NUL, and names an empty one after its id.
        tokens = [t.partition(b"\0")[0] or b"[EMPTY_%d]" % i for i, t in enumerate(tokens)]
        distinct = set(tokens)
    if len(distinct) != len(tokens):
        n_doubles = len(tokens) - len(distinct)
        cursor.fail(f"its vocabulary has {n_doubles} tokens twice: convert the model again")
    if model == "bert" and BYTE_TOKEN_TYPE in memoryview(cursor.token_types).cast("i"):
        cursor.damaged("its BERT vocabulary has byte tokens, which llama.cpp can't show")
    if model == "rwkv":
        # The tokenizer never ends on a byte that starts some token and is none itself.
        heads = {unit.group() for token in tokens if (unit := _RWKV_UNIT.match(token))}
        if missing := heads - distinct:
            cursor.damaged(f"its RWKV vocabulary lacks the byte {_cut(min(missing))}")
    if model == "plamo2" and (n_bytes := sum(len(t) ** 2 for t in tokens)) > 2**28:
        cursor.fail(f"its PLaMo vocabulary has {n_bytes} bytes of suffixes: too large")


def _check_limits(cursor: _Cursor, metadata: Mapping[str, MetadataValue], arch: str) -> None:
    """Refuse the sizes that llama.cpp asserts on; a value of the wrong type it refuses itself."""

    def value(key: str, default: int = 0) -> int:
        found = metadata.get(f"{arch}.{key}", default)
        values = (found.values or ()) if isinstance(found, GGUFArray) else (found,)
        return max((v for v in values if type(v) is int), default=default)

    n_layers, n_experts = value("block_count", 1), value("expert_count")
    n_used, n_groups = value("expert_used_count"), value("expert_group_count")
    n_groups_used = value("expert_group_used_count")
    sound = {
        "block_count": 0 < n_layers <= MAX_LAYERS,
        "nextn_predict_layers": value("nextn_predict_layers") <= n_layers,
        "vocab_size": value("vocab_size") <= MAX_VOCAB_SIZE,
        "expert_count": n_experts <= MAX_EXPERTS,
        "expert_used_count": n_used <= n_experts and (n_used > 0 or n_experts == 0),
        "expert_group_count": n_groups == 0 or (n_groups < n_experts and n_experts % n_groups == 0),
        "expert_group_used_count": n_groups <= 1 or 0 < n_groups_used < n_groups,
    }
    for key, is_sound in sound.items():
        if not is_sound and not (key.startswith("expert") and arch.startswith("hunyuan")):
            cursor.damaged(f"{arch}.{key} is {value(key)}, outside what llama.cpp takes")
    for norm in ("layer_norm", "layer_norm_rms", "group_norm"):
        epsilon = metadata.get(f"{arch}.attention.{norm}_epsilon", 0.0)
        if isinstance(epsilon, float) and not 0 <= epsilon < math.inf:
            cursor.damaged(f"{arch}.attention.{norm}_epsilon is {epsilon}, not a small number")
    scaling = metadata.get(f"{arch}.rope.scaling.type", "none")
    if isinstance(scaling, str) and scaling not in ("none", "linear", "yarn", "longrope"):
        cursor.fail(f"{arch}.rope.scaling.type is {_cut(scaling)}, unknown to llama.cpp")


def _read_tensors(
    cursor: _Cursor, n_tensors: int, alignment: int
) -> tuple[int, dict[str, GGUFTensor]]:
    """Check the tensor table; returns where the tensor data starts, in bytes, and the table."""
    tensors: dict[str, GGUFTensor] = {}  # `start` counts from the tensor data at first
    for i in range(n_tensors):
        cursor.place = f"tensor {i + 1} of {n_tensors}"
        name = cursor.name(MAX_NAME_BYTES)
        if name in tensors:
            cursor.damaged(f"the tensor {_cut(name)} is there twice")
        n_dims = cursor.u32()
        if n_dims > MAX_DIMS:
            cursor.damaged(f"the tensor {_cut(name)} has {n_dims} dimensions, over 4")
        *shape, kind, offset = struct.unpack(f"<{n_dims}QIQ", cursor.take(8 * n_dims + 12))
        n_bytes = _n_tensor_bytes(cursor, name, shape, kind)
        while len(shape) > 1 and shape[-1] == 1:
            shape.pop()
        tensors[name] = GGUFTensor(tuple(shape), kind, offset, n_bytes)
    if n_tensors == 0:
        return cursor.pos, {}
    data_offset = cursor.pos + -cursor.pos % alignment
    expected = 0
    for name, tensor in tensors.items():
        offset, n_bytes = tensor.start, tensor.n_bytes
        if offset != expected:
            relation = "overlaps the one before" if offset < expected else "leaves a gap before it"
            if offset % alignment:
                relation = f"isn't aligned to {alignment}"
            cursor.damaged(
                f"the tensor {_cut(name)} at offset {offset} {relation} (expected {expected})"
            )
        if (data_offset + offset) % NATIVE_ALIGNMENT:
            cursor.fail(
                f"the tensor {_cut(name)} isn't aligned to {NATIVE_ALIGNMENT} bytes: "
                f"general.alignment is {alignment}, convert the model with {DEFAULT_ALIGNMENT}"
            )
        end = data_offset + offset + n_bytes
        if end > cursor.n_file_bytes:
            cursor.fail(
                f"it has {cursor.n_file_bytes} bytes, but the tensor {_cut(name)} ends at {end}; "
                "the download is incomplete: download it again"
            )
        expected = offset + n_bytes + -n_bytes % alignment
        tensors[name] = replace(tensor, start=data_offset + offset)
    return data_offset, tensors


def _n_tensor_bytes(cursor: _Cursor, name: str, shape: list[int], kind: int) -> int:
    n_elements = 1
    for n in shape:
        n_elements *= n
    if not 0 < n_elements <= INT64_MAX:
        cursor.damaged(f"the tensor {_cut(name)} has the impossible shape {shape}")
    if kind not in _BLOCKS:
        cursor.fail(
            f"the tensor {_cut(name)} has the type {kind}, unknown here: "
            "get the model in another quantization"
        )
    n_block_elements, n_block_bytes = _BLOCKS[kind]
    n_row = shape[0] if shape else 1
    if n_row % n_block_elements:
        cursor.damaged(
            f"the tensor {_cut(name)} has rows of {n_row}, not whole blocks of {n_block_elements}"
        )
    return n_elements // n_block_elements * n_block_bytes


def _cut(value: object) -> str:
    """The repr of a value from the file, short enough for a message."""
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
