"""How much of the processors all programs have used so far; Linux says so, other systems don't."""

from __future__ import annotations

import os
import time
from pathlib import Path


def machine_ticks() -> tuple[float, float] | None:
    """All processor time since the start of the system, and how much of it was not idle."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    except OSError:
        return None
    ticks = [int(value) for value in line.split()[1:9]]  # user ... steal; guests are in user
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]


class OthersShare:
    """What other programs take of the processors from now on."""

    def __init__(self) -> None:
        """Begin."""
        self._machine, self._own = machine_ticks(), time.process_time()

    def so_far(self) -> float:
        """The share of all processors that they took, 0 to 1; 0 where the system doesn't say."""
        before, now = self._machine, machine_ticks()
        if before is None or now is None or now[0] <= before[0]:
            return 0.0
        own = (time.process_time() - self._own) * os.sysconf("SC_CLK_TCK")
        return min(1.0, max(0.0, (now[1] - before[1] - own) / (now[0] - before[0])))
