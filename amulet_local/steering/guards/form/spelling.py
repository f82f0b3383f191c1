"""How words are spelled: none contracted, or each with a capital letter.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position

_STEMS = re.findall(
    r"\w+",
    "don doesn didn isn aren wasn weren shouldn couldn wouldn hasn haven hadn mustn needn ain",
)
"""What "'t" would follow."""

_CONTRACTED = r"['’](?:t|re|ll|ve|m|d|T|RE|LL|VE|M|D)(?![A-Za-z])"
_APOSTROPHE = rf"(?<={EDGE})['’]"
_CONTRACTS = re.compile(
    r"(?i:\b(?:i|you|we|they|it|he|she|that|this|there|here|what|who|where|how|let|can|won)$)"
)
"""Words behind which an apostrophe contracts: "it's", but not "the cat's"."""

_SMALL_WORD = rf"(?<={EDGE})\s+[a-zß-öø-ÿ]"
_SMALL_START = rf"(?<={EDGE})\s*[a-zß-öø-ÿ]"
"""Tokens that begin a word with a small letter, everywhere and where no word is being written."""


class NoContractions(Hold):
    """Keeps an answer free of contractions."""

    def __init__(self) -> None:
        """Look at nothing yet."""
        self._stems: dict[str, Tokens] = {}

    def refused(self, at: Position) -> Tokens:
        """The tokens that contract, and behind some words any apostrophe."""
        refused = [at.having(_CONTRACTED), self._stems_after(" ", at)]
        if not at.text[-1:].isalpha():
            refused.append(self._stems_after("", at))
        if _CONTRACTS.search(at.text[-12:]):
            refused.append(at.having(_APOSTROPHE))
        return union(refused)

    def _stems_after(self, gap: str, at: Position) -> Tokens:
        found = self._stems.get(gap)
        if found is None:
            spelled = [form for stem in _STEMS for form in (stem, stem.title(), stem.upper())]
            exact = [at.exactly(f"{gap}{stem}".encode()) for stem in spelled]
            found = self._stems[gap] = union(exact)
        return found


class TitleCase(Hold):
    """Begins each word with a capital letter."""

    def refused(self, at: Position) -> Tokens:
        """The tokens that begin a word with a small one."""
        in_word = at.text[-1:].isalnum() or at.text.endswith(("'", "’"))
        return at.having(_SMALL_WORD if in_word else _SMALL_START)
