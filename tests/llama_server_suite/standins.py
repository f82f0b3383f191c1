"""Small models with random weights that stand for those of llama.cpp's tests.

They have the same kinds of vocabulary and the same architectures; what they say is noise. Knows
nothing about tests.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from amulet_local.benchmark.random_model import ModelShape

SHAPE = ModelShape(
    n_layers=2, width=64, feed_forward=128, n_heads=4, n_kv_heads=4, tied=False, rope_base=10_000.0
)
N_CTX_TRAIN = 2048
N_EMBEDDING, N_EMBEDDING_INNER, N_EMBEDDING_LAYERS = 64, 128, 2
LORA_RANK = 4
WEIGHT_SCALE = 0.2
"""Large enough for some tokens to be far likelier than others."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_COMMON = """
    the and to of in is it was he she you that a they for on with his her had be very but at this
    not said there are so day one all little big have like my then went time wanted
"""
_PAIRS = "er in on an re at en or es te ti is ar st nt al ou ed it us um ll"

Weights = Callable[..., NDArray[np.float32]]


def write_all(folder: Path, vocabularies: Path) -> Mapping[str, Path]:
    """Write every model, and name each as the tests do.

    Args:
        vocabularies: llama.cpp's folder `models`.
    """
    story, infill = folder / "stories.gguf", folder / "stories-infill.gguf"
    lora = folder / "moe_shakespeare15M.gguf"
    bert, ranker = folder / "bert.gguf", folder / "reranker.gguf"
    write_story(story)
    write_story(infill, fills_gaps=True)
    write_story(folder / "split.gguf", n_split=8)
    _write_lora(lora)
    vocabulary = vocabularies / "ggml-vocab-bert-bge.gguf"
    write_bert(bert, vocabulary, gguf.PoolingType.CLS)
    write_bert(ranker, vocabulary, gguf.PoolingType.RANK)
    return {
        "ggml-org/test-model-stories260K": story,
        "ggml-org/models/tinyllamas/stories260K.gguf": story,
        "ggml-org/test-model-stories260K-infill": infill,
        "ggml-org/stories15M_MOE/stories15M_MOE-F16.gguf": story,
        "ggml-org/tinygemma3-GGUF:Q8_0": story,
        "ggml-org/models/tinyllamas/split/stories15M-q8_0-00001-of-00003.gguf": next(
            folder.glob("split-00001-of-*.gguf")
        ),
        "ggml-org/models/bert-bge-small/ggml-model-f16.gguf": bert,
        "ggml-org/models/jina-reranker-v1-tiny-en/ggml-model-f16.gguf": ranker,
        lora.name: lora,
    }


def _pieces() -> list[str]:
    """Texts of the tokens behind the bytes, likeliest first: letters last, so that words form."""
    words = {f"▁{word}"[:end] for word in _COMMON.split() for end in range(2, len(word) + 2)}
    ordered = sorted(words, key=lambda piece: (len(piece), piece))
    return [*dict.fromkeys([*ordered, *_PAIRS.split(), "▁", *string.printable[:95]])]


def write_story(path: Path, *, fills_gaps: bool = False, n_split: int = 0) -> None:
    """A Llama with a SentencePiece vocabulary of some hundred tokens, which never ends a text."""
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=n_split)
    pieces = _pieces()
    special = ["<unk>", "<s>", "</s>"]
    gap = ["<PRE>", "<SUF>", "<MID>"] if fills_gaps else []
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *gap]
    kind = gguf.TokenType
    types = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    types += [*[kind.NORMAL] * len(pieces), *[kind.CONTROL] * len(gap)]
    first = len(special) + 256
    writer.add_name(path.stem)
    writer.add_context_length(N_CTX_TRAIN)
    writer.add_embedding_length(SHAPE.width)
    writer.add_block_count(SHAPE.n_layers)
    writer.add_feed_forward_length(SHAPE.feed_forward)
    writer.add_head_count(SHAPE.n_heads)
    writer.add_head_count_kv(SHAPE.n_kv_heads)
    writer.add_rope_dimension_count(SHAPE.width // SHAPE.n_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(0)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([*[0.0] * first, *(-float(n) for n in range(len(tokens) - first))])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    if fills_gaps:
        for n, name in enumerate(("fim_pre", "fim_suf", "fim_mid")):
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", len(tokens) - 3 + n)
    else:
        writer.add_chat_template(CHAT_TEMPLATE)
    weights = _random(0)
    for name, dims in SHAPE.tensors(len(tokens)):
        values = np.ones(dims, np.float32) if len(dims) == 1 else weights(*dims)
        if name == "output.weight":
            values[:first] = values[first + len(pieces) :] = 0  # never among the likeliest
        writer.add_tensor(name, values)
    _finish(writer)


def _write_lora(path: Path) -> None:
    """An adapter of the story model's attention."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    weights = _random(1)
    for layer in range(SHAPE.n_layers):
        name = f"blk.{layer}.attn_q.weight"
        writer.add_tensor(f"{name}.lora_a", weights(LORA_RANK, SHAPE.width))
        writer.add_tensor(f"{name}.lora_b", weights(SHAPE.width, LORA_RANK))
    _finish(writer)


