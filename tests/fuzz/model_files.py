"""Model files and adapters, mutated: the header check, llama.cpp itself, adapters of a small model.

A file is a list of keys and tensors as often as bytes, so that many mutants are sound.
"""

from __future__ import annotations

import ctypes
import math
import os
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from amulet_local.common.errors import AdapterFileError, ModelFileError
from amulet_local.llama.adapters import Adapters, AdapterSettings
from amulet_local.llama.context import Context, ContextSettings, Span
from amulet_local.llama.generative import reason_not_generative
from amulet_local.llama.gguf import parse_header, read_header
from amulet_local.llama.gguf.tensors import BLOCKS
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.params.scaled_files import ScaledFile
from tests.fuzz.mutation import NUMBERS, changed_bytes
from tests.fuzz.target import REFUSED, Target, refused
from tests.small_gguf import (
    ARR,
    F32,
    LETTERS,
    PACK,
    STR,
    TOKENS,
    Shape,
    array,
    packed,
    scalar,
    small_llama,
    tensor,
    text,
    write_small,
)

TOKENIZERS = ("gpt2", "llama", "t5", "bert", "rwkv", "gemma4")
VOCABULARIES = {
    "llama": [*TOKENS[:3], *(f"<0x{byte:02X}>" for byte in range(256)), *TOKENS[3:]],
    "rwkv": [*LETTERS, *"0123456789", "ab", "Ab"],
}
"""Of those that not every vocabulary will do for."""
NAMES = ("", "plamo2", "none", "test", "whitespace", "hybriddna", "gpt-2", "llama-bpe", "glm4")
"""Of further tokenizers and of their kinds."""
SAMPLE = "Hello, world! 1 + 1 = 2 \n\tÄpfel 好 🦙".encode()
ZEROS = bytes(1 << 12)
"""What is behind a header that is tried alone."""
READ, RAN = "read", "ran"


Entry = tuple[bytes, Shape, int, int]
"""A tensor: its name, shape, type and offset."""


@dataclass(frozen=True)
class File:
    """A file before it is written.

    Attributes:
        keys: names and packed values.
        tensors: in their order.
        data: of all tensors.
    """

    keys: tuple[tuple[bytes, bytes], ...]
    tensors: tuple[Entry, ...]
    data: bytes

    def header(self) -> bytes:
        """All but the data."""
        head = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        head += b"".join(text(key) + value for key, value in self.keys)
        head += b"".join(tensor(*entry) for entry in self.tensors)
        return head + bytes(-len(head) % 32)


def file_of(keys: dict[str, Any], shapes: dict[str, Shape], seed: int = 3) -> File:
    """A sound file in F32, with random weights."""
    tensors = laid_out([(name.encode(), shape, 0, 0) for name, shape in shapes.items()])
    n_weights = sum(math.prod(shape) for shape in shapes.values())
    weights = np.random.default_rng(seed).normal(0, 0.3, n_weights).astype(np.float32)
    packed_keys = tuple((key.encode(), packed(value)) for key, value in keys.items())
    return File(packed_keys, tuple(tensors), weights.tobytes())


@cache
def models() -> tuple[File, ...]:
    """Small llamas with each kind of tokenizer."""
    found = []
    for name in TOKENIZERS:
        keys, shapes = small_llama()
        tokens = VOCABULARIES.get(name, TOKENS)
        keys |= {"tokenizer.ggml.model": name, "tokenizer.ggml.tokens": tokens}
        keys |= {"tokenizer.ggml.token_type": [2, 3, 3] + [1] * (len(tokens) - 3)}
        keys |= {"tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.seperator_token_id": 2}
        keys |= {"tokenizer.chat_template": "{{ messages }}", "llama.vocab_size": len(tokens)}
        if name not in ("gpt2", "rwkv"):
            keys["tokenizer.ggml.scores"] = [-float(n) for n in range(len(tokens))]
        if name == "llama":
            keys["tokenizer.ggml.token_type"] = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
        found.append(file_of(keys, {**shapes, "token_embd.weight": (64, len(tokens))}))
    return tuple(found)


