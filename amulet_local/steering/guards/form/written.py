"""The script in which an answer is written.

Knows nothing about languages. Small models begin in English where Japanese is wished, and leave
English words of the question where they stand ("你可以用 leftover rice来煮饭").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position
from amulet_local.text.scripts import SCRIPTS, count_letters, letters_but_of

Kind: TypeAlias = Literal["own", "name", "word", ""]
"""What a token has letters of: the script, another one (small ones are a word), or none."""

IS_KNOWN_SHARE = 0.005
"""Of the probability at the beginning: a model that gives the script less doesn't know it."""

NAME_SHARE, WORD_SHARE = 0.5, 0.9
"""Of the probability, which other scripts have where a name in them belongs there, and where a word
with a small letter does: one that is spoken of."""

REACH_NATS = 10.0
"""Of the likeliest token: what is less likely than that by more isn't looked at."""

_SMALL_WORD = re.compile(r"\W*[a-zà-öø-ÿ]")

_GOES_ON = re.compile(r"\d ?$|[a-z\d][./:-]$|[/\\@#`_]$", re.I)
"""Behind which another script's letters are a unit, or the rest of an address."""


class InScript(Hold):
    """Writes an answer in a script."""

    def __init__(self, script: str) -> None:
        """Take note.

        Args:
            script: a key of SCRIPTS.
        """
        self._script = script
        self._others = re.compile(letters_but_of(script, "greek"))
        self._is_known: bool | None = None
        self._kinds: dict[int, Kind] = {}

    def refused(self, at: Position) -> Sequence[int]:
        """The likely tokens in other scripts, but for names and what has to be in them."""
        if self._others.search(at.text[-1:]) or _GOES_ON.search(at.text[-2:]):
            return ()
        reference = at.step.reference
        row = reference.preference
        tokens: dict[Kind, list[int]] = {"own": [], "name": [], "word": [], "": []}
        for token in np.flatnonzero(row >= row.max() - REACH_NATS).tolist():
            tokens[self._kind(token, at)].append(token)
        others = tokens["name"] + tokens["word"]
        if not others:
            return ()
        if not count_letters(at.text, self._script):
            is_likely = reference.share(tokens["own"]) > IS_KNOWN_SHARE
            if self._is_known is None and (is_likely or self._kind(int(row.argmax()), at)):
                self._is_known = is_likely
            return others if self._is_known else ()
        share = reference.share(others)
        if share < NAME_SHARE:
            return others
        return tokens["word"] if share < WORD_SHARE else ()

    def _kind(self, token: int, at: Position) -> Kind:
        """What letters a token has: a part of the script's own is one of them."""
        kind = self._kinds.get(token)
        if kind is None:
            piece = at.vocabulary.piece(token)
            text = piece.decode("utf-8", "ignore")
            begun = piece[len(text.encode()) :]
            kind = ""
            if self._others.search(text):
                kind = "word" if _SMALL_WORD.match(text) else "name"
            elif (
                count_letters(text, self._script) or begun[:1] in SCRIPTS[self._script].first_bytes
            ):
                kind = "own"
            self._kinds[token] = kind
        return kind

    def unmet(self, text: str) -> str:
        """That most of the answer is in another one."""
        n_others = len(self._others.findall(text))
        if count_letters(text, self._script) >= n_others:
            return ""
        letters = SCRIPTS[self._script].in_words
        return f"most of the answer isn't in {letters}, and the preference asks for them"
