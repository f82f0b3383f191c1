"""A small random ArmoRM as its authors publish theirs, and what it should say, in float64 NumPy.

The forward pass is written down here a second time, from the definition of Llama and of ArmoRM's
heads as transformers runs them, and knows nothing of the package.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

N_EMBD, N_LAYERS, N_HEADS, N_KV_HEADS, FEED_FORWARD = 64, 2, 4, 2, 96
ROPE_THETA, EPSILON, TEMPERATURE, LOGIT_SCALE, N_HIDDEN = 500_000.0, 1e-5, 3.0, 1.3, 32
SPECIAL = ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
MERGED = "QZ"
"""The one token of two bytes, because a tokenizer needs a merge; no text of the tests has it."""
FIRST_SPECIAL = 257
END_OF_TURN = FIRST_SPECIAL + 1
N_VOCAB = (
    FIRST_SPECIAL + len(SPECIAL) + 1
)  # one row more than tokens, as models that were padded have
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

Arrays = dict[str, np.ndarray]


def byte_characters() -> list[str]:
    """GPT-2's character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    table.update({byte: chr(256 + n) for n, byte in enumerate(others)})
    return [table[byte] for byte in range(256)]


def weights(seed: int = 0) -> Arrays:
    """Random weights under their published names, float32."""
    rng = np.random.default_rng(seed)

    def matrix(n_out: int, n_in: int) -> np.ndarray:
        return (rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)

    kv = N_EMBD // N_HEADS * N_KV_HEADS
    arrays = {"model.embed_tokens.weight": matrix(N_VOCAB, N_EMBD)}
    arrays["model.norm.weight"] = rng.uniform(0.5, 1.5, N_EMBD).astype(np.float32)
    for layer in range(N_LAYERS):
        name = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            arrays[f"{name}{norm}.weight"] = rng.uniform(0.5, 1.5, N_EMBD).astype(np.float32)
        for part, n_out in (("q", N_EMBD), ("k", kv), ("v", kv), ("o", N_EMBD)):
            arrays[f"{name}self_attn.{part}_proj.weight"] = 2 * matrix(n_out, N_EMBD)
        arrays[f"{name}mlp.gate_proj.weight"] = matrix(FEED_FORWARD, N_EMBD)
        arrays[f"{name}mlp.up_proj.weight"] = matrix(FEED_FORWARD, N_EMBD)
        arrays[f"{name}mlp.down_proj.weight"] = matrix(N_EMBD, FEED_FORWARD)
    arrays["regression_layer.weight"] = matrix(19, N_EMBD)
    arrays["reward_transform_matrix"] = matrix(19, 19)
    arrays["gating.logit_scale"] = np.array([LOGIT_SCALE], dtype=np.float32)
    widths = [N_EMBD, N_HIDDEN, N_HIDDEN, N_HIDDEN, 19]
    for layer in range(4):
        arrays[f"gating.layers.{layer}.weight"] = matrix(widths[layer + 1], widths[layer])
        arrays[f"gating.layers.{layer}.bias"] = matrix(widths[layer + 1], 1)[:, 0]
    return arrays


def write(folder: Path, arrays: Arrays, *, parts: int = 2, kind: str = "F32") -> None:
    """Write the folder: configuration, tokenizer, weights in several files."""
    folder.mkdir()
    write_configuration(folder)
    names = sorted(arrays)
    index = {}
    for part in range(parts):
        file = f"model-{part + 1:05d}-of-{parts:05d}.safetensors"
        own = {name: arrays[name] for name in names[part::parts]}
        write_safetensors(folder / file, own, kind)
        index.update(dict.fromkeys(own, file))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )


