"""LoRA adapters and control vectors that are damaged, hostile, or for another model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from amulet_local import errors
from amulet_local.llama.adapter_files import BaseModel, check_lora, read_control_vector
from amulet_local.llama.gguf import read_header
from amulet_local.params.scaled_files import ScaledFile, scaled_files
from tests.adapter_making import Pair, random_pairs, write_gguf, write_lora, write_vector

N_EMBD, N_LAYERS = 64, 3
TARGET = "blk.0.attn_q.weight"
BASE = BaseModel(
    architecture="llama",
    tensor_shapes={
        TARGET: (64, 32),
        "blk.0.ffn_up_exps.weight": (64, 96, 4),
        "blk.0.attn_norm.weight": (64,),
        "token_embd.weight": (64, 1000),
        "output.weight": (64, 1000),
    },
    n_layers=N_LAYERS,
    n_embd=N_EMBD,
)
TIED = BaseModel(
    architecture="llama",
    tensor_shapes={"token_embd.weight": (64, 1000)},
    n_layers=N_LAYERS,
    n_embd=N_EMBD,
)


def array(*shape: int) -> np.ndarray:
    return np.ones(shape, dtype=np.float32)


def lora_of(path: Path, **changes: Any) -> Path:
    pairs = {TARGET: Pair(array(4, 64), array(32, 4)), **changes.pop("pairs", {})}
    return write_lora(path, pairs, **changes)


def refused(path: Path | str, reason: str, base: BaseModel = BASE) -> None:
    with pytest.raises(errors.AdapterFileError, match=reason) as caught:
        check_lora(str(path), base)
    assert "\n" not in str(caught.value)


def test_a_sound_lora_passes_with_the_norms_that_are_left_out(tmp_path: Path) -> None:
    assert check_lora(str(lora_of(tmp_path / "a.gguf")), BASE) == ()
    experts = {"blk.0.ffn_up_exps.weight": Pair(array(4, 2, 64), array(4, 96, 2))}
    embeddings = {"token_embd.weight": Pair(array(1000, 8), array(64, 8))}
    norms = {"blk.0.attn_norm.weight": array(64)}
    path = lora_of(tmp_path / "b.gguf", pairs={**experts, **embeddings}, more=norms)
    (note,) = check_lora(str(path), BASE)
    assert "1 norm" in note


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "qwen2"}, "architecture 'qwen2'"),
        ({"architecture": "controlvector"}, "control vector"),
        ({"keys": {"general.type": "model"}}, "general.type is 'model'"),
        ({"keys": {"general.type": 7}}, "general.type is 7"),
        ({"keys": {"adapter.type": 1.5}}, "adapter.type is 1.5"),
        ({"keys": {"adapter.lora.alpha": "8"}}, "adapter.lora.alpha is '8'"),
        ({"keys": {"adapter.lora.alpha": 8}}, "adapter.lora.alpha is 8"),
        ({"alpha": float("nan")}, "adapter.lora.alpha is nan"),
        ({"alpha": float("inf")}, "adapter.lora.alpha is inf"),
        ({"keys": {"adapter.alora.invocation_tokens": [1, 2]}}, "activated LoRA"),
        ({"pairs": {TARGET: Pair(array(4, 63), array(32, 4))}}, "don't go with"),
        ({"pairs": {TARGET: Pair(array(4, 64), array(33, 4))}}, "don't go with"),
        ({"pairs": {TARGET: Pair(array(4, 64), array(32, 5))}}, "don't go with"),
        ({"pairs": {TARGET: Pair(array(64, 4), array(4, 32))}}, "don't go with"),
        ({"pairs": {TARGET: Pair(array(2, 4, 64), array(32, 4))}}, "don't go with"),
        ({"pairs": {TARGET: Pair(array(4, 64), array(5, 3, 32, 4))}}, "don't go with"),
        ({"pairs": {"blk.0.attn_norm.weight": Pair(array(4, 64), array(1, 4))}}, "don't go with"),
        ({"pairs": {"token_embd.weight": Pair(array(1000, 8), array(64, 9))}}, "don't go with"),
        ({"pairs": {"blk.9.attn_q.weight": Pair(array(4, 64), array(32, 4))}}, "has no tensor"),
        ({"more": {"blk.1.attn_q.weight.lora_a": array(4, 64)}}, "one matrix of two"),
        ({"more": {TARGET: array(32, 64)}}, "neither .lora_a nor .lora_b"),
        ({"more": {"x.lora_a.lora_a": array(4, 64)}}, "impossible name"),
        ({"more": {".lora_a": array(4, 64), ".lora_b": array(4, 4)}}, "has no tensor ''"),
        (
            {"pairs": {TARGET: Pair(array(4, 64).astype(np.int32), array(32, 4))}},
            "has the type I32",
        ),
    ],
)
def test_a_lora_that_native_code_would_fail_on_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    refused(lora_of(tmp_path / "bad.gguf", **changes), reason)


def test_embeddings_that_are_the_output_as_well_are_refused(tmp_path: Path) -> None:
    path = write_lora(
        tmp_path / "a.gguf", {"token_embd.weight": Pair(array(1000, 8), array(64, 8))}
    )
    check_lora(str(path), BASE)
    refused(path, "output as well", TIED)


def test_a_lora_without_matrices_is_refused(tmp_path: Path) -> None:
    refused(write_lora(tmp_path / "a.gguf", {}), "no LoRA matrices")


def test_what_isnt_a_gguf_file_is_refused(tmp_path: Path, shallow_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "text.gguf").write_text("hello" * 100)
    os.mkfifo(tmp_path / "pipe.gguf")
    refused(tmp_path / "none.gguf", "no LoRA adapter at")
    for name in ("empty.gguf", "text.gguf", "pipe.gguf", ""):
        refused(tmp_path / name, "can't be used|not a GGUF file")
    refused("/dev/zero", "not a GGUF file")
    refused(shallow_path, "general.type")
    with pytest.raises(errors.AdapterFileError, match="no control vector"):
        read_control_vector([ScaledFile(str(shallow_path))], BASE)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    whole = lora_of(tmp_path / "whole.gguf").read_bytes()
    vector = write_vector(tmp_path / "vector.gguf", {1: array(N_EMBD)}).read_bytes()
    cut = tmp_path / "cut.gguf"
    for data, read in (
        (whole, lambda: check_lora(str(cut), BASE)),
        (vector, lambda: read_control_vector([ScaledFile(str(cut))], BASE)),
    ):
        for n in range(0, len(data) - 1, 7):
            cut.write_bytes(data[:n])
            with pytest.raises(errors.AdapterFileError):
                read()


def test_a_scale_that_a_direction_doesn_t_bear_is_refused(tmp_path: Path) -> None:
    large = {"direction.1": np.full(64, 3e38, np.float32)}
    path = str(write_gguf(tmp_path / "large.gguf", "controlvector", {}, large))
    for files in ([ScaledFile(path, 1000.0)], [ScaledFile(path)] * 2):
        with pytest.raises(errors.AdapterFileError, match="layer 1 isn't finite at the scale"):
            read_control_vector(files, BASE)


@pytest.mark.parametrize(
    ("directions", "reason"),
    [
        ({"direction.1": array(63)}, "64 numbers"),
        ({"direction.1": array(2, 64)}, "64 numbers"),
        ({"direction.1": array(64).astype(np.float16)}, "ggml type 1"),
        ({"direction.3": array(64)}, "layer 3"),
        ({"direction.9999": array(64)}, "layer 9999"),
        ({"direction.99999": array(64)}, "no direction.N"),
        ({"direction.0": array(64)}, "no direction.N"),
        ({"direction.01": array(64)}, "no direction.N"),
        ({"direction.-1": array(64)}, "no direction.N"),
        ({"direction.": array(64)}, "no direction.N"),
        ({"bias.1": array(64)}, "no direction.N"),
        ({"direction.1": array(64) * np.inf}, "isn't finite"),
        ({}, "no directions"),
    ],
)
def test_a_control_vector_for_something_else_is_refused(
    tmp_path: Path, directions: dict[str, np.ndarray], reason: str
) -> None:
    path = write_gguf(tmp_path / "bad.gguf", "controlvector", {}, directions)
    with pytest.raises(errors.AdapterFileError, match=reason):
        read_control_vector([ScaledFile(str(path))], BASE)


def test_the_data_of_a_tensor_is_what_the_gguf_package_reads(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    directions = {n: draw.normal(size=N_EMBD).astype(np.float32) for n in (1, 2)}
    path = write_vector(tmp_path / "a.gguf", directions)
    tensors = {item.name: item for item in gguf.GGUFReader(path).tensors}
    for name, tensor in read_header(path).tensors.items():
        assert (tensor.start, tensor.n_bytes) == (
            tensors[name].data_offset,
            tensors[name].n_bytes,
        )
    read = read_control_vector([ScaledFile(str(path), 2.0)], BASE)
    np.testing.assert_array_equal(read, 2 * np.stack([directions[1], directions[2]]))


def test_a_number_after_the_last_colon_is_the_scale() -> None:
    given = [
        "a.gguf",
        "b.gguf:0.5",
        "C:\\c.gguf",
        "C:\\d.gguf:-2e-1",
        "e:f",
        ("g:1", 3),
        ".gguf:1.",
    ]
    assert scaled_files(given) == (
        ("a.gguf", 1.0),
        ("b.gguf", 0.5),
        ("C:\\c.gguf", 1.0),
        ("C:\\d.gguf", -0.2),
        ("e:f", 1.0),
        ("g:1", 3.0),
        (".gguf", 1.0),
    )
    assert scaled_files(Path("a:1")) == (("a:1", 1.0),)


FUZZ = """
import os, sys
import numpy as np
from amulet_local import errors
from amulet_local.llama.adapters import Adapters, AdapterSettings
from amulet_local.llama.context import Context, ContextSettings, Span
from amulet_local.llama.model import Model
from amulet_local.llama.stop_flag import StopFlag
from amulet_local.params.scaled_files import ScaledFile