@cache
def headers() -> tuple[File, ...]:
    """Models of two tensors and few tokens, for the check alone."""
    found = []
    for name in ("gpt2", "t5", "gemma4", "rwkv"):
        keys: dict[str, Any] = {"general.architecture": "llama", "general.alignment": 32}
        keys |= {"llama.block_count": 1, "llama.embedding_length": 32, "llama.rope.freq_base": 1e4}
        keys |= {"llama.attention.head_count": 2, "llama.attention.head_count_kv": [1]}
        keys |= {"tokenizer.ggml.model": name, "tokenizer.ggml.tokens": TOKENS[:7]}
        keys |= {"tokenizer.ggml.token_type": [1] * 7, "tokenizer.ggml.bos_token_id": 1}
        keys |= {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.scores": [0.0] * 7}
        keys |= {"tokenizer.ggml.merges": ["a b"], "tokenizer.chat_template": "{{ messages }}"}
        if name == "rwkv":
            keys["tokenizer.ggml.tokens"] = [*"abcdef", "ab"]
        found.append(file_of(keys, {"token_embd.weight": (32, 7), "output_norm.weight": (32,)}))
    return tuple(found)


@cache
def adapters() -> tuple[File, ...]:
    """A LoRA and a control vector for the small llama."""
    keys = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    shapes: dict[str, Shape] = {}
    for name, (n_in, n_out) in {"attn_q": (64, 64), "ffn_down": (96, 64)}.items():
        target = f"blk.0.{name}.weight"
        shapes |= {f"{target}.lora_a": (n_in, 4), f"{target}.lora_b": (4, n_out)}
    lora = file_of({**keys, "adapter.lora.alpha": 8.0}, shapes)
    vector = file_of({"general.architecture": "controlvector"}, {"direction.1": (64,)})
    return lora, vector


def changed_file(file: File, rng: random.Random) -> File:
    """A file with keys and tensors changed, doubled, renamed or left out."""
    keys, tensors = list(file.keys), list(file.tensors)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(keys))
        match rng.randrange(8 if len(tensors) else 5):
            case 0:
                del keys[at]
            case 1:
                keys.insert(at, rng.choice(keys))
            case 2:
                keys[at] = (changed_bytes(keys[at][0], rng), keys[at][1])
            case 3 | 4:
                keys[at] = (keys[at][0], changed_value(keys[at][1], rng))
            case 5:
                at = rng.randrange(len(tensors))
                name, shape, kind, offset = tensors[at]
                sizes = [*shape]
                sizes[rng.randrange(len(sizes))] = rng.choice((*NUMBERS, 32, 64, 256))
                tensors[at] = (name, tuple(sizes[: rng.randrange(1, 5)]), kind, offset)
            case 6:
                at = rng.randrange(len(tensors))
                name, shape, _, offset = tensors[at]
                tensors[at] = (name, shape, rng.randrange(45), offset)
            case _:
                at = rng.randrange(len(tensors))
                name, shape, kind, offset = tensors[at]
                tensors[at] = (changed_bytes(name, rng), shape, kind, offset)
        if not keys:
            break
    if rng.random() < 0.7:
        tensors = laid_out(tensors)
    return File(tuple(keys), tuple(tensors), file.data)


def laid_out(tensors: Sequence[Entry]) -> list[Entry]:
    """The same tensors one after the other, so far as their sizes are known."""
    found, offset = [], 0
    for name, shape, kind, _ in tensors:
        found.append((name, shape, kind, offset & (2**64 - 1)))
        n_elements, n_bytes = BLOCKS.get(kind, (1, 4))
        n_bytes = math.prod(shape) // n_elements * n_bytes
        offset += n_bytes + -n_bytes % 32
    return found


def changed_value(value: bytes, rng: random.Random) -> bytes:
    """Another value of the same type, a changed one, or one of another type."""
    kind = int.from_bytes(value[:4], "little")
    if kind in PACK and rng.random() < 0.7:
        code = PACK[kind]
        if code in "fd":
            number = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38, 1e-45))
            return struct.pack("<I" + code, kind, number)
        raw = (rng.choice(NUMBERS) & (2**64 - 1)).to_bytes(8, "little")
        return value[:4] + raw[: struct.calcsize(code)]
    if kind == STR and rng.random() < 0.5:
        return scalar(STR, rng.choice((*TOKENIZERS, *NAMES)))
    if kind == ARR and rng.random() < 0.3:
        return array(F32, [rng.random()] * rng.randrange(70))
    if rng.random() < 0.1:
        return scalar(4, rng.choice(NUMBERS) & 0xFFFFFFFF)
    return value[:4] + changed_bytes(value[4:], rng)