def write_configuration(folder: Path) -> None:
    """Everything but the weights."""
    config = {
        "architectures": ["LlamaForRewardModelWithGating"],
        "model_type": "llama",
        "hidden_size": N_EMBD,
        "intermediate_size": FEED_FORWARD,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": N_KV_HEADS,
        "max_position_embeddings": 512,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_scaling": None,
        "vocab_size": N_VOCAB,
        "gating_temperature": TEMPERATURE,
        "num_objectives": 19,
    }
    (folder / "config.json").write_text(json.dumps(config))
    added = [
        {
            "id": FIRST_SPECIAL + n,
            "content": text,
            "special": True,
            "single_word": False,
            "lstrip": False,
        }
        | {"rstrip": False, "normalized": False}
        for n, text in enumerate(SPECIAL)
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": PATTERN},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                },
            ],
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": True,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {
            "type": "BPE",
            "vocab": {text: byte for byte, text in enumerate(byte_characters())} | {MERGED: 256},
            "merges": [list(MERGED)],
            "ignore_merges": True,
            "byte_fallback": False,
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[0],
        "eos_token": {"content": SPECIAL[1], "__type": "AddedToken"},
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def write_safetensors(path: Path, arrays: Arrays, kind: str = "F32") -> None:
    """A file in the published format."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in arrays.items():
        raw = array.astype("<f4")
        if kind == "BF16":
            raw = (raw.view(np.uint32) >> np.uint32(16)).astype("<u2")
        blob = raw.tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(blob)],
        }
        data += blob
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def token_ids(question: str, answer: str) -> list[int]:
    """A conversation's ids: every byte a token, the markers theirs."""
    bos, eot, start, end = range(FIRST_SPECIAL, FIRST_SPECIAL + 4)
    ids = [bos]
    for role, text in (("user", question), ("assistant", answer)):
        ids += [start, *role.encode(), end, *b"\n\n", *text.strip().encode(), eot]
    return ids


def hidden_states(arrays: Arrays, ids: list[int]) -> np.ndarray:
    """Llama's hidden states after the last norm, float64, shape (n, N_EMBD)."""
    w = {name: array.astype(np.float64) for name, array in arrays.items()}
    n, width = len(ids), N_EMBD // N_HEADS

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON) * w[f"{name}.weight"]

    frequencies = ROPE_THETA ** (-np.arange(0, width, 2) / width)
    angles = np.outer(np.arange(n), frequencies)
    cos, sin = (np.concatenate([f(angles), f(angles)], axis=-1) for f in (np.cos, np.sin))

    def rotated(x: np.ndarray) -> np.ndarray:  # shape (heads, n, width)
        half = width // 2
        return x * cos + np.concatenate([-x[..., half:], x[..., :half]], axis=-1) * sin

    x = w["model.embed_tokens.weight"][ids]
    for layer in range(N_LAYERS):
        name = f"model.layers.{layer}"
        h = norm(x, f"{name}.input_layernorm")
        q, k, v = (
            (h @ w[f"{name}.self_attn.{part}_proj.weight"].T).reshape(n, -1, width).swapaxes(0, 1)
            for part in "qkv"
        )
        q, k = rotated(q), rotated(k)
        group = N_HEADS // N_KV_HEADS
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.swapaxes(1, 2) / np.sqrt(width)
        scores = np.where(np.tril(np.ones((n, n), dtype=bool)), scores, -np.inf)
        odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (odds / odds.sum(axis=-1, keepdims=True)) @ v
        x = x + mixed.swapaxes(0, 1).reshape(n, -1) @ w[f"{name}.self_attn.o_proj.weight"].T
        h = norm(x, f"{name}.post_attention_layernorm")
        gate = h @ w[f"{name}.mlp.gate_proj.weight"].T
        up = h @ w[f"{name}.mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{name}.mlp.down_proj.weight"].T
    return norm(x, "model.norm")


def expected(arrays: Arrays, question: str, answer: str) -> tuple[np.ndarray, float]:
    """The 19 rewards and the overall score."""
    ids = token_ids(question, answer)
    states = hidden_states(arrays, ids)
    rewards = arrays["regression_layer.weight"].astype(np.float64) @ states[-1]
    end_of_question = ids.index(END_OF_TURN)  # the question's <|eot_id|>
    x = states[end_of_question]
    for layer in range(4):
        x = arrays[f"gating.layers.{layer}.weight"].astype(np.float64) @ x
        x = x + arrays[f"gating.layers.{layer}.bias"]
        x = np.maximum(x, 0) if layer < 3 else x
    gate = np.exp(x / TEMPERATURE) / np.exp(x / TEMPERATURE).sum() * LOGIT_SCALE
    return rewards, float(gate @ (rewards @ arrays["reward_transform_matrix"].astype(np.float64)))
