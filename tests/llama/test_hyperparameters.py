"""Sizes that llama.cpp would abort on have a named reason; what passes kills no loader.

The fuzz changes a model's sizes and then gives its tensors the shapes that llama.cpp says it
expects, so that what is tried is as consistent as a hostile file would be.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import SamplingParams, load
from amulet_local.common.errors import ModelFileError
from amulet_local.llama import trial
from amulet_local.llama.gguf import read_header
from amulet_local.llama.gguf.hyperparameters import EQUAL_HEADS, ROTATES_WHOLE_HEADS
from tests.small_gguf import N_VOCAB, TOKENS, VOCABULARY, Shape, small_llama, write_small

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "gpt2", "starcoder2", "mamba")
ALSO = (
    *("stablelm", "olmo2", "command-r", "internlm2", "smollm3", "granite", "phi2", "gemma"),
    *("arcee", "baichuan", "bitnet", "bloom", "chatglm", "codeshell", "cogvlm", "deci", "dream"),
    *("ernie4_5", "eurobert", "exaone", "exaone4", "falcon", "glm4", "granitemoe", "hunyuan_vl"),
    *("hunyuan-dense", "jais", "jais2", "llada", "llama-embed", "maincoder", "minicpm", "mistral3"),
    *("modern-bert", "mpt", "nemotron", "neo-bert", "olmo", "openelm", "orion", "pangu-embedded"),
    *("plamo", "plamo3", "qwen", "refact", "seed_oss", "starcoder", "xverse"),
)
"""Those that a small model is made of by its own keys and what llama.cpp asks for."""
SSM = {"ssm.conv_kernel": 4, "ssm.inner_size": 128, "ssm.state_size": 16, "ssm.time_step_rank": 4}
INNER = {"ssm__inner_size": 128}
SIZES = (0, 1, 2, 3, 5, 7, 12, 17, 33, 63, 65, 96, 1000, 65536, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, math.nan, math.inf, 1e38)
KEYS = (
    *("embedding_length", "block_count", "feed_forward_length", "context_length"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
    *("attention.value_length", "rope.dimension_count", "attention.sliding_window"),
    *("expert_count", "expert_used_count", "rope.freq_base", "rope.scaling.factor"),
    *("attention.layer_norm_rms_epsilon", "logit_scale", "nextn_predict_layers", "pooling_type"),
)


def changed(**values: Any) -> tuple[dict[str, Any], dict[str, Shape]]:
    keys, shapes = small_llama()
    return keys | {f"llama.{k.replace('__', '.')}": v for k, v in values.items()}, shapes


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"attention__head_count": 5}, "head_count is 5, which doesn't divide the embedding of 64"),
        ({"attention__head_count": -4}, "head_count is -4, outside 0 to 65536"),
        (
            {"attention__head_count": 0, "attention__head_count_kv": 2},
            "head_count_kv is 2, where there are no heads",
        ),
        ({"attention__head_count_kv": 3}, "head_count_kv is 3, which doesn't divide the 4 heads"),
        ({"attention__head_count_kv": 8}, "head_count_kv is 8, which doesn't divide the 4 heads"),
        ({"attention__head_count_kv": [2, 3]}, "head_count_kv is 3, which doesn't divide"),
        ({"attention__head_count": [4, 6], "attention__head_count_kv": 4}, "divide the 6 heads"),
        ({"attention__key_length": 0}, "key_length is 0, outside 1 to 65536"),
        ({"attention__key_length": 2**31}, "key_length is 2147483648, outside 1 to 65536"),
        ({"attention__value_length": 8}, "heads have keys of 16 and values of 8"),
        (
            {"rope__dimension_count": 0},
            "rope.dimension_count is 0, not an even number from 2 to 16",
        ),
        ({"rope__dimension_count": 15}, "rope.dimension_count is 15, not an even number"),
        ({"rope__dimension_count": 32}, "rope.dimension_count is 32, not an even number from 2"),
        ({"embedding_length": 12}, "rope.dimension_count is 3, not an even number"),
        ({"embedding_length": 0}, "embedding_length is 0, outside 1 to 1048576"),
        ({"context_length": 0}, "context_length is 0, outside 1 to"),
    ],
)
def test_sizes_that_llama_cpp_aborts_on_are_named(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    keys, shapes = changed(**{"attention__head_count_kv": 1, **values})
    with pytest.raises(ModelFileError, match=re.escape(reason)):
        read_header(write_small(tmp_path / "a.gguf", keys, shapes))


@pytest.mark.parametrize(
    ("arch", "values", "reason"),
    [
        ("maincoder", {"attention__value_length": 8}, "maincoder's heads have keys of 16"),
        ("llama-embed", {"attention__value_length": 8}, "llama-embed's heads have keys of 16"),
        ("cogvlm", {"rope__dimension_count": 2}, "rope.dimension_count is 2, not the 16 of a head"),
        ("llada-moe", {}, "llada-moe.expert_count is 0, outside what llama.cpp takes"),
        ("paddleocr", {}, "paddleocr.rope.dimension_sections has nothing above 0"),
        ("qwen2vl", {"rope__dimension_sections": [0, 0, 0, 4]}, "has nothing above 0"),
        ("chameleon", {}, "chameleon's vocabulary has 64 tokens, under 8196"),
        ("jamba", {"ssm__inner_size": 96}, "ssm.inner_size is 96, not twice the embedding"),
        ("jamba", INNER, "head_count_kv is 1, not 0 in some layers and above in others"),
        (
            "lfm2",
            {"attention__head_count_kv": [0, 0]},
            "head_count_kv is [0, 0], not 0 in some layers and above in others",
        ),
        (
            "neo-bert",
            {"attention__head_count_kv": [0, 0]},
            "head_count_kv is [0, 0], and each layer has to have some",
        ),
        (
            "modern-bert",
            {"attention__head_count": [0, 4]},
            "head_count is [0, 4], and each layer has to have some",
        ),
        ("phi2", {"attention__head_count_kv": [1, 2]}, "is [1, 2], not the same in all layers"),
        ("glm4", {"nextn_predict_layers": 2}, "nextn_predict_layers is 2, outside"),
        ("mamba2", {**INNER, "ssm__time_step_rank": 5}, "which doesn't divide the inner size"),
        ("nemotron_h", {**INNER, "ssm__group_count": 0}, "group_count is 0, which doesn't divide"),
    ],
)
def test_what_a_single_architecture_aborts_on_is_named(
    tmp_path: Path, arch: str, values: dict[str, Any], reason: str
) -> None:
    keys, shapes = changed(**{"attention__head_count_kv": 1, **values})
    keys = {key.replace("llama.", f"{arch}."): value for key, value in keys.items()}
    keys["general.architecture"] = arch
    with pytest.raises(ModelFileError, match=re.escape(reason)):
        read_header(write_small(tmp_path / "a.gguf", keys, shapes))


@pytest.mark.lengthy
def test_what_is_just_within_the_limits_of_an_architecture_runs(tmp_path: Path) -> None:
    keys, shapes = changed()
    keys = {key.replace("llama.", "chameleon."): value for key, value in keys.items()}
    n_tokens = 8196
    keys |= {
        "general.architecture": "chameleon",
        "tokenizer.ggml.tokens": [*TOKENS, *(f"#{n}" for n in range(n_tokens - N_VOCAB))],
        "tokenizer.ggml.token_type": [2, 3, 3] + [1] * (n_tokens - 3),
    }
    shapes["token_embd.weight"] = (64, n_tokens)
    for layer in range(2):
        shapes[f"blk.{layer}.attn_q_norm.weight"] = (16, 4)
        shapes[f"blk.{layer}.attn_k_norm.weight"] = (16, 2)
    assert trial.try_out(write_small(tmp_path / "chameleon.gguf", keys, shapes)) is None

    keys, shapes = changed(attention__head_count_kv=[0, 2])
    keys = {key.replace("llama.", "jamba."): value for key, value in keys.items()}
    keys |= {"general.architecture": "jamba", **{f"jamba.{k}": v for k, v in SSM.items()}}
    recurrent: dict[str, Shape] = {"ssm_in": (64, 256), "ssm_conv1d": (4, 128), "ssm_x": (128, 36)}
    recurrent |= {"ssm_dt_norm": (4,), "ssm_dt": (4, 128), "ssm_out": (128, 64)}
    recurrent |= {"ssm_b_norm": (16,), "ssm_c_norm": (16,)}
    shapes = {name: shapes[name] for name in shapes if not name.startswith("blk.0.attn_")}
    shapes |= {f"blk.0.{name}.weight": shape for name, shape in recurrent.items()}
    shapes |= {"blk.0.attn_norm.weight": (64,), "blk.0.ssm_a": (16, 128), "blk.0.ssm_d": (128,)}
    shapes |= {"blk.0.ssm_conv1d.bias": (128,), "blk.0.ssm_dt.bias": (128,)}
    assert trial.try_out(write_small(tmp_path / "jamba.gguf", keys, shapes)) is None


def test_a_layer_without_what_it_reads_is_named(tmp_path: Path) -> None:
    keys, shapes = changed(attention__head_count_kv=1)
    keys = {key.replace("llama.", "phi3."): value for key, value in keys.items()}
    keys["general.architecture"] = "phi3"
    path = write_small(tmp_path / "a.gguf", keys, shapes)
    assert read_header(path).architecture == "phi3"
    write_small(path, keys, {name: shapes[name] for name in shapes if "1.attn_v" not in name})
    with pytest.raises(ModelFileError, match="layer 1 has neither attn_qkv nor"):
        read_header(path)


def test_usual_sizes_pass(tmp_path: Path) -> None:
    def sound(arch: str, **values: Any) -> None:
        keys, shapes = changed(**values)
        keys = {k.replace("llama.", f"{arch}."): v for k, v in keys.items()}
        keys["general.architecture"] = arch
        assert read_header(write_small(tmp_path / "a.gguf", keys, shapes)).architecture == arch

    sound("llama")
    sizes = {"attention__key_length": 32, "attention__value_length": 32}
    sound("gemma3", attention__head_count=3, attention__head_count_kv=1, **sizes)
    sound(
        "deepseek2", attention__head_count_kv=1, attention__key_length=24, rope__dimension_count=8
    )
    sound("phi2", rope__dimension_count=6)  # a part of a head
    sound("lfm2", attention__head_count_kv=[0, 2])  # a layer without attention
    sound("deci", attention__head_count=[0, 4], attention__head_count_kv=[0, 4])
    sound("mamba", attention__head_count=0, attention__head_count_kv=0, rope__dimension_count=0)
    sound("bloom", embedding_length=60, attention__head_count_kv=4)  # 15 a head, and no rotation


def test_architectures_are_those_of_the_lists() -> None:
    assert ROTATES_WHOLE_HEADS < EQUAL_HEADS


CHILD = """
import ctypes, json, sys
import llama_cpp
said = []
callback = llama_cpp.llama_log_callback(lambda level, text, data: said.append(text.decode()))
llama_cpp.llama_log_set(callback, None)
llama_cpp.llama_backend_init()
def run(path):
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        return "refused"
    params = llama_cpp.llama_context_default_params()
    n_trained = llama_cpp.llama_model_n_ctx_train(model)
    params.n_ctx, params.n_batch, params.n_ubatch = min(64, n_trained), 8, 8
    params.n_threads = params.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, params)
    for tokens in ([1, 2, 3], [1]) if context and n_trained > 4 else ():
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens)))
    if context:
        llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return "ran"
