"""Finds the line that a key of a TOML text is on, which Python's parser doesn't tell.

Knows nothing about what the keys mean. The text has been parsed, so it is sound; here it is cut
into statements, one header or one key with its value each, and the parser reads the keys of each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # a text over several lines may end in two quotes of its own
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)


def line_of(text: str, keys: Sequence[str | int]) -> int:
    """The line, from 1, where what `keys` lead to begins, or the closest thing around it.

    Args:
        text: sound TOML.
        keys: of the tables from the outermost in, then of the value; a last integer is the
            position of a text in a list.
    """
    text = text.replace("\r\n", "\n")
    position = keys[-1] if keys and isinstance(keys[-1], int) else None
    wanted = [key for key in keys if isinstance(key, str)]
    best, offset = 0, 0
    prefix: list[str] = []
    for start, statement, texts in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            prefix = _header_keys(content)
            content = {}
        for key in reversed(prefix):
            content = {key: content}
        depth = _depth(content, wanted)
        if depth > best:
            best, offset = depth, start
            if depth == len(wanted) and position is not None and position < len(texts):
                offset = texts[position]
    return text.count("\n", 0, offset) + 1


def _statements(text: str) -> Iterator[tuple[int, str, list[int]]]:
    """Offset and text of each statement, and the offsets of the texts in its list."""
    start, depth = 0, 0
    texts: list[int] = []
    for token in _TOKEN.finditer(text):
        match token[0][0]:
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case '"' | "'" if depth == 1:
                texts.append(token.start())
            case "\n" if depth == 0:
                yield start, text[start : token.start()], texts
                start, texts = token.end(), []
    yield start, text[start:], texts


def _header_keys(content: Any) -> list[str]:
    keys = []
    while content:
        if isinstance(content, list):  # [[name]]
            content = content[0]
            continue
        key, content = next(iter(content.items()))
        keys.append(key)
    return keys


def _depth(content: Any, wanted: Sequence[str]) -> int:
    """How many of the wanted keys lead into the content."""
    for depth, key in enumerate(wanted):
        if not isinstance(content, dict) or key not in content:
            return depth
        content = content[key]
    return len(wanted)
