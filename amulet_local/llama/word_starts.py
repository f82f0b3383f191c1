"""Which tokens of a vocabulary begin a word, in whatever case and after whatever marks.

Knows nothing about what the words are for. A token that begins in the middle of a word isn't here
for that word: at the end of a word it can't be told from one that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from amulet_local.text.words import WORD

_ASCII_MARKS = bytes(byte for byte in range(128) if not bytes((byte,)).isalnum())

_Tokens: TypeAlias = dict[str, list[int]]


class WordStarts:
    """The tokens of a vocabulary by the first word in them."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Read the text of every token; some tenths of a microsecond each.

        Args:
            pieces: bytes of each token.
        """
        self._pieces = pieces
        self._open: tuple[_Tokens, _Tokens] = ({}, {})
        self._closed: tuple[_Tokens, _Tokens] = ({}, {})
        self._bytes: tuple[dict[bytes, list[int]], dict[bytes, list[int]]] = ({}, {})
        for token, piece in enumerate(pieces):
            word = piece.lstrip(_ASCII_MARKS)
            if word.isalnum():  # of bytes: ASCII letters and digits alone
                is_bare = len(word) == len(piece)
                self._open[is_bare].setdefault(word.lower().decode(), []).append(token)
            elif word:
                self._read(token, piece)

    def _read(self, token: int, piece: bytes) -> None:
        """Take a token with other letters, with marks after its word, or with half a character."""
        half = b""
        try:
            text = piece.decode()
        except UnicodeDecodeError as error:
            text, half = piece[: error.start].decode(), piece[error.start :]
        found = WORD.search(text)
        start, end = found.span() if found else (len(text), len(text))
        if half and end == len(text):
            begun = text[start:end].lower().encode() + half
            self._bytes[start == 0].setdefault(begun, []).append(token)
            return
        if found is None:
            return
        place = self._open if end == len(text) else self._closed
        place[start == 0].setdefault(found[0].lower(), []).append(token)

    def of(self, word: str) -> tuple[list[int], list[int], list[int]]:
        """The tokens with which this word may begin, all of it or a part.

        Args:
            word: in lower case.

        Returns:
            Those that begin a word wherever they stand, because a mark or space comes first; those
            that do so only where no word is being written; and those of the latter that look like
            another word after a small letter too: all of it, or with a capital letter.
        """
        after_mark, bare = (
            [
                *closed.get(word, ()),
                *(token for end in range(len(word)) for token in opened.get(word[: end + 1], ())),
                *(token for begun in _halved(word) for token in halves.get(begun, ())),
            ]
            for opened, closed, halves in zip(self._open, self._closed, self._bytes, strict=True)
        )
        whole = {*self._open[True].get(word, ()), *self._closed[True].get(word, ())}
        glued = [token for token in bare if token in whole or self._is_capital(token)]
        return after_mark, bare, glued

    def _is_capital(self, token: int) -> bool:
        return self._pieces[token].decode("utf-8", "ignore")[:1].isupper()


def _halved(word: str) -> set[bytes]:
    """The bytes of the word's beginnings that end within a letter, which may be a capital one."""
    found: set[bytes] = set()
    for i, letter in enumerate(word):
        for form in (letter.encode(), letter.upper().encode()):
            found.update(word[:i].encode() + form[:end] for end in range(1, len(form)))
    return found
