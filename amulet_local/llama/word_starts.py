"""Which tokens of a vocabulary begin a word, in whatever case and after whatever marks.

Knows nothing about what the words are for. A token that begins in the middle of a word isn't here
for that word: at the end of a word it can't be told from one that goes on.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from threading import RLock
from typing import TypeAlias

from amulet_local.text.words import WORD

_NO_ASCII = 128
_ASCII_MARKS = bytes(byte for byte in range(_NO_ASCII) if not bytes((byte,)).isalnum())
_ASCII_LETTER = re.compile("[0-9A-Za-z]|\u212a|\u0130".encode())
"""Also what small letters of ASCII have for a capital letter: the signs for Kelvin and dotted I."""

SHORTEST_ROOT, ENDING = 4, 3
"""Letters that words of one root share at least, and letters of its ending that may differ."""

GLUED_LETTERS = 3
"""Letters from which on the beginning of a word is seen after another one: "undherzlich"."""

_Tokens: TypeAlias = dict[str, list[int]]


class WordStarts:
    """The tokens of a vocabulary by the first word in them.

    What is asked for is few words, so the tokens are sorted by the first letter of their words, and
    those of a letter are read when a word with it is asked for. Several threads may ask.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Look at every token; some tenths of a microsecond each.

        Args:
            pieces: bytes of each token.
        """
        self._pieces = pieces
        self._found: dict[str, tuple[list[int], list[int], list[int]]] = {}
        self._open: tuple[_Tokens, _Tokens] = ({}, {})
        self._closed: tuple[_Tokens, _Tokens] = ({}, {})
        self._bytes: tuple[dict[bytes, list[int]], dict[bytes, list[int]]] = ({}, {})
        self._sorted: dict[str, tuple[_Sorted, _Sorted]] = {}
        self._lock = RLock()
        self._letters_read: set[str] = set()
        self._unread: defaultdict[int, list[int]] = defaultdict(list)
        for token, piece in enumerate(pieces):
            word = piece.lstrip(_ASCII_MARKS)
            if word:
                self._unread[word[0]].append(token)

    def _read_words_like(self, word: str) -> None:
        """Read all tokens whose first word may begin with this one's first letter."""
        letter = word[0]
        if letter in self._letters_read:
            return
        with self._lock:
            if letter not in self._letters_read:
                for token in self._unread_like(letter):
                    self._read(token)
                self._letters_read.add(letter)

    def _unread_like(self, letter: str) -> list[int]:
        tokens = [] if self._letters_read else self._others(has_ascii=True)
        if letter.isascii():
            tokens += self._unread.pop(ord(letter), [])
            tokens += self._unread.pop(ord(letter.upper()), [])
        else:
            tokens += self._others(has_ascii=False)
            for lead in [lead for lead in self._unread if lead >= _NO_ASCII]:
                del self._unread[lead]
        return sorted(tokens)

    def _others(self, *, has_ascii: bool) -> list[int]:
        """The unread tokens that begin with another byte than one of ASCII, marks aside.

        Args:
            has_ascii: whether a word of ASCII may be in them, behind a mark of another kind.
        """
        return [
            token
            for lead, tokens in self._unread.items()
            if lead >= _NO_ASCII
            for token in tokens
            if (_ASCII_LETTER.search(self._pieces[token]) is not None) == has_ascii
        ]

    def _read(self, token: int) -> None:
        """Take a token."""
        piece = self._pieces[token]
        word = piece.lstrip(_ASCII_MARKS)
        if word.isalnum():  # of bytes: ASCII letters and digits alone
            is_bare = len(word) == len(piece)
            self._open[is_bare].setdefault(word.lower().decode(), []).append(token)
            return
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
        self._read_words_like(word)
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
        self._read_words_like(word)
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
        self._read_words_like(word)
        root = word[: max(SHORTEST_ROOT, len(word) - ENDING)]
        after_mark, bare = (
            [token for found in words.from_(root) for token in found]
            for words in self._sorted_by(root[0])
        )
        return after_mark, bare

    def _sorted_by(self, letter: str) -> tuple[_Sorted, _Sorted]:
        """The words that begin with a letter, after a mark and without one."""
        with self._lock:
            if letter not in self._sorted:
                after_mark, bare = (
                    _Sorted(letter, opened, closed)
                    for opened, closed in zip(self._open, self._closed, strict=True)
                )
                self._sorted[letter] = after_mark, bare
            return self._sorted[letter]

    def _is_capital(self, token: int) -> bool:
        return self._pieces[token].decode("utf-8", "ignore")[:1].isupper()


class _Sorted:
    """Words with one first letter in their order: those with one beginning stand together."""

    def __init__(self, letter: str, *tables: _Tokens) -> None:
        self._tables = [
            (sorted(word for word in table if word.startswith(letter)), table) for table in tables
        ]

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
