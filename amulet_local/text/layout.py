"""What a text consists of, line by line: paragraphs and the items of lists.

Knows nothing about what stands in them.
"""

from __future__ import annotations

import re

_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_ITEM = re.compile(r"^([ \t]*)(?:[-*+•–]|\d{1,3}[.)])[ \t]+\S", re.M)
_WORD = re.compile(r"\S*\w\S*")


def count_words(text: str) -> int:
    """How many words there are, as one counts them by spaces; a mark by itself is none."""
    return len(_WORD.findall(text))


def count_paragraphs(text: str) -> int:
    """How many there are, with blank lines between them."""
    return sum(1 for part in _BLANK_LINES.split(text) if part.strip())


def count_lines(text: str) -> int:
    """How many there are that aren't blank."""
    return sum(1 for line in text.split("\n") if line.strip())


def next_item(text: str) -> str:
    """What begins the item after its last one: "4." after "3.", "-" after "-"."""
    item = last_item(text)
    number = item.rstrip(".)")
    return f"{int(number) + 1}{item[len(number) :]}" if number.isdigit() else item


def last_item(text: str) -> str:
    """What its last item begins with, such as "-" or "3."; empty without one."""
    found = [item[0].strip()[:-1].strip() for item in _ITEM.finditer(text)]
    return found[-1] if found else ""


def items_of(text: str) -> str:
    """The text from its first item on; empty without one."""
    first = _ITEM.search(text)
    return text[first.start() :] if first else ""


def count_items(text: str) -> int:
    """How many items its list has; those within an item don't count."""
    indents = [len(found[1]) for found in _ITEM.finditer(text)]
    return indents.count(indents[0]) if indents else 0