def write_bert(path: Path, vocabulary: Path | Sequence[str], pooling: gguf.PoolingType) -> None:
    """A BERT for embeddings, or for ranking.

    Args:
        vocabulary: a file to copy it from, or the words that it has besides the special tokens.
    """
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name(path.stem)
    writer.add_context_length(512)
    writer.add_embedding_length(N_EMBEDDING)
    writer.add_block_count(N_EMBEDDING_LAYERS)
    writer.add_feed_forward_length(N_EMBEDDING_INNER)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    if isinstance(vocabulary, Path):
        n_vocab = _copy_vocabulary(writer, vocabulary)
    else:
        n_vocab = _add_words(writer, vocabulary)
    weights = _random(2)
    for name, dims in _bert_tensors(n_vocab, ranks=pooling == gguf.PoolingType.RANK).items():
        is_norm = "norm.weight" in name
        writer.add_tensor(name, np.ones(dims, np.float32) if is_norm else weights(*dims))
    _finish(writer)


def _add_words(writer: Any, words: Sequence[str]) -> int:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    writer.add_tokenizer_model("bert")
    writer.add_token_list([*special, *(f"▁{word}" for word in words)])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([*[control] * len(special), *[normal] * len(words)])
    writer.add_token_type_count(2)
    for token, name in enumerate(("padding", "unknown", "cls", "seperator", "mask")):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    return len(special) + len(words)


def _copy_vocabulary(writer: Any, path: Path) -> int:
    n_vocab = 0
    for key, field in gguf.GGUFReader(path).fields.items():
        if key.startswith("tokenizer."):
            kind, value = field.types[0], field.contents()
            element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, value, kind, sub_type=element)
            if key.endswith(".tokens"):
                n_vocab = len(value)
    return n_vocab


def _bert_tensors(n_vocab: int, *, ranks: bool) -> dict[str, tuple[int, ...]]:
    width, inner = N_EMBEDDING, N_EMBEDDING_INNER
    dims: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (n_vocab, width),
        "token_types.weight": (2, width),
        "position_embd.weight": (512, width),
        "token_embd_norm.weight": (width,),
        "token_embd_norm.bias": (width,),
    }
    matrices = dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (width, width))
    matrices |= {"ffn_up": (inner, width), "ffn_down": (width, inner)}
    for layer in range(N_EMBEDDING_LAYERS):
        for name, shape in matrices.items():
            dims[f"blk.{layer}.{name}.weight"] = shape
            dims[f"blk.{layer}.{name}.bias"] = shape[:1]
        for name in ("attn_output_norm", "layer_output_norm"):
            dims[f"blk.{layer}.{name}.weight"] = dims[f"blk.{layer}.{name}.bias"] = (width,)
    if ranks:
        dims |= {"cls.weight": (width, width), "cls.bias": (width,)}
        dims |= {"cls.output.weight": (1, width), "cls.output.bias": (1,)}
    return dims


def _random(seed: int) -> Weights:
    generator = np.random.default_rng(seed)

    def weights(*shape: int) -> NDArray[np.float32]:
        return (WEIGHT_SCALE * generator.standard_normal(shape)).astype(np.float32)

    return weights


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
