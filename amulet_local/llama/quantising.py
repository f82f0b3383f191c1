"""Writes a model in another type, by llama.cpp's own quantiser.

Knows nothing about where models are kept.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path

from amulet_local.common.errors import BackendError, InvalidParameterError
from amulet_local.llama import library, native


def quantisation_type(name: str) -> tuple[str, int]:
    """A type's name as it is written, and its llama_ftype.

    Raises:
        InvalidParameterError: there is none of that name.
    """
    known = name.upper()
    if known not in native.FILE_TYPES:
        types = ", ".join(sorted(native.FILE_TYPES))
        raise InvalidParameterError(f"no type {name!r}; known: {types}")
    return known, native.FILE_TYPES[known]


def quantise(
    source: Path,
    target: Path,
    file_type: int,
    *,
    again: bool = False,
    waiting: Callable[[], None] | None = None,
) -> None:
    """Write `source` in another type, on every core. Takes minutes for billions of weights.

    The native call can't be interrupted, so it runs in a thread that dies with the process.

    Args:
        again: whether what is quantised already may be quantised once more.
        waiting: called ten times a second.

    Raises:
        BackendError: llama.cpp can't.
    """
    library.start()
    import llama_cpp

    library.log.mark()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = file_type
    params.allow_requantize = again
    params.nthread = os.cpu_count() or 1
    outcome: list[int] = []

    def work() -> None:
        outcome.append(
            llama_cpp.llama_model_quantize(
                os.fsencode(source), os.fsencode(target), ctypes.byref(params)
            )
        )

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        if waiting is not None:
            waiting()
    if outcome != [0]:
        raise BackendError(
            f"llama.cpp can't write {target.name}: "
            f"{library.log.last_error() or 'it gives no reason'}"
        )
