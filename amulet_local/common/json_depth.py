"""How deep JSON text is nested, said before anything reads it: what reads or writes it calls itself
for each bracket, and a stranger's text would use up the stack in one place or another.

Knows nothing about what the text means, or whether it is sound.
"""

from __future__ import annotations

import re

MOST_NESTED = 64
"""Brackets within brackets that what strangers write may have."""

_MARKS = re.compile(rb'[\[\]{}"\\]')


def shallow(text: bytes, depth: int) -> bool:
    """Whether JSON text has at most `depth` brackets within one another. Linear in its length."""
    if text.count(b"[") + text.count(b"{") <= depth:
        return True
    open_brackets, in_string, skipped = 0, False, -1
    for match in _MARKS.finditer(text):
        mark, start = match[0], match.start()
        if start == skipped:
            continue
        if mark == b"\\":
            skipped = start + 1
        elif mark == b'"':
            in_string = not in_string
        elif not in_string:
            open_brackets += 1 if mark in b"[{" else -1
            if open_brackets > depth:
                return False
    return True
