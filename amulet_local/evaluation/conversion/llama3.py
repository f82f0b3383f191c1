"""What a GGUF file of a Llama 3 model holds: its tensors, its shape, its vocabulary.

From a folder as transformers saves it. Knows nothing about heads on top of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amulet_local.common.errors import ModelFileError
from amulet_local.evaluation.conversion.gguf_file import Tensor
from amulet_local.evaluation.conversion.safetensors import Weights, read_json

PRE_TOKENIZER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 cuts a text before it merges bytes; llama.cpp calls it llama-bpe."""

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, kw_only=True)
class Llama3:
    """A folder that was read.

    Attributes:
        weights: its tensors.
        config: config.json.
        tokens, token_types: the vocabulary, by id.
        merges: pairs of pieces, each with a blank between them.
        bos_id, eos_id: tokens that begin and end a text.
        chat_template: how a conversation is written.
    """

    weights: Weights
    config: Mapping[str, Any]
    tokens: list[str]
    token_types: list[int]
    merges: list[str]
    bos_id: int
    eos_id: int
    chat_template: str

    def number(self, key: str) -> int:
        """A positive whole number of config.json.

        Raises:
            ModelFileError: it isn't there, or isn't one.
        """
        value = self.config.get(key)
        if type(value) is not int or value < 1:
            raise ModelFileError(f"config.json has {key} = {value!r}: not a Llama model's")
        return value

    @property
    def head_width(self) -> int:
        """Width of a head of attention."""
        given = self.config.get("head_dim")
        width = self.number("hidden_size") // self.number("num_attention_heads")
        return given if isinstance(given, int) else width

    def tensors(self) -> list[Tensor]:
        """All tensors of the model without its output layer."""
        return list(self._tensors())

    def write_metadata(self, writer: Any) -> None:
        """Write shape and vocabulary."""
        rope = self.config.get("rope_parameters") or self.config
        writer.add_block_count(self.number("num_hidden_layers"))
        writer.add_context_length(self.number("max_position_embeddings"))
        writer.add_embedding_length(self.number("hidden_size"))
        writer.add_feed_forward_length(self.number("intermediate_size"))
        writer.add_head_count(self.number("num_attention_heads"))
        writer.add_head_count_kv(self.number("num_key_value_heads"))
        writer.add_key_length(self.head_width)
        writer.add_value_length(self.head_width)
        writer.add_rope_dimension_count(self.head_width)
        writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
        writer.add_layer_norm_rms_eps(float(self.config.get("rms_norm_eps", 1e-6)))
        writer.add_vocab_size(len(self.tokens))
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("llama-bpe")
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.token_types)
        writer.add_token_merges(self.merges)
        writer.add_bos_token_id(self.bos_id)
        writer.add_eos_token_id(self.eos_id)
        writer.add_chat_template(self.chat_template)

    def _tensors(self) -> Iterator[Tensor]:
        yield self._tensor("token_embd.weight", "model.embed_tokens.weight")
        for layer in range(self.number("num_hidden_layers")):
            for name, source in _BLOCK.items():
                heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name)
                yield self._tensor(
                    f"blk.{layer}.{name}.weight",
                    f"model.layers.{layer}.{source}.weight",
                    n_heads=self.number(heads) if heads else 0,
                )
        yield self._tensor("output_norm.weight", "model.norm.weight")

    def _tensor(self, name: str, source: str, n_heads: int = 0) -> Tensor:
        shape = self.weights.shape(source)
        if n_heads and shape[0] != n_heads * self.head_width:
            raise ModelFileError(f"the tensor {source} has the shape {shape}: not a Llama model's")
        load = partial(_rotated, self.weights, source, n_heads)
        return Tensor(name=name, shape=shape, load=load, exact=len(shape) == 1)


def _rotated(weights: Weights, source: str, n_heads: int) -> NDArray[np.float32]:
    """A tensor; queries and keys with their rows in the order that llama.cpp rotates them in.

    transformers turns row i of a head with row i + d/2, llama.cpp row 2i with row 2i + 1.
    """
    tensor = weights.read(source)
    if not n_heads:
        return tensor
    n_rows, n_columns = tensor.shape
    halves = tensor.reshape(n_heads, 2, n_rows // n_heads // 2, n_columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(n_rows, n_columns)


def read_llama3(folder: Path) -> Llama3:
    """Read a folder with config.json, tokenizer.json, tokenizer_config.json and weights.

    Raises:
        FileAccessError: a file can't be read.
        ModelFileError: it holds another kind of model, or a file is damaged.
    """
    config = read_json(folder / "config.json")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default")) if isinstance(rope, dict) else "?"
    if kind != "default" or config.get("attention_bias") or config.get("mlp_bias"):
        raise ModelFileError(f"{folder} isn't a Llama 3 model: its positions or biases are others")
    weights = Weights(folder)
    tokenizer = read_json(folder / "tokenizer.json")
    settings = read_json(folder / "tokenizer_config.json")
    n_vocab = weights.shape("model.embed_tokens.weight")[0]
    try:
        tokens, token_types = _vocabulary(tokenizer, n_vocab)
        merges = [
            merge if isinstance(merge, str) else " ".join(merge)
            for merge in tokenizer["model"]["merges"]
        ]
        ids = {text: token for token, text in enumerate(tokens)}
        bos_id, eos_id = (ids[_text_of(settings[f"{end}_token"])] for end in ("bos", "eos"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelFileError(f"{folder} has no tokenizer of Llama 3's kind") from None
    if PRE_TOKENIZER not in _patterns(tokenizer.get("pre_tokenizer")):
        raise ModelFileError(f"{folder / 'tokenizer.json'} doesn't cut text as Llama 3 does")
    return Llama3(
        weights=weights,
        config=config,
        tokens=tokens,
        token_types=token_types,
        merges=merges,
        bos_id=bos_id,
        eos_id=eos_id,
        chat_template=_chat_template(folder, settings),
    )


def _vocabulary(tokenizer: Mapping[str, Any], n_vocab: int) -> tuple[list[str], list[int]]:
    tokens = [f"[PAD{token}]" for token in range(n_vocab)]
    types = [_UNUSED] * n_vocab
    for text, token in tokenizer["model"]["vocab"].items():
        tokens[token], types[token] = text, _NORMAL
    for added in tokenizer["added_tokens"]:
        if added["id"] < n_vocab:  # e.g. a token for padding that the weights lack
            tokens[added["id"]] = added["content"]
            types[added["id"]] = _CONTROL if added["special"] else _USER_DEFINED
    if not all(isinstance(text, str) for text in tokens):
        raise ValueError
    return tokens, types


def _text_of(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _patterns(part: Any) -> list[str]:
    """Every regular expression in a tokenizer's description, however deep."""
    if isinstance(part, dict):
        own = [part["Regex"]] if isinstance(part.get("Regex"), str) else []
        return own + [found for value in part.values() for found in _patterns(value)]
    if isinstance(part, list):
        return [found for value in part for found in _patterns(value)]
    return []


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    template = settings.get("chat_template")
    if file.is_file():
        template = file.read_text(encoding="utf-8")
    if not isinstance(template, str):
        raise ModelFileError(
            f"{folder} has no chat template, in tokenizer_config.json or beside it"
        )
    return template
