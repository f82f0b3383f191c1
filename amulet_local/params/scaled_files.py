"""Files that are given with a scale: FILE, FILE:SCALE, or a pair of both.

Knows nothing about what is in the files or what the scale does.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

MAX_FILES = 32
MAX_SCALE = 1000.0

_WITH_SCALE = re.compile(r"(.+):([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.DOTALL)


class ScaledFile(NamedTuple):
    """A file and how strongly it counts.

    Attributes:
        path: where it is.
        scale: a factor, -1000 to 1000.
    """

    path: str
    scale: float = 1.0


def scaled_files(value: Any) -> tuple[ScaledFile, ...]:
    """What the caller gave as ScaledFiles.

    Args:
        value: one of, or a sequence of: a path; a text with a number after its last colon, which
            is the scale; a pair of a path and a scale, of which the path is taken as it stands.

    Raises:
        ValueError: something else, a scale out of range, or too many of them.
    """
    if isinstance(value, str | os.PathLike):
        value = [value]
    if not isinstance(value, Sequence):
        raise ValueError("must be a list of files")
    if len(value) > MAX_FILES:
        raise ValueError(f"must be at most {MAX_FILES} files")
    return tuple(map(_scaled, value))


def _scaled(item: Any) -> ScaledFile:
    path, scale = item, 1.0
    if isinstance(item, str):
        if (found := _WITH_SCALE.fullmatch(item)) is not None:
            path, scale = found[1], float(found[2])
    elif isinstance(item, Sequence) and len(item) == 2:
        path, scale = item
    if not isinstance(path, str | os.PathLike) or not isinstance(scale, int | float):
        raise ValueError("must be paths, 'FILE:SCALE' or pairs of a path and a scale")
    name = os.fspath(path)
    if not isinstance(name, str) or not name:
        raise ValueError("must be paths, and no path is empty")
    if not (math.isfinite(scale) and abs(scale) <= MAX_SCALE):
        raise ValueError(f"the scale of {name!r} must be {-MAX_SCALE:g} to {MAX_SCALE:g}")
    return ScaledFile(name, float(scale))
