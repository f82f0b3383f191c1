"""Refuses the metadata that llama.cpp aborts or hangs on: vocabularies and sizes.

Knows nothing about how they are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from amulet_local.llama.gguf.cursor import Cursor, cut
from amulet_local.llama.gguf.metadata import MAX_VOCAB_SIZE, GGUFArray, MetadataValue

MAX_TOKEN_BYTES = 4096  # llama.cpp's tries recurse once a byte: long tokens overflow the stack
MAX_LAYERS = 512  # LLAMA_MAX_LAYERS
MAX_EXPERTS = 1024  # LLAMA_MAX_EXPERTS
BYTE_TOKEN_TYPE = 6  # LLAMA_TOKEN_TYPE_BYTE

_UTF8_BYTES = (*range(0xC0), *range(0xC2, 0xF5))
"""Those that a text in UTF-8 may have."""
_ADDED_KEYS = {"bos": "bos", "eos": "eos", "sep": "seperator"}
"""Tokens that are put before, behind and between texts, and what llama.cpp calls them in keys."""
_ADDED: Mapping[str, Mapping[str, int]] = {
    "llama": {"bos": 1, "eos": 2},
    "bert": {"bos": 101, "sep": 102},
    "gpt2": {"bos": 11, "eos": 11},
    "t5": {"eos": 1},
}
"""Which they are where a file doesn't say so, by tokenizer."""
_ADDING: Mapping[str, tuple[str, ...]] = {"llama": ("bos",), "t5": ("eos",)}
_ALWAYS_ADDING: Mapping[str, tuple[str, ...]] = {"bert": ("bos", "sep"), "gemma4": ("bos",)}
"""Which are added where a file doesn't say so, and which whatever it says."""
_RWKV_UNIT = re.compile(rb"\\x..|\\.|.", re.DOTALL)


def check_tokenizer(cursor: Cursor, metadata: Mapping[str, MetadataValue]) -> None:
    """Refuse a vocabulary that llama.cpp doesn't survive; the cursor has it no more afterwards."""
    prefix = "tokenizer.ggml."
    for key in ("model", "pre"):
        value = metadata.get(prefix + key, "")
        if not isinstance(value, str) or "\0" in value:
            cursor.damaged(f"{prefix}{key} is {cut(value)}, not a name")
    allowed = {"tokens": ("str",), "scores": ("f32", "i32"), "token_type": ("i32",)}
    allowed["merges"] = ("str",)
    lengths = {}
    for key, types in allowed.items():
        if (array := metadata.get(prefix + key)) is None:
            continue
        if not isinstance(array, GGUFArray) or array.element_type not in types:
            kind = f"a {array.element_type} array" if isinstance(array, GGUFArray) else "no array"
            cursor.damaged(f"{prefix}{key} is {kind}, not an array of {types[0]}")
        lengths[key] = array.length
    n_tokens = lengths.get("tokens")
    if n_tokens is None:
        return
    for key in ("scores", "token_type"):
        if lengths.get(key, n_tokens) != n_tokens:
            cursor.damaged(f"{prefix}{key} has {lengths[key]} entries for {n_tokens} tokens")
    model = str(metadata.get(prefix + "model", ""))
    if metadata.get(prefix + "pre") == "whitespace" != model:
        cursor.damaged(f"{prefix}pre is 'whitespace', which {cut(model)} vocabularies don't have")
    _check_added_tokens(cursor, metadata, model, n_tokens)
    _check_tokens(cursor, model)
    cursor.tokens, cursor.token_types = [], b""


def _check_tokens(cursor: Cursor, model: str) -> None:
    """Refuse the vocabularies that llama.cpp's tokenizers abort or hang on."""
    tokens = cursor.tokens
    if not tokens:
        cursor.damaged("its vocabulary is empty")
    longest = max(map(len, tokens))
    if longest > MAX_TOKEN_BYTES:
        cursor.damaged(f"a token has {longest} bytes, over {MAX_TOKEN_BYTES}")
    distinct = set(tokens)
    if b"" in distinct or b"\0" in b"".join(tokens):
        # llama.cpp ends a token at the first NUL, and names an empty one after its id.
        tokens = [t.partition(b"\0")[0] or b"[EMPTY_%d]" % i for i, t in enumerate(tokens)]
        distinct = set(tokens)
    if len(distinct) != len(tokens):
        n_doubles = len(tokens) - len(distinct)
        cursor.fail(f"its vocabulary has {n_doubles} tokens twice: convert the model again")
    if model == "bert" and BYTE_TOKEN_TYPE in memoryview(cursor.token_types).cast("i"):
        cursor.damaged("its BERT vocabulary has byte tokens, which llama.cpp can't show")
    if model == "llama":
        # A character that is no token is spelled in bytes, which all have to be there.
        for byte in _UTF8_BYTES:
            if b"<0x%02X>" % byte not in distinct and bytes((byte,)) not in distinct:
                cursor.damaged(f"its vocabulary lacks the byte {byte:#04x}, which texts may have")
    if model == "rwkv":
        # The tokenizer never ends on a byte that starts some token and is none itself.
        heads = {unit.group() for token in tokens if (unit := _RWKV_UNIT.match(token))}
        if missing := heads - distinct:
            cursor.damaged(f"its RWKV vocabulary lacks the byte {cut(min(missing))}")
    if model == "plamo2" and (n_bytes := sum(len(t) ** 2 for t in tokens)) > 2**28:
        cursor.fail(f"its PLaMo vocabulary has {n_bytes} bytes of suffixes: too large")


