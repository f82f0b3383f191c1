"""Refuses sizes of heads, positions and layers that llama.cpp aborts or hangs on, and says which.

Knows nothing about tensors. What holds of one architecture alone is its loader's business: there
are some 150, and what is missed here ends the process of a file's trial (llama/trial.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import NoReturn

from amulet_local.llama.gguf.cursor import Cursor
from amulet_local.llama.gguf.metadata import GGUFArray, MetadataValue

LIMITS = {
    "context_length": 2**31 - 1,
    "embedding_length": 2**20,
    "attention.key_length": 2**16,
    "attention.value_length": 2**16,
}
"""The largest of what is at least 1 where it is given."""
MAX_HEADS = 2**16

# fmt: off
EQUAL_HEADS = frozenset((
    "afmoe", "apertus", "arcee", "arctic", "baichuan", "bailingmoe2", "bert", "bitnet", "bloom",
    "chameleon", "chatglm", "codeshell", "cogvlm", "cohere2", "cohere2moe", "command-r", "dbrx",
    "deci", "deepseek", "dflash", "dots1", "dream", "eagle3", "ernie4_5", "ernie4_5-moe",
    "eurobert", "exaone", "exaone-moe", "exaone4", "falcon", "gemma", "gemma2", "gemma3", "glm4",
    "glm4moe", "gpt2", "gptneox", "granite", "granite_swa", "granitehybrid", "granitemoe",
    "graniteswitch", "grok", "grovemoe", "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3",
    "internlm2", "jais", "jais2", "jina-bert-v2", "jina-bert-v3", "laguna", "llada", "llada-moe",
    "llama", "llama-embed", "llama4", "maincoder", "maple", "mellum", "minicpm", "minimax-01",
    "minimax-m2", "minimax-m3", "mistral3", "modern-bert", "mpt", "muse-glimmer", "nanbeige",
    "nemotron", "nemotron_h", "nemotron_h_moe", "neo-bert", "nomic-bert", "nomic-bert-moe", "olmo",
    "olmo2", "olmoe", "openelm", "orion", "paddleocr", "pangu-embedded", "phi2", "phi3", "phimoe",
    "plamo", "pockettts", "qwen", "qwen2", "qwen2moe", "qwen2vl", "qwen3", "qwen35", "qwen35moe",
    "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe", "qwen4exp", "refact", "rnd1", "seed_oss",
    "smallthinker", "smollm3", "spark2_5", "stablelm", "starcoder", "starcoder2", "t5",
    "t5encoder", "talkie", "xverse",
))
"""Architectures whose graph asserts that keys are as long as values."""
ROTATES_WHOLE_HEADS = frozenset((
    "apertus", "arcee", "arctic", "baichuan", "chameleon", "codeshell", "cogvlm", "cohere2moe",
    "dbrx", "deepseek", "dots1", "dream", "ernie4_5", "ernie4_5-moe", "exaone", "exaone-moe",
    "exaone4", "granite", "granite_swa", "granitemoe", "graniteswitch", "grok", "grovemoe",
    "hunyuan-dense", "hunyuan-moe", "hunyuan_vl", "hy_v3", "internlm2", "jais2", "llada",
    "llada-moe", "llama4", "maincoder", "mellum", "minicpm", "mistral3", "olmo", "olmo2", "olmoe",
    "orion", "paddleocr", "pangu-embedded", "plamo", "pockettts", "qwen2", "qwen2moe", "qwen2vl",
    "qwen3", "qwen3moe", "qwen3vl", "qwen3vlmoe", "rnd1", "seed_oss", "smallthinker", "smollm3",
    "starcoder2", "talkie", "xverse",
))
"""Of these, those whose graph asserts that all of a head is rotated."""
NO_ROTATION = frozenset((
    "arwkv7", "bloom", "glm5-next", "gpt2", "gptj", "jais", "jamba", "jina-bert-v2", "kimi-k3",
    "kimi-linear", "mamba", "mamba2", "mpt", "nemotron_h", "nemotron_h_moe", "refact", "rwkv6",
    "rwkv6qwen2", "rwkv7", "t5", "t5encoder", "wavtokenizer-dec",
))
"""Architectures without rotary positions: llama_model_rope_type in llama-model.cpp."""
RECURRENT_WITHOUT_HEADS = frozenset((
    "bailingmoe3", "glm5-next", "granitehybrid", "jamba", "kimi-k3", "kimi-linear", "lfm2",
    "lfm2moe", "plamo2",
))
"""Architectures with two memories, whose layers without heads of keys and values are recurrent."""
WITHOUT_ATTENTION = RECURRENT_WITHOUT_HEADS | {"deci", "nemotron_h", "nemotron_h_moe"}
"""Architectures some of whose layers may have no heads, or none of keys and values."""
VARIED_HEADS = WITHOUT_ATTENTION | {
    "dots3note", "gemma4", "gemma4-assistant", "granite", "granite_swa", "granitemoe",
    "graniteswitch", "laguna", "mimo2", "openelm", "plamo3", "rwkv6", "rwkv6qwen2", "spark2_5",
    "step35",
}
"""Architectures whose graph asks each layer for its heads, and doesn't take the first one's."""
# fmt: on
INNER_IS_TWICE = frozenset(("granitehybrid", "jamba"))
"""Architectures whose loader asserts that the recurrent layers are twice as wide as the others."""
INNER_IN_PARTS = {
    **dict.fromkeys(
        ("falcon-h1", "granitehybrid", "mamba2", "nemotron_h", "nemotron_h_moe"),
        ("ssm.time_step_rank", "ssm.group_count"),
    ),
    "plamo2": ("ssm.time_step_rank",),
}
"""What has to divide the width of the recurrent layers, by architecture."""
IMAGE_TOKENS_END = 8196
"""Chameleon's graph takes the tokens 4 to 8195 for parts of images, whatever the vocabulary is."""


