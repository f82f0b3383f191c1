"""The script in which an answer is written.

Knows nothing about languages. Small models begin in English where Japanese is wished, and leave
English words of the question where they stand ("你可以用 leftover rice来煮饭").
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position
from amulet_local.text.scripts import SCRIPTS, count_letters, letters_but_of

IS_KNOWN_SHARE = 0.005
"""Of the probability at the beginning: a model that gives the script less doesn't know it."""

NAME_SHARE, WORD_SHARE = 0.5, 0.9
"""Of the probability, which other scripts have where a name in them belongs there, and where a word
with a small letter does: one that is spoken of."""

_SMALL_WORD = rf"(?<={EDGE})[^\w{EDGE}]*[a-zà-öø-ÿ]"

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
        self._others = letters_but_of(script, "greek")
        self._is_known: bool | None = None

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """The tokens with letters of other scripts, but for names and what has to be in them."""
        others, reference = at.having(self._others), at.step.reference
        if not count_letters(at.text, self._script):
            if self._is_known is None:
                own = at.having(f"[{SCRIPTS[self._script].ranges}]")
                parts = at.ending(SCRIPTS[self._script].first_bytes)
                self._is_known = reference.share(union([own, parts])) > IS_KNOWN_SHARE
            return others if self._is_known else ()
        if re.search(rf"{self._others}$", at.text) or _GOES_ON.search(at.text):
            return ()
        share = reference.share(others)
        if share < NAME_SHARE:
            return others
        return at.having(_SMALL_WORD) if share < WORD_SHARE else ()

    def unmet(self, text: str) -> str:
        """That most of the answer is in another one."""
        n_others = len(re.findall(self._others, text))
        if count_letters(text, self._script) >= n_others:
            return ""
        letters = SCRIPTS[self._script].in_words
        return f"most of the answer isn't in {letters}, and the preference asks for them"
