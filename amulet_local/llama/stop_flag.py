"""A flag that ends a llama.cpp computation from another thread.

Knows nothing about what is being computed. llama.cpp asks an abort callback between the operations
of a graph (on the CPU only); a callback in Python would take the GIL hundreds of times a step. So
the callback is a function of the C library: the flag is a text, and whether it is set is its
length, 0 or 1.
"""

from __future__ import annotations

import ctypes
import functools
import sys


class StoppedError(Exception):
    """The stop flag ended a computation. Never leaves the engine."""


class StopFlag:
    """Unset at first. `callback` and `address` go into llama_context_params.

    Attributes:
        callback: address of a native bool(void *).
        address: its argument. The flag has to outlive the contexts that were given it.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self.address = ctypes.addressof(self._text)
        self.callback = _address_of_strlen()

    def set(self) -> None:
        """Ask for the end of what is running and of what comes next."""
        self._text.value = b"1"

    def clear(self) -> None:
        """Withdraw it."""
        self._text.value = b""

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._text.value != b""


@functools.cache
def _address_of_strlen() -> int:
    """Of size_t strlen(const char *), which returns 0 or 1 here, as a bool is in a register."""
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    return ctypes.cast(library.strlen, ctypes.c_void_p).value or 0
