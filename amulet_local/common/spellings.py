"""Finds any of many words in a text at once.

Knows nothing about what they are. `re` tries the alternatives of a pattern one after the other; of
words that begin alike the common beginning is written once here, so that thousands take as long
as a few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_NESTED = 24
"""Groups within groups; behind that words are alternatives one after the other."""


def pattern_of(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern that at each place matches the longest word that stands there.

    Args:
        words: none of them empty; without any, nothing is found.
    """
    words = set(words)
    return re.compile(_alternatives(sorted(words), _MOST_NESTED) if words else r"(?!)")


def _alternatives(words: list[str], depth: int) -> str:
    """Of sorted words, all different; the longest first."""
    first, last = words[0], words[-1]
    n_common = next((n for n, c in enumerate(first) if n == len(last) or c != last[n]), len(first))
    rest = [word[n_common:] for word in words]
    ends = "" if rest[0] else "?"
    rest = [word for word in rest if word]
    if not rest:
        return re.escape(first[:n_common])
    if depth == 0:
        inner = "|".join(map(re.escape, sorted(rest, key=len, reverse=True)))
    else:
        by_first: dict[str, list[str]] = {}
        for word in rest:
            by_first.setdefault(word[0], []).append(word)
        inner = "|".join(_alternatives(same, depth - 1) for same in by_first.values())
    return f"{re.escape(first[:n_common])}(?:{inner}){ends}"
