"""A flag that ends a llama.cpp computation from another thread.

Knows nothing about what is being computed. llama.cpp asks an abort callback between the operations
of a graph (on the CPU only); a callback in Python would take the GIL hundreds of times a step, so
this one is compiled and reads one integer.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from amulet_local.common.jit import compile_with


class StoppedError(Exception):
    """The stop flag ended a computation. Never leaves the engine."""


class StopFlag:
    """Unset at first. `callback` and `address` go into llama_context_params.

    Attributes:
        callback: address of a native bool(void *).
        address: its argument. The flag has to outlive the contexts that were given it.
    """

    def __init__(self) -> None:
        self._value = ctypes.c_int32(0)
        self.address = ctypes.addressof(self._value)
        self.callback: int = _native_reader().address

    def set(self) -> None:
        """Ask for the end of what is running and of what comes next."""
        self._value.value = 1

    def clear(self) -> None:
        """Withdraw it."""
        self._value.value = 0

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._value.value != 0


def _is_set(flag: Any) -> Any:
    return flag[0] != 0


@functools.cache
def _native_reader() -> Any:
    from numba import cfunc, types

    pointer: Any = types.CPointer  # untyped in Numba

    signature = types.uint8(pointer(types.int32))
    return compile_with(functools.partial(cfunc, signature), _is_set)
