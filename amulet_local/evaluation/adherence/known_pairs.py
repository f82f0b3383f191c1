"""Pairs of answers of which a rule says which follows its preference: what a judge is measured on.

One for each preference of the bank: an answer that follows and one that doesn't, to the same
question. Some were made by models of half a billion and one and a half billion parameters, some by
hand where none of theirs followed. Knows nothing about judges.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class KnownPair:
    """Two answers to a question.

    Attributes:
        wording: the preference.
        question: what was asked.
        follows: the answer that follows it.
        other: the one that doesn't.
    """

    wording: str
    question: str
    follows: str
    other: str


@lru_cache(maxsize=1)
def known_pairs() -> tuple[KnownPair, ...]:
    """All pairs, in the bank's order."""
    text = files(__package__).joinpath("known_pairs.jsonl").read_text(encoding="utf-8")
    return tuple(KnownPair(**json.loads(line)) for line in text.splitlines())