def check_hyperparameters(cursor: Cursor, metadata: Mapping[str, MetadataValue], arch: str) -> None:
    """Refuse them; a value of the wrong type llama.cpp refuses itself."""

    def values(key: str) -> list[int]:
        found = metadata.get(f"{arch}.{key}")
        several = (found.values or ()) if isinstance(found, GGUFArray) else (found,)
        return [value for value in several if type(value) is int]

    def first(key: str, default: int) -> int:
        return next(iter(values(key)), default)

    def refuse(key: str, why: str) -> None:
        shown = values(key)
        value = shown[0] if len(shown) == 1 else shown[:8]
        _refuse(cursor, f"{arch}.{key} is {value}, {why}")

    tokens = metadata.get("tokenizer.ggml.tokens")
    n_tokens = tokens.length if isinstance(tokens, GGUFArray) else first("vocab_size", 0)
    if arch == "chameleon" and n_tokens < IMAGE_TOKENS_END:
        _refuse(cursor, f"chameleon's vocabulary has {n_tokens} tokens, under {IMAGE_TOKENS_END}")
    inner = first("ssm.inner_size", 0)
    if arch in INNER_IS_TWICE and inner != 2 * first("embedding_length", 0):
        refuse("ssm.inner_size", "not twice the embedding")
    for key in INNER_IN_PARTS.get(arch, ()):
        if any(n_parts <= 0 or inner % n_parts for n_parts in values(key)):
            refuse(key, f"which doesn't divide the inner size of {inner}")
    if arch in RECURRENT_WITHOUT_HEADS:
        shared = values("attention.head_count_kv") or values("attention.head_count")
        shared = shared[: first("block_count", 1)]
        if shared and (all(shared) or not any(shared)):
            refuse("attention.head_count_kv", "not 0 in some layers and above in others")
    for key, limit in LIMITS.items():
        if not all(1 <= value <= limit for value in values(key)):
            refuse(key, f"outside 1 to {limit}")
    heads, width = values("attention.head_count"), first("embedding_length", 0)
    if not all(0 <= n <= MAX_HEADS for n in heads):
        refuse("attention.head_count", f"outside 0 to {MAX_HEADS}")
    if heads and not any(heads) and any(values("attention.head_count_kv")):
        refuse("attention.head_count_kv", "where there are no heads")
    if any(heads) and arch not in WITHOUT_ATTENTION:
        for key in ("attention.head_count", "attention.head_count_kv"):
            if not all(values(key)):
                refuse(key, "and each layer has to have some")
    if not heads or heads[0] == 0:
        return  # no attention in the first layer: llama.cpp takes no size of a head from it
    _check_groups(cursor, arch, heads, values("attention.head_count_kv"))
    for key in ("attention.head_count", "attention.head_count_kv"):
        if len(set(values(key))) > 1 and arch not in VARIED_HEADS:
            refuse(key, "not the same in all layers")
    if not values("attention.key_length") and width % heads[0]:
        refuse("attention.head_count", f"which doesn't divide the embedding of {width}")
    key_length = first("attention.key_length", width // heads[0])
    value_length = first("attention.value_length", width // heads[0])
    if arch in EQUAL_HEADS and key_length != value_length:
        _refuse(
            cursor,
            f"{arch}'s heads have keys of {key_length} and values of {value_length}, not the same",
        )
    if arch not in NO_ROTATION and not values("attention.kv_lora_rank"):  # of latent attention
        _check_rotation(cursor, arch, first("rope.dimension_count", key_length), key_length)


def check_layers(cursor: Cursor, metadata: Mapping[str, MetadataValue], tensors: Set[str]) -> None:
    """Refuse a layer without what its architecture reads and its loader doesn't ask for.

    Args:
        tensors: names of all of a file that isn't split.
    """
    arch, n_layers = (metadata.get(key) for key in ("general.architecture", "phi3.block_count"))
    for layer in range(n_layers if arch == "phi3" and isinstance(n_layers, int) else 0):
        parts = [f"blk.{layer}.attn_{part}.weight" for part in ("q", "k", "v")]
        if f"blk.{layer}.attn_qkv.weight" not in tensors and not tensors >= set(parts):
            _refuse(cursor, f"layer {layer} has neither attn_qkv nor attn_q, attn_k and attn_v")


def _refuse(cursor: Cursor, what: str) -> NoReturn:
    cursor.fail(f"{what}: llama.cpp can't run it")


def _check_groups(cursor: Cursor, arch: str, heads: list[int], kv_heads: list[int]) -> None:
    """Heads are shared among those of keys and values, layer by layer."""
    key = f"{arch}.attention.head_count_kv"
    n_layers = max(len(heads), len(kv_heads))
    for layer in range(n_layers if kv_heads else 0):
        n = heads[min(layer, len(heads) - 1)]
        n_kv = kv_heads[min(layer, len(kv_heads) - 1)]
        if n_kv < 0 or (n and n_kv and n % n_kv):
            _refuse(cursor, f"{key} is {n_kv}, which doesn't divide the {n} heads")


def _check_rotation(cursor: Cursor, arch: str, n_rotated: int, key_length: int) -> None:
    key = f"{arch}.rope.dimension_count"
    if n_rotated <= 0 or n_rotated % 2 or n_rotated > key_length:
        _refuse(cursor, f"{key} is {n_rotated}, not an even number from 2 to {key_length}")
    if arch in ROTATES_WHOLE_HEADS and n_rotated != key_length:
        _refuse(cursor, f"{key} is {n_rotated}, not the {key_length} of a head")
