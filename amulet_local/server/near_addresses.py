"""Which address of the server somebody may mean who asked for one that isn't there.

Knows nothing about what is there.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

_LONGEST = 100
"""What is longer is no address that was mistyped, and would cost time."""
_LIKENESS = 0.85


def near_address(path: str, known: Mapping[str, str]) -> str:
    """A clause with the address that is meant and its method; empty for no idea.

    Args:
        path: what was asked for.
        known: the addresses that there are, each with its method.
    """
    parts = [part for part in path[:_LONGEST].lower().split("/") if part]
    asked = "/" + "/".join(parts)
    if asked in ("/", "/v1", "/api") or len(path) > _LONGEST:
        return ""
    begin = [one for one in known if one.startswith(f"{asked}/")]
    end = [one for one in known if asked.endswith(one)]
    near = (
        [asked] * (asked in known)
        or sorted(begin, key=len)
        or difflib.get_close_matches(asked, known, n=1, cutoff=_LIKENESS)
        or sorted(end, key=len, reverse=True)
    )
    return f"; did you mean {known[near[0]]} {near[0]}?" if near else ""
