"""The bytes of all tokens of a vocabulary, by one call of llama.cpp and not one for each.

Knows nothing about what they are for. llama.cpp writes many tokens one behind the other; with a
token between any two that is part of no other, the text can be taken apart again.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np

SAMPLED = 512
"""Tokens, spread over the vocabulary, of which the separator is made."""
_BYTES_PER_TOKEN, _MOST_BYTES_PER_TOKEN = 32, 512
"""How long the text of all tokens is expected to be, and is at most, with separators."""
_UNTIDY = re.compile(rb" [?!.,]")
"""Is in no text that llama.cpp has tidied up, as it does with some vocabularies."""
_TIDIED = frozenset(b"?!.,'")
"""One of these is where it takes a space away."""


def all_pieces(native: Any, n_tokens: int, piece: Callable[[int], bytes]) -> list[bytes]:
    """The bytes of each token, in their order.

    The separator is two tokens, as in "fort administrations": no mark or space is at its ends, so
    that what stands around it is tidied up as if it stood alone, and it can't overlap itself.

    Args:
        native: the llama_vocab.
        n_tokens: V.
        piece: gives those of one token.
    """
    sampled = {piece(token): token for token in range(0, n_tokens, max(1, n_tokens // SAMPLED))}
    heads = sorted(filter(bytes.isalpha, sampled), key=len)
    words = sorted((text for text in sampled if text[:1] == b" " and text[1:].isalpha()), key=len)
    if heads and words and not _overlaps_itself(separator := heads[-1] + words[-1]):
        text = _written(native, n_tokens, (sampled[heads[-1]], sampled[words[-1]]))
        found = text.split(separator)[1:-1]
        if len(found) == n_tokens:
            return found if _UNTIDY.search(text) else _untidied(found, piece)
    return [piece(token) for token in range(n_tokens)]


def _untidied(found: list[bytes], piece: Callable[[int], bytes]) -> list[bytes]:
    return [text if _TIDIED.isdisjoint(text) else piece(token) for token, text in enumerate(found)]


def _overlaps_itself(text: bytes) -> bool:
    return any(text.startswith(text[i:]) for i in range(1, len(text)))


def _written(native: Any, n_tokens: int, separator: tuple[int, int]) -> bytes:
    """The text of all tokens, with the separator before each and behind the last; none where
    llama.cpp doesn't give it.
    """
    import llama_cpp

    sequence = np.empty(3 * n_tokens + 2, dtype=np.int32)
    sequence[0::3], sequence[1::3] = separator
    sequence[2::3] = np.arange(n_tokens, dtype=np.int32)
    tokens = sequence.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token))
    size = _BYTES_PER_TOKEN * n_tokens
    while size <= _MOST_BYTES_PER_TOKEN * n_tokens:
        buffer = (ctypes.c_char * size)()
        n = llama_cpp.llama_detokenize(native, tokens, len(sequence), buffer, size, False, False)
        if n >= 0:
            return bytes(memoryview(buffer)[:n])
        size = max(-n, 2 * size)
    return b""