def _check_added_tokens(
    cursor: Cursor, metadata: Mapping[str, MetadataValue], model: str, n_tokens: int
) -> None:
    """Refuse a vocabulary that adds a token to texts and doesn't have it."""
    defaults, adds = _ADDED.get(model, {}), _ADDING.get(model, ())
    for name, key in _ADDED_KEYS.items():
        given = metadata.get(f"tokenizer.ggml.{key}_token_id", -1)
        ids = (given, defaults.get(name, -1))
        if any(type(id_) is int and 0 <= id_ < n_tokens for id_ in ids):
            continue
        is_added = metadata.get(f"tokenizer.ggml.add_{name}_token", name in adds)
        if is_added is True or name in _ALWAYS_ADDING.get(model, ()):
            cursor.damaged(
                f"its vocabulary adds a token to texts, tokenizer.ggml.{key}_token_id, and doesn't "
                f"have it"
            )


_OF_EXPERTS = frozenset(
    ("bailingmoe2", "glm4moe", "grovemoe", "lfm2moe", "llada-moe", "smallthinker")
)
"""Architectures whose loader asserts that there are experts."""
_OF_SECTIONS = frozenset(
    ("paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3vl", "qwen3vlmoe", "qwen4exp")
)
"""Architectures whose heads are always rotated in sections."""


def check_sizes(cursor: Cursor, metadata: Mapping[str, MetadataValue], arch: str) -> None:
    """Refuse the sizes that llama.cpp asserts on; a value of the wrong type it refuses itself."""

    def value(key: str, default: int = 0) -> int:
        found = metadata.get(f"{arch}.{key}", default)
        values = (found.values or ()) if isinstance(found, GGUFArray) else (found,)
        return max((v for v in values if type(v) is int), default=default)

    n_layers, n_experts = value("block_count", 1), value("expert_count")
    n_used, n_groups = value("expert_used_count"), value("expert_group_count")
    n_groups_used = value("expert_group_used_count")
    sound = {
        "block_count": 0 < n_layers <= MAX_LAYERS,
        "nextn_predict_layers": value("nextn_predict_layers") < max(n_layers, 1),
        "vocab_size": value("vocab_size") <= MAX_VOCAB_SIZE,
        "expert_count": (arch in _OF_EXPERTS) <= n_experts <= MAX_EXPERTS,
        "expert_used_count": n_used <= n_experts and (n_used > 0 or n_experts == 0),
        "expert_group_count": n_groups == 0 or (n_groups < n_experts and n_experts % n_groups == 0),
        "expert_group_used_count": n_groups <= 1 or 0 < n_groups_used < n_groups,
    }
    for key, is_sound in sound.items():
        is_dense = arch in ("hunyuan-dense", "hunyuan_vl") and n_experts <= 1
        if not is_sound and not (is_dense and key in ("expert_count", "expert_used_count")):
            cursor.damaged(f"{arch}.{key} is {value(key)}, outside what llama.cpp takes")
    for norm in ("layer_norm", "layer_norm_rms", "group_norm"):
        epsilon = metadata.get(f"{arch}.attention.{norm}_epsilon", 0.0)
        if isinstance(epsilon, float) and not 0 <= epsilon < math.inf:
            cursor.damaged(f"{arch}.attention.{norm}_epsilon is {epsilon}, not a small number")
    sections = metadata.get(f"{arch}.rope.dimension_sections", 0)
    parts = (sections.values or ())[:3] if isinstance(sections, GGUFArray) else (sections,)
    if arch in _OF_SECTIONS and not any(type(v) is int and v > 0 for v in parts):
        cursor.fail(f"{arch}.rope.dimension_sections has nothing above 0: llama.cpp can't run it")
    scaling = metadata.get(f"{arch}.rope.scaling.type", "none")
    if isinstance(scaling, str) and scaling not in ("none", "linear", "yarn", "longrope"):
        cursor.fail(f"{arch}.rope.scaling.type is {cut(scaling)}, unknown to llama.cpp")
