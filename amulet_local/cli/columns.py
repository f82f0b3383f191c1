"""Text in columns: how wide it is on a terminal, wrapped by words, side by side.

Knows nothing about what the text says. Widths count a terminal's cells: two for East Asian wide
characters and emoji, none for marks that stand on the character before them. Texts come without
control characters but newlines and tabs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

NARROWEST = 30
"""Cells below which a column of prose is no pleasure to read."""
GAP = "  "

_NARROWEST_REMARK = 24
_TAB = 4
_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"


def cells(text: str) -> int:
    """How wide `text` is; one line."""
    return sum(_widths(text))


def cut(text: str, width: int) -> str:
    """`text`, or as much of it as fits `width` cells (5 or more), with "..." at the end."""
    if cells(text) <= width:
        return text
    return next(_slices(text, width - 3), "") + "..."


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` with blanks up to `width` cells; at its left side if `right`."""
    blanks = " " * (width - cells(text))
    return blanks + text if right else text + blanks


def wrap(text: str, width: int, *, breaks_words: bool = True) -> list[str]:
    """The lines of `text`, none wider than `width` cells.

    Lines are broken at blanks, and inside words that are wider than a line. The indentation of a
    line stays, and its further lines have none.

    Args:
        breaks_words: False leaves such words whole, in lines of their own that are too wide.
    """
    lines = []
    for line in text.expandtabs(_TAB).split("\n"):
        lines.extend(_wrap_line(line.rstrip(" "), width, breaks_words))
    return lines


def with_remark(start: str, remark: str, width: int | None) -> list[str]:
    """The lines of a row: its remark in a column of its own, or below where that would be narrow.

    Args:
        start: what stands before the remark.
        width: of the terminal; None for one line, however long.
    """
    if width is None:
        return [(start + remark).rstrip()]
    room = width - cells(start)
    if room >= _NARROWEST_REMARK:
        first, *rest = wrap(remark, room)
        lines = [start + first, *(" " * cells(start) + line for line in rest)]
    else:
        lines = [cut(start.rstrip(), width)]
        lines += ["     " + line for line in wrap(remark, width - 5) if remark]
    return [line.rstrip() for line in lines]


def table(names: Sequence[str], rows: Mapping[str, Sequence[str]], width: int | None) -> list[str]:
    """Lines of a table, as many columns below one another as are needed to fit a terminal.

    Args:
        names: of the columns.
        rows: a cell for each of them, by the row's name.
        width: of the terminal; None for as wide as it is.
    """
    first = max(map(cells, rows)) + len(GAP)
    whole = [[name, *(row[i] for row in rows.values())] for i, name in enumerate(names)]
    column = max(cells(cell) for one in whole for cell in one) + len(GAP)
    fits = len(names) if width is None else max((width - first) // column, 1)
    lines: list[str] = []
    for start in range(0, len(names), fits):
        parts = whole[start : start + fits]
        for i, name in enumerate(["", *rows]):
            cells_here = "".join(pad(part[i], column, right=True) for part in parts)
            lines.append(pad(name, first) + cells_here)
        lines.append("")
    return lines[:-1]


def column_width(n_columns: int, total: int) -> int:
    """How wide each of `n_columns` can be in `total` cells; may be negative."""
    return (total - (n_columns - 1) * len(GAP)) // n_columns


def side_by_side(texts: Sequence[str], width: int) -> str:
    """The texts next to each other, each wrapped to `width` cells."""
    columns = [wrap(text, width) for text in texts]
    height = max(len(column) for column in columns)
    rows = ([*column, *[""] * (height - len(column))] for column in columns)
    return "\n".join(
        GAP.join(pad(line, width) for line in row).rstrip(" ") for row in zip(*rows, strict=True)
    )


def _wrap_line(line: str, width: int, breaks_words: bool) -> list[str]:
    body = line.lstrip(" ")
    lines, current = [], line[: len(line) - len(body)]
    current = current[: max(0, width - 1)]
    has_word = False
    for word in body.split(" "):
        joined = f"{current} {word}" if has_word else current + word
        if cells(joined) <= width:
            current, has_word = joined, True
            continue
        if has_word:
            lines.append(current)
            current = ""
        begun = current + word
        *whole, current = _slices(begun, width) if breaks_words else [begun]
        lines.extend(whole)
        has_word = True
    return [*lines, current]


def _slices(text: str, width: int) -> Iterator[str]:
    """`text` in pieces of at most `width` cells; a character wider than that is a piece."""
    start, used = 0, 0
    for position, size in enumerate(_widths(text)):
        if used + size > width and position > start:
            yield text[start:position]
            start, used = position, 0
        used += size
    if start < len(text):
        yield text[start:]


def _widths(text: str) -> Iterator[int]:
    """The cells that each character adds."""
    before, width = "", 0
    for character in text:
        category = unicodedata.category(character)
        if character == _EMOJI_STYLE and width == 1:
            added = 1
        elif category in ("Mn", "Me", "Cf") or before == _JOINER:
            added = 0
        else:
            added = 2 if unicodedata.east_asian_width(character) in "WF" else 1
            width = added
        before = character
        yield added
