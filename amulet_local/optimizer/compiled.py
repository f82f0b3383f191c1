"""Numba's passes over rows take NumPy's places in a process that goes on.

NumPy's passes need no preparation, so they make the first tokens. Numba's (numba_passes.py) take a
third of their time, and have to be compiled (seconds, once on a machine) and loaded, which holds up
the steps meanwhile. So after ENOUGH_LOGITS a process of its own fills the cache, and a thread loads
from it what then takes the places of NumPy's passes. What can't be used of the cache is made anew;
where no cache folder can be trusted, or anything fails, NumPy's stay. Combinations are the same to
the bit; sums over them, which guards look at, agree to 1e-6, as both do with float64. Knows nothing
about who combines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from amulet_local.common.jit import compiled, kernel_cache_folder
from amulet_local.optimizer import kernels

ENOUGH_LOGITS = 1_000_000_000
"""Logits passed over until the takeover; a realigned token passes four times over its vocabulary.
NumPy's passes have lost as much time by then, 0.9 ns a logit, as the takeover costs, 0.9 s of
answers under way; so a process that realigns loses at most twice what it has to, however long it
goes on."""

COMPILE_SECONDS = 600.0
"""Longest time for the process that compiles, which has the lowest claim on a busy machine."""

_counter = threading.Lock()
_n_logits = 0
_numpys_stay = False


def loaded(folder: Path) -> kernels.Passes:
    """The compiled passes, from the cache in a folder where that has them."""
    from amulet_local.optimizer.numba_passes import PASSES

    made = kernels.Passes(*(compiled(function, folder) for function in PASSES))
    row, work = np.zeros(1, dtype=np.float32), np.zeros((2, 1), dtype=np.float32)
    zero = np.float32(0)
    made.combine(row, row, zero, work[0])
    made.extremes(row)
    made.cap_difference(row, row, zero, work[0])
    made.exponential_sum(row, zero, work)
    made.moments(row, zero, work)
    made.tilt_sums(row, zero, row, work)
    return made


def let_numpys_stay() -> None:
    """Begin no takeover in this process: Numba takes 120 MB, and sums differ in the last digit."""
    global _numpys_stay
    _numpys_stay = True


def count(n_logits: int) -> None:
    """Take note of a pass; the one that makes enough begins the takeover, beside what goes on."""
    global _n_logits
    if _numpys_stay or _n_logits >= ENOUGH_LOGITS:
        return
    with _counter:
        begins = _n_logits < ENOUGH_LOGITS <= _n_logits + n_logits
        _n_logits += n_logits
    if begins:
        threading.Thread(target=take_over, name="amulet-compiler", daemon=True).start()


def take_over() -> bool:
    """Put the compiled passes in the places of NumPy's; whether that was possible."""
    folder = kernel_cache_folder()
    if folder is None or not sys.executable:
        return False
    try:
        try:
            _fill(folder)
        except subprocess.CalledProcessError:  # Numba can't use what is there: a torn file, ...
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
            _fill(folder)
        kernels.use(loaded(folder))
    except Exception:
        return False
    return True


def _fill(folder: Path) -> None:
    """Have a process of its own compile what the folder lacks, and try what it has.

    Raises:
        subprocess.CalledProcessError: it failed, or it died.
        subprocess.TimeoutExpired: it takes too long.
        OSError: it can't be started.
    """
    subprocess.run(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=COMPILE_SECONDS,
        check=True,
    )


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    loaded(Path(sys.argv[1]))
