"""Ctrl-C at each place of a call where CPython lets one come."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_WHERE_ONE_COMES = {"call", "c_return"}
"""As a function of Python begins and after a native one: there CPython looks for signals."""


def interrupted_everywhere(do: Callable[[], object]) -> Iterator[None]:
    """Call something again and again, each time interrupted a step later, until no step is left."""
    for step in itertools.count():
        if not _is_interrupted(do, step):
            return
        yield


def _is_interrupted(do: Callable[[], object], step: int) -> bool:
    left = step

    def look(frame: FrameType, event: str, value: Any) -> None:
        nonlocal left
        if event in _WHERE_ONE_COMES and frame.f_code is not look.__code__:
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        do()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False
