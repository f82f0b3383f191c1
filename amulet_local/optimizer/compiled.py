"""Numba's pass over two rows takes NumPy's place in a process that goes on.

NumPy's passes need no preparation, so they make the first tokens. Numba's (numba_pass.py) takes
half their time, and has to be compiled (seconds, once on a machine) and loaded, which holds up the
steps meanwhile. So after ENOUGH_LOGITS a process of its own fills the cache, and a thread loads
from it what then takes the place of NumPy's passes. Where no cache folder can be trusted, or
anything fails, those stay: the results are the same. Knows nothing about who combines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from amulet_local.common.jit import compiled, kernel_cache_folder
from amulet_local.optimizer import kernels

ENOUGH_LOGITS = 10_000_000_000
"""Logits combined until the takeover: 65,000 steps of a vocabulary of 152,000. NumPy's passes have
lost as much time by then as the takeover costs, two seconds of an answer's, at 0.23 ns a logit; so
a process loses at most twice what it has to, however long it goes on."""

COMPILE_SECONDS = 600.0
"""Longest time for the process that compiles, which has the lowest claim on a busy machine."""

_counter = threading.Lock()
_n_logits = 0


def loaded(folder: Path) -> kernels.Pass:
    """The compiled pass, from the cache in a folder where that has it."""
    from amulet_local.optimizer.numba_pass import one_pass

    function = compiled(one_pass, folder)
    row = np.zeros(1, dtype=np.float32)
    function(row, row, np.float32(0), row.copy())
    return function


def count_step(n_logits: int) -> None:
    """Take note of a step; the one that makes enough begins the takeover, beside what goes on."""
    global _n_logits
    if _n_logits >= ENOUGH_LOGITS:
        return
    with _counter:
        begins = _n_logits < ENOUGH_LOGITS <= _n_logits + n_logits
        _n_logits += n_logits
    if begins:
        threading.Thread(target=take_over, name="amulet-compiler", daemon=True).start()


def take_over() -> bool:
    """Put the compiled pass in the place of NumPy's; whether that was possible."""
    folder = kernel_cache_folder()
    if folder is None or not sys.executable:
        return False
    try:
        subprocess.run(
            [sys.executable, "-m", __name__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=COMPILE_SECONDS,
            check=True,
        )
        kernels.replace_pass(loaded(folder))
    except Exception:
        return False
    return True


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    loaded(Path(sys.argv[1]))
