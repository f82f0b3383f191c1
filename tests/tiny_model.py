"""A random model of two narrow layers, with the embedded model's template and the commonest part of
its vocabulary: for what holds whatever a model says, in a fraction of the time.

Answers depend on the question and on each preference, and make no sense.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amulet_local.benchmark.random_model import ModelShape
from tests.gguf_edit import float_tensor, raw_keys, strings_of, write_raw
from tests.small_gguf import I32, STR, array, packed

TINY = ModelShape(n_layers=2, width=64, feed_forward=128, n_heads=2, n_kv_heads=1, tied=False)
N_TOKENS = 8192
"""Special ones, letters, and the first merges: what is left of the vocabulary is sound."""
DEVIATION = 0.5
"""Of the weights: with that of a model before its training every token is about as likely."""


def small_vocabulary(source: Path) -> dict[str, bytes]:
    """What a model says of its tokenizer, cut to its first N_TOKENS, and its chat template."""
    keys = {key: value for key, value in raw_keys(source).items() if key.startswith("tokenizer.")}
    tokens, merges = (strings_of(keys[f"tokenizer.ggml.{name}"]) for name in ("tokens", "merges"))
    types = np.frombuffer(keys["tokenizer.ggml.token_type"], "<i4", N_TOKENS, 16)
    n_unmerged = len(tokens) - len(merges)
    assert tokens[n_unmerged:] == [merge.replace(" ", "") for merge in merges]
    return {
        **keys,
        "tokenizer.ggml.tokens": array(STR, tokens[:N_TOKENS]),
        "tokenizer.ggml.merges": array(STR, merges[: N_TOKENS - n_unmerged]),
        "tokenizer.ggml.token_type": array(I32, types.tolist()),
    }


def write_tiny(source: Path, target: Path, shape: ModelShape = TINY) -> Path:
    """Write such a model in F32; returns its path."""
    sizes = {
        "block_count": shape.n_layers,
        "embedding_length": shape.width,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.n_heads,
        "attention.head_count_kv": shape.n_kv_heads,
        "rope.dimension_count": shape.width // shape.n_heads,
        "vocab_size": N_TOKENS,
    }
    keys = {
        **raw_keys(source),
        **{f"llama.{name}": packed(size) for name, size in sizes.items()},
        **small_vocabulary(source),
    }
    draw = np.random.default_rng(0)
    tensors = (
        (name, np.ones(dims) if len(dims) == 1 else draw.normal(0, DEVIATION, dims))
        for name, dims in shape.tensors(N_TOKENS)
    )
    write_raw(target, keys, (float_tensor(name, data) for name, data in tensors))
    return target