for line in sys.stdin:
    said.clear()
    print(json.dumps([run(line.strip()), "".join(said)[-2000:]]), flush=True)
"""


class Loader:
    """llama.cpp in a child, which is begun again when it dies."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None

    def load(self, path: Path) -> tuple[str, str]:
        """ "ran", "refused", "died" or "hangs", and what was said."""
        child = self._child = self._child or self._begin()
        assert child.stdin is not None
        assert child.stdout is not None
        print(path, file=child.stdin, flush=True)
        ready, _, _ = select.select([child.stdout], [], [], 60)
        line = child.stdout.readline() if ready else ""
        if line:
            outcome, said = json.loads(line)
            return outcome, said
        self.close()
        return ("died" if ready else "hangs"), ""

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
        self._child = None

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},
        )


@pytest.fixture
def loader() -> Iterator[Loader]:
    made = Loader()
    yield made
    made.close()


def small(arch: str) -> dict[str, Any]:
    """Keys of a small model of any usual architecture."""
    keys, _ = small_llama()
    keys = {key.replace("llama.", f"{arch}."): value for key, value in keys.items()}
    own = {**SSM, "vocab_size": N_VOCAB, "logit_scale": 1.0, "attention.layer_norm_epsilon": 1e-5}
    if arch == "mamba":
        own |= {"attention.head_count": 0, "attention.head_count_kv": 0}
    return (
        keys
        | {f"{arch}.{key}": value for key, value in own.items()}
        | VOCABULARY
        | {"general.architecture": arch}
    )