model = Model(sys.argv[1])
mutated = sys.argv[2] + ".mutated"
counts = {"used": 0, "refused": 0}
for source, kind in ((sys.argv[2], "lora"), (sys.argv[3], "control_vectors")):
    whole = open(source, "rb").read()
    draw = np.random.default_rng(7)
    header = whole.rfind(b"direction" if kind != "lora" else b"lora_") + 60
    for _ in range(int(sys.argv[4])):
        data = bytearray(whole)
        for _ in range(draw.integers(1, 4)):
            where = draw.integers(0, header)
            data[where] = draw.integers(0, 256)
        open(mutated, "wb").write(data)
        try:
            adapters = Adapters(model, AdapterSettings(**{kind: (ScaledFile(mutated),)}))
        except errors.AdapterFileError:
            counts["refused"] += 1
            continue
        context = Context(
            model,
            ContextSettings(n_ctx=8, n_batch=8, n_outputs=1, cache_type_k="f16",
                            cache_type_v="f16", flash_attention="off", adapters=adapters),
            StopFlag(),
        )
        context.set_threads(1, 1)
        context.decode([Span(0, 0, [1, 2, 3], 1)])
        context.close()
        adapters.close()
        counts["used"] += 1
model.close()
print(counts["used"], counts["refused"])
"""


def fuzz(model: Path, folder: Path, n_mutations: int) -> None:
    shapes = {"blk.0.attn_q.weight": (576, 576), "blk.3.ffn_up.weight": (1536, 576)}
    lora = write_lora(folder / "lora.gguf", random_pairs(shapes, rank=4, size=0.1, seed=1))
    vector = write_vector(folder / "vector.gguf", {1: array(576), 3: array(576)})
    command = [sys.executable, "-c", FUZZ, model, lora, vector, n_mutations]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    used, rejected = map(int, done.stdout.split())
    assert used + rejected == 2 * n_mutations
    assert min(used, rejected) > 0.02 * n_mutations


def test_mutated_adapters_never_end_the_process(shallow_path: Path, tmp_path: Path) -> None:
    fuzz(shallow_path, tmp_path, 150)


@pytest.mark.slow
def test_many_mutated_adapters_never_end_the_process(shallow_path: Path, tmp_path: Path) -> None:
    fuzz(shallow_path, tmp_path, 4000)
