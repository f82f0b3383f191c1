"""What plots have in common: whether one can be made, marks' grid and labels, the PNG file.

Knows nothing about what is plotted.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from amulet_local.common import private_files
from amulet_local.common.errors import FileAccessError, InvalidParameterError
from amulet_local.common.extras import missing_extra

_PLACES = [
    (sign * x, y, "left" if sign > 0 else "right")
    for x, y in ((10, 0), (10, 9), (10, -9), (4, 16), (4, -16), (16, 24), (16, -24))
    for sign in (1, -1)
]
"""Where a label may be, in points from its mark, and which of its ends is there."""

_AIR = 8
"""Pixels between a label and a mark, at least; 10 points are 14."""


def check_plot(path: Path) -> None:
    """Whether a plot can be written there, before minutes are spent on its figures.

    Raises:
        MissingExtraError: matplotlib isn't installed.
        InvalidParameterError: the name doesn't end in .png.
        FileAccessError: it can't be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_extra("a plot needs matplotlib", "plot")
    if path.suffix.lower() != ".png":
        raise InvalidParameterError(f"a plot is a PNG file; {path.name!r} doesn't end in .png")
    private_files.check(path)


def save_marks(axes: Any, labels: list[Any], path: Path) -> None:
    """Give a plot its grid, put its labels in their places, and write it into a PNG file.

    Raises:
        FileAccessError: the file can't be written.
    """
    figure = axes.figure
    axes.margins(0.12)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.tight_layout()
    _place(labels, figure.canvas)
    try:
        figure.savefig(path, dpi=150, format="png")
    except OSError as error:
        raise FileAccessError(f"can't write {path}: {error.strerror}") from None


def _place(labels: list[Any], canvas: Any) -> None:
    """Put each label where it covers neither another one nor a point, if there is such a place."""
    axes = labels[0].axes
    marks = [axes.transData.transform(label.xy) for label in labels]
    taken: list[Any] = []
    for label in labels:
        for x, y, align in _PLACES:
            label.set(position=(x, y), ha=align, va="center")
            box = label.get_window_extent(canvas.get_renderer())
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            covers = any(box.overlaps(other) for other in taken)
            if (
                inside
                and not covers
                and not any(box.padded(_AIR).contains(*mark) for mark in marks)
            ):
                break
        taken.append(box)
