"""Where sentences end. Knows nothing about languages without these marks."""

from __future__ import annotations

import re

_END = re.compile(r"[.!?…。！？][\"'”’»)*_`\]]*\s*$|```\s*$")


def ends_sentence(text: str) -> bool:
    """Whether it ends with a mark, perhaps a closing one after it, or with a block of code."""
    return _END.search(text) is not None