def mutant(files: Sequence[File], rng: random.Random, *, with_data: bool = True) -> bytes:
    """One of the files whose header is changed, as a structure, as bytes, or both."""
    file, how = rng.choice(files), rng.random()
    if how < 0.6:
        file = changed_file(file, rng)
    header = file.header()
    if how > 0.5:
        header = changed_bytes(header, rng)
    return header + file.data if with_data else header


class Headers(Target):
    """The check of a model's header, in memory: a million take minutes."""

    def make(self, rng: random.Random) -> bytes:
        """A header; zeros follow it where it is tried."""
        return mutant(headers(), rng, with_data=False)

    def run(self, data: bytes) -> str:
        """Read or refused."""
        try:
            parse_header(data + ZEROS, "'a.gguf'")
        except ModelFileError as error:
            return refused(error)
        return READ


class Native(Target):
    """What passes the check, loaded and run by llama.cpp: in a process that may die of it."""

    def __init__(self, folder: Path) -> None:
        import llama_cpp

        self._path = folder / "native.gguf"
        self._llama: Any = llama_cpp
        self._quiet = llama_cpp.llama_log_callback(lambda level, said, data: None)
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p())
        llama_cpp.llama_backend_init()

    def make(self, rng: random.Random) -> bytes:
        """A whole file."""
        return mutant(models(), rng)

    def run(self, data: bytes) -> str:
        """Refused, or loaded or refused by llama.cpp."""
        self._path.write_bytes(data)
        try:
            if reason_not_generative(read_header(self._path)):
                return REFUSED
        except ModelFileError:
            return REFUSED
        llama = self._llama
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        model = llama.llama_model_load_from_file(os.fsencode(self._path), params)
        if not model:
            return READ
        try:
            return self._use(model)
        finally:
            llama.llama_model_free(model)

    def _use(self, model: Any) -> str:
        llama = self._llama
        vocabulary = llama.llama_model_get_vocab(model)
        tokens, piece = (llama.llama_token * 64)(), ctypes.create_string_buffer(256)
        llama.llama_tokenize(vocabulary, SAMPLE, len(SAMPLE), tokens, 64, True, True)
        n_tokens = llama.llama_vocab_n_tokens(vocabulary)
        for token in range(min(n_tokens, 100)):
            llama.llama_token_to_piece(vocabulary, token, piece, 256, 0, True)
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = 64, 8, 8
        params.n_threads = params.n_threads_batch = 1
        context = llama.llama_init_from_model(model, params)
        if not context:
            return READ
        for ids in ([1, 2, 3], [1]):
            given = (llama.llama_token * len(ids))(*(min(i, n_tokens - 1) for i in ids))
            llama.llama_decode(context, llama.llama_batch_get_one(given, len(ids)))
        llama.llama_free(context)
        return RAN


class AdapterFiles(Target):
    """LoRA adapters and control vectors; what passes the check is run by llama.cpp."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "adapter.gguf"
        self._model = Model(write_small(folder / "base.gguf", *small_llama(), seed=3))
        self._flag = StopFlag()

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def make(self, rng: random.Random) -> bytes:
        """A whole file."""
        return mutant(adapters(), rng)

    def run(self, data: bytes) -> str:
        """Refused, read as a control vector, or run as a LoRA."""
        self._path.write_bytes(data)
        file = (ScaledFile(str(self._path), 1.0),)
        try:
            Adapters(self._model, AdapterSettings(control_vectors=file)).close()
        except AdapterFileError as error:
            refused(error)
        else:
            return READ
        try:
            loaded = Adapters(self._model, AdapterSettings(lora=file))
        except AdapterFileError as error:
            return refused(error)
        context = Context(self._model, replace(CONTEXT, adapters=loaded), self._flag)
        context.set_threads(1, 1)
        context.decode([Span(0, 0, [1, 2, 3], 1)])
        context.close()
        loaded.close()
        return RAN


CONTEXT = ContextSettings(
    n_ctx=64,
    n_batch=8,
    n_outputs=1,
    cache_type_k="f16",
    cache_type_v="f16",
    flash_attention="off",
)
