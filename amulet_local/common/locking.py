"""A lock that Ctrl-C can't leave locked, and the condition that goes with it.

A `threading.Condition` in a `with` statement takes and gives back its lock in methods of Python:
an interrupt of the main thread that comes as one of them begins is raised there, the lock stays
taken, and every other thread waits for ever. The lock's own methods are native, and no interrupt
comes inside of them.
"""

from __future__ import annotations

import threading
from typing import Any


def new_condition() -> tuple[Any, threading.Condition]:
    """A re-entrant lock for `with` statements, and a condition to wait and notify with inside."""
    lock = threading.RLock()
    return lock, threading.Condition(lock)
