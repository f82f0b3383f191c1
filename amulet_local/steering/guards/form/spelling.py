"""How words are spelled: none contracted, or each with a capital letter.

Knows nothing about languages but English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from amulet_local.llama.token_search import EDGE, Tokens, union
from amulet_local.steering.guards.form.holds import Hold
from amulet_local.steering.guards.form.position import Position

_STEMS = "don doesn didn isn aren wasn weren shouldn couldn wouldn hasn haven hadn mustn needn ain"
_CONTRACTED = (
    rf"(?i:(?<={EDGE})[ \n]?(?:{'|'.join(_STEMS.split())})(?={EDGE}|['’])"
    r"|n['’]t\b|['’](?:t|re|ll|ve|m|d)(?![a-z]))"
)
"""Tokens of a contraction: "don" that "'t" would follow, "'ll", "can't"."""

_APOSTROPHE = rf"(?<={EDGE})['’]"
_CONTRACTS = re.compile(
    r"(?i:\b(?:i|you|we|they|it|he|she|that|this|there|here|what|who|where|how|let|can|won)$)"
)
"""Words behind which an apostrophe contracts: "it's", but not "the cat's"."""

_SMALL_WORD = rf"(?<={EDGE})[ \n\t]+[a-zß-öø-ÿ]"
_SMALL_LETTER = rf"(?<={EDGE})[a-zß-öø-ÿ]"


class NoContractions(Hold):
    """Keeps an answer free of contractions."""

    def refused(self, at: Position) -> Tokens:
        """The tokens that contract, and behind some words any apostrophe."""
        always = at.having(_CONTRACTED)
        if not _CONTRACTS.search(at.text[-12:]):
            return always
        return union([always, at.having(_APOSTROPHE)])


class TitleCase(Hold):
    """Begins each word with a capital letter."""

    def refused(self, at: Position) -> Sequence[int] | Tokens:
        """The tokens that begin a word with a small one."""
        begins = not at.text or not (at.text[-1].isalnum() or at.text[-1] in "'’")
        small = at.having(_SMALL_WORD)
        return union([small, at.having(_SMALL_LETTER)]) if begins else small
