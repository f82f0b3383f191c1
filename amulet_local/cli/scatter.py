"""A scatter plot in plain characters: labelled points in a frame with numbers at its sides.

Knows nothing about what the points are. ASCII only and without colours, so that it reads the same
on any terminal, in a file and in a mail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MARK = "o"
CHOSEN = "*"

_MARGIN = 8
"""Characters left of the frame, for the numbers."""


@dataclass(frozen=True, kw_only=True)
class ScatterPoint:
    """A point.

    Attributes:
        x, y: where; finite.
        label: a short text beside it.
        is_chosen: whether it stands out.
    """

    x: float
    y: float
    label: str
    is_chosen: bool = False


def scatter(
    points: Sequence[ScatterPoint],
    *,
    x_name: str,
    y_name: str,
    width: int = 60,
    height: int = 16,
) -> list[str]:
    """The lines of a plot, the largest y on top.

    Points that fall on one character share it and a label. A label that finds no free place beside
    its point is left out of the frame and listed below it, with its numbers.

    Args:
        points: at least one.
        x_name, y_name: what the axes are.
        width: most characters of a line, at least 30.
        height: lines inside the frame, at least 3.
    """
    n_columns = width - _MARGIN - 3
    x_scale = _Scale([point.x for point in points], n_columns)
    y_scale = _Scale([point.y for point in points], height)
    cells: dict[tuple[int, int], list[ScatterPoint]] = {}
    for point in points:
        cell = height - 1 - y_scale.place(point.y), x_scale.place(point.x)
        cells.setdefault(cell, []).append(point)
    grid = [[" "] * n_columns for _ in range(height)]
    for (row, column), here in cells.items():
        grid[row][column] = CHOSEN if any(point.is_chosen for point in here) else MARK
    unplaced = [
        point
        for cell, here in sorted(cells.items())
        if not _write_label(grid, cell, ", ".join(point.label for point in here))
        for point in here
    ]
    ticks = {0: y_scale.high, height // 2: y_scale.value(height - 1 - height // 2)}
    ticks[height - 1] = y_scale.low
    lines = [y_name, _frame(n_columns)]
    for row, characters in enumerate(grid):
        number = _number(ticks[row]) if row in ticks else ""
        lines.append(f"{number:>{_MARGIN}} |{''.join(characters)}|")
    lines += [_frame(n_columns), *_bottom(x_scale, n_columns, x_name)]
    lines += [f"(at {point.x:.3g}, {point.y:.3g}: {point.label})" for point in unplaced]
    return [line.rstrip() for line in lines]


class _Scale:
    """From values to places 0 to n - 1, with some air at both ends."""

    def __init__(self, values: Sequence[float], n: int) -> None:
        low, high = min(values), max(values)
        air = (high - low) / 20 or max(abs(high), 1.0) / 20
        self.low, self.high = low - air, high + air
        self._n = n

    def place(self, value: float) -> int:
        share = (value - self.low) / (self.high - self.low)
        return min(self._n - 1, math.floor(share * self._n))

    def value(self, place: int) -> float:
        return self.low + (self.high - self.low) * (place + 0.5) / self._n


def _frame(n_columns: int) -> str:
    return f"{'':{_MARGIN}} +{'-' * n_columns}+"


def _bottom(scale: _Scale, n_columns: int, name: str) -> Iterator[str]:
    """Numbers under the left end, the middle and the right end, then the axis' name."""
    left, middle, right = map(_number, (scale.low, scale.value(n_columns // 2), scale.high))
    before = " " * (_MARGIN + 2)
    gap = n_columns - len(left) - len(right)
    yield f"{before}{left}{(middle if len(middle) + 2 <= gap else '').center(gap)}{right}"
    yield f"{before}{name.center(n_columns)}"


def _number(value: float) -> str:
    """A number of at most _MARGIN characters."""
    texts = (f"{value:{precision}}" for precision in (".3g", ".1e", ".0e"))
    return next(text for text in texts if len(text) <= _MARGIN)


def _write_label(grid: list[list[str]], cell: tuple[int, int], label: str) -> bool:
    """Write a label beside its point, if there is room: right, left, above, below."""
    row, column = cell
    n = len(label)
    centred = column - n // 2
    for label_row, start in (
        (row, column + 2),
        (row, column - 1 - n),
        *((row + step, place) for step in (-1, 1) for place in (column + 1, centred, column - n)),
    ):
        if _is_free(grid, label_row, start, n):
            grid[label_row][start : start + n] = label
            return True
    return False


def _is_free(grid: list[list[str]], row: int, start: int, n: int) -> bool:
    """Whether there are n blanks, with a blank or the frame at both sides."""
    if not 0 <= row < len(grid) or start < 0 or start + n > len(grid[row]):
        return False
    return set(grid[row][max(0, start - 1) : start + n + 1]) <= {" "}
