"""Finds the tokens of a vocabulary by what is in their text.

Knows nothing about what the tokens are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
"""Ids in their order, each once, int32."""

EDGE = "\0"
"""Stands before each text and behind it, for a pattern to look at; none may match it."""


def union(groups: Iterable[Sequence[int] | Tokens]) -> Tokens:
    """The tokens of all groups."""
    arrays = [np.asarray(group, dtype=np.int32) for group in groups]
    return np.unique(np.concatenate(arrays)) if arrays else np.zeros(0, dtype=np.int32)


def half_character(piece: bytes) -> bytes:
    """The part of a character with which it ends; empty if it ends with a whole one."""
    for n in range(1, min(4, len(piece) + 1)):
        byte = piece[-n]
        if byte >= 0xC0:
            return piece[-n:] if n < _length(byte) else b""
        if byte < 0x80:
            return b""
    return b""


def _length(first: int) -> int:
    """Bytes of a character that begins with this one."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2


class TokenSearch:
    """The texts of all tokens, to be searched. What was found is kept."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Take note.

        Args:
            pieces: bytes of each token.
        """
        self._pieces = pieces
        self._found: dict[str, Tokens] = {}
        self._ending: dict[tuple[tuple[bytes, ...], bool], Tokens] = {}

    def having(self, pattern: str) -> Tokens:
        """The tokens with this in their text; a part of a character is none.

        Args:
            pattern: a regular expression that matches at least a character.
        """
        found = self._found.get(pattern)
        if found is None:
            text, ends = self._joined
            places = [match.start() for match in re.finditer(pattern, text)]
            found = np.unique(np.searchsorted(ends, places, side="left")).astype(np.int32)
            self._found[pattern] = found
        return found

    def ending(self, parts: tuple[bytes, ...], *, is_all: bool = False) -> Tokens:
        """The tokens that end with a part of a character that begins with one of these bytes.

        Args:
            is_all: whether only those that are nothing else, but for a space before it.
        """
        key = (parts, is_all)
        if key not in self._ending:
            found = [
                token
                for token, piece in enumerate(self._pieces)
                if (half := half_character(piece)).startswith(parts)
                and not (is_all and half != piece.removeprefix(b" "))
            ]
            self._ending[key] = np.array(found, dtype=np.int32)
        return self._ending[key]

    def beginnings(self, text: bytes) -> list[int]:
        """The tokens whose text is how this one begins, the longest first."""
        ends = range(len(text), 0, -1)
        return [token for end in ends for token in self._by_piece.get(text[:end], ())]

    def exactly(self, text: bytes) -> Sequence[int]:
        """The tokens with this text."""
        return self._by_piece.get(text, ())

    @cached_property
    def _joined(self) -> tuple[str, NDArray[np.int64]]:
        """All texts with an edge between them, and where each one's last edge is."""
        texts = [piece.decode("utf-8", "ignore").replace(EDGE, "") for piece in self._pieces]
        lengths = np.fromiter((len(text) + 1 for text in texts), dtype=np.int64, count=len(texts))
        return EDGE + EDGE.join(texts) + EDGE, np.cumsum(lengths)

    @cached_property
    def _by_piece(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self._pieces):
            if piece:
                found.setdefault(piece, []).append(token)
        return found