def fitted(
    path: Path, keys: dict[str, Any], shapes: dict[str, Shape], loader: Loader
) -> tuple[str, dict[str, Shape]]:
    """What becomes of a model whose tensors are made as llama.cpp wants them, and their shapes."""
    shapes = dict(shapes)
    for _ in range(100):
        if sum(map(math.prod, shapes.values())) > 2**26:
            return "large", shapes
        try:
            read_header(write_small(path, keys, shapes))
        except ModelFileError:
            return "checked", shapes
        outcome, said = loader.load(path)
        if outcome != "refused":
            return outcome, shapes
        if found := re.search(r"tensor '([^']+)' not found", said):
            shapes[found[1]] = (7,)
        elif found := re.search(r"tensor '([^']+)' has wrong shape; expected ([\d, ]+), got", said):
            wanted = tuple(map(int, found[2].split(",")))
            if not all(wanted) or wanted == shapes[found[1]]:
                return outcome, shapes
            shapes[found[1]] = wanted
        else:
            return outcome, shapes
    return "refused", shapes


def mutate(arch: str, keys: dict[str, Any], rng: random.Random) -> list[str]:
    """Change one size or two; returns what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 2))):
        key = f"{arch}.{rng.choice(KEYS)}"
        is_float = isinstance(keys.get(key), float) or key.endswith(("base", "factor", "scale"))
        keys[key] = rng.choice(FLOATS if is_float else SIZES)
        if rng.random() < 0.1 and not is_float:
            keys[key] = [rng.choice(SIZES[:12]) for _ in range(2)]
        done.append(f"{key} = {keys[key]}")
    return done


def fuzz(
    tmp_path: Path, loader: Loader, architectures: tuple[str, ...], seed: int, n: int
) -> Counter[str]:
    """Outcomes of so many mutants; fails at the first that passes the check and kills."""
    rng = random.Random(seed)
    path = tmp_path / "mutant.gguf"
    bases = {}
    for arch in architectures:
        outcome, shapes = fitted(path, small(arch), {}, loader)
        assert outcome == "ran", arch
        bases[arch] = shapes
    outcomes: Counter[str] = Counter()
    for _ in range(n):
        arch = rng.choice(architectures)
        keys = small(arch)
        done = mutate(arch, keys, rng)
        outcome, _ = fitted(path, keys, bases[arch], loader)
        assert outcome not in ("died", "hangs"), (outcome, done)
        outcomes[outcome] += 1
    return outcomes


@pytest.mark.lengthy
def test_changed_sizes_that_pass_kill_no_loader(tmp_path: Path, loader: Loader) -> None:
    outcomes = fuzz(tmp_path, loader, ("llama", "gemma3"), seed=1, n=30)
    assert outcomes["ran"] > 5
    assert outcomes["checked"] > 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_many_changed_sizes_that_pass_kill_no_loader(
    tmp_path: Path, loader: Loader, seed: int
) -> None:
    print(fuzz(tmp_path, loader, ARCHITECTURES + ALSO, seed, n=1000))


@pytest.mark.lengthy
def test_the_fuzz_notices_a_death(tmp_path: Path, loader: Loader) -> None:
    keys, shapes = changed(attention__head_count_kv=3)
    shapes |= {f"blk.{n}.attn_{kind}.weight": (64, 48) for n in range(2) for kind in "kv"}
    assert loader.load(write_small(tmp_path / "a.gguf", keys, shapes))[0] == "died"
    assert loader.load(write_small(tmp_path / "a.gguf", *small_llama()))[0] == "ran"


def test_a_context_is_no_longer_than_the_positions_that_a_model_has_learned(
    tmp_path: Path, loader: Loader
) -> None:
    path = tmp_path / "positions.gguf"
    keys = small("gpt2") | {"gpt2.context_length": 16}
    outcome, shapes = fitted(path, keys, {}, loader)
    assert outcome == "ran"
    write_small(path, keys, shapes, seed=1)
    with load(path, n_ctx=64, isolate="never", schedule="serial") as engine:
        assert engine.n_ctx == 16
        assert any("16 tokens instead of 64" in warning for warning in engine.warnings)
        answer = engine.generate_from_tokens(
            [4, 5, 6], sampling=SamplingParams(max_tokens=60, ignore_eos=True)
        )
    assert answer.finish_reason == "length"
    assert answer.usage.total_tokens <= 17
