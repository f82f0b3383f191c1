"""Which tokens of a vocabulary begin a word, in whatever case and after whatever marks.

Knows nothing about what the words are for. A token that begins in the middle of a word isn't here
for that word: at the end of a word it can't be told from one that goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeAlias

from amulet_local.text.words import WORD

_ASCII_MARKS = bytes(byte for byte in range(128) if not bytes((byte,)).isalnum())

SHORTEST_ROOT, ENDING = 4, 3
"""Letters that words of one root share at least, and letters of its ending that may differ."""

GLUED_LETTERS = 3
"""Letters from which on the beginning of a word is seen after another one: "undherzlich"."""

_Tokens: TypeAlias = dict[str, list[int]]


class WordStarts:
    """The tokens of a vocabulary by the first word in them."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Read the text of every token; some tenths of a microsecond each.

        Args:
            pieces: bytes of each token.
        """
        self._pieces = pieces
        self._found: dict[str, tuple[list[int], list[int], list[int]]] = {}
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
        glued = [
            token
            for token in bare
            if token in whole
            or self._is_capital(token)
            or len(self._pieces[token].decode("utf-8", "ignore")) >= GLUED_LETTERS
        ]
        return after_mark, bare, glued

    def beginning(self, word: str, *, in_word: bool, ends_small: bool) -> list[int]:
        """The tokens with which this word may begin behind a text.

        Args:
            word: in lower case.
            in_word: whether the text ends in a letter or digit.
            ends_small: whether it ends in a small letter.
        """
        found = self._found.get(word)
        if found is None:
            found = self._found[word] = self.of(word)
        after_mark, bare, glued = found
        if not in_word:
            return after_mark + bare
        return after_mark + glued if ends_small else after_mark

    def saying(self, word: str) -> list[int]:
        """The tokens whose first word is all of this one, with whatever before and behind it.

        Args:
            word: in lower case.
        """
        tables = (*self._open, *self._closed)
        return [token for table in tables for token in table.get(word, ())]

    def related(self, word: str) -> tuple[list[int], list[int]]:
        """The tokens of other words with the same root: "patience" and "patiently" of "patient".

        They are what a model spells where the word itself is refused: "like a patience teacher".

        Args:
            word: in lower case.

        Returns:
            Those that begin a word wherever they stand, and those that do so only where no word is
            being written; none of a word that is hardly longer than a root.
        """
        if len(word) <= SHORTEST_ROOT:
            return [], []
        root = word[: max(SHORTEST_ROOT, len(word) - ENDING)]
        after_mark, bare = (
            [token for found in words.from_(root) for token in found] for words in self._sorted
        )
        return after_mark, bare

    @cached_property
    def _sorted(self) -> tuple[_Sorted, _Sorted]:
        after_mark, bare = (
            _Sorted(opened, closed) for opened, closed in zip(self._open, self._closed, strict=True)
        )
        return after_mark, bare

    def _is_capital(self, token: int) -> bool:
        return self._pieces[token].decode("utf-8", "ignore")[:1].isupper()


class _Sorted:
    """Words in their order, so that those with one beginning stand together."""

    def __init__(self, *tables: _Tokens) -> None:
        self._tables = [(sorted(table), table) for table in tables]

    def from_(self, root: str) -> Iterator[list[int]]:
        """The tokens of each word that begins so."""
        for words, table in self._tables:
            for i in range(bisect_left(words, root), len(words)):
                if not words[i].startswith(root):
                    break
                yield table[words[i]]


def _halved(word: str) -> set[bytes]:
    """The bytes of the word's beginnings that end within a letter, which may be a capital one."""
    found: set[bytes] = set()
    for i, letter in enumerate(word):
        for form in (letter.encode(), letter.upper().encode()):
            found.update(word[:i].encode() + form[:end] for end in range(1, len(form)))
    return found
