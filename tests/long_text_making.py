"""Long texts of a vocabulary whose special tokens overlap, begin alike and are white space."""

from __future__ import annotations

import random
from pathlib import Path

import llama_cpp

from amulet_local.llama.vocabulary import Vocabulary
from tests.small_gguf import small_llama, write_small

UNKNOWN, NORMAL, CONTROL, DEFINED = 2, 1, 3, 4
"""Types of tokens in a file."""
SPECIAL = {
    "<unk>": UNKNOWN,
    "<s>": CONTROL,
    "</s>": CONTROL,
    "<|a|>": CONTROL,
    "<|a|><|b|>": CONTROL,
    "<b>": DEFINED,
    "<bb": DEFINED,
    "b>>": DEFINED,
    ">>TITLE<<": DEFINED,
    "xyx": DEFINED,
    "yxy": CONTROL,
    "\n": DEFINED,
    **{"\n" * n: DEFINED for n in range(2, 8)},
    **{"  " * n: DEFINED for n in range(1, 5)},
    "\t\t\t": DEFINED,
}
"""Some of which overlap: those have to be left to the tokenizer."""
WORDS = [*SPECIAL, "a", "b", ">", "<", "x", "y", " ", "é", "好", "!", "7", "\t", "</s", "word"]


def byte_characters() -> list[str]:
    """What a vocabulary of byte pairs calls each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    names = {byte: chr(byte) for byte in shown} | {b: chr(256 + n) for n, b in enumerate(others)}
    return [names[byte] for byte in range(256)]


def write_vocabulary(path: Path, pre_tokenizer: str, special: dict[str, int]) -> Path:
    """A small model whose texts are bytes, pairs of few letters and special tokens."""
    keys, shapes = small_llama()
    tokens = [*special, *byte_characters(), "ab", "ba"]
    types = [*special.values(), *[NORMAL] * 258]
    keys |= {"tokenizer.ggml.pre": pre_tokenizer, "tokenizer.ggml.tokens": tokens}
    keys |= {"tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": ["a b", "b a"]}
    return write_small(path, keys, {**shapes, "token_embd.weight": (64, len(tokens))})


def whole(
    vocabulary: Vocabulary, text: str, *, add_special: bool, parse_special: bool
) -> list[int]:
    """What llama.cpp makes of a text in one call."""
    encoded = text.encode()
    ids = (llama_cpp.llama_token * (len(encoded) + 8))()
    n = llama_cpp.llama_tokenize(
        vocabulary.pointer, encoded, len(encoded), ids, len(ids), add_special, parse_special
    )
    return list(ids[:n])


def long_text(rng: random.Random, words: list[str]) -> str:
    """Of few of the words, some of them again and again."""
    some = rng.sample(words, min(len(words), 8))
    parts = []
    while sum(map(len, parts)) < 3000:
        parts.append(rng.choice(some) * rng.choice((1, 1, 1, 2, 3, 60)))
    return "".join(parts)


def assert_equal_tokens(vocabulary: Vocabulary, text: str) -> None:
    """In each way of tokenising."""
    for add in (False, True):
        for parse in (False, True):
            ids = vocabulary.tokenize(text, add_special=add, parse_special=parse)
            assert ids == whole(vocabulary, text, add_special=add, parse_special=parse)
