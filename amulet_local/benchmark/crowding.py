"""What is left of the speed when other programs keep half of the cores busy.

Knows nothing about tables.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from amulet_local.benchmark import ways
from amulet_local.benchmark.crew import Child, Progress
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.settings import Settings

_SPIN = "while True: pass"


@dataclass(frozen=True, kw_only=True)
class CrowdedWay:
    """One way, with default threads, on a quiet machine and on a busy one.

    Attributes:
        way: its name.
        quiet, busy: seconds per token.
        n_busy: programs that keep a core busy each.
    """

    way: str
    quiet: Sample
    busy: Sample
    n_busy: int

    @property
    def slowdown(self) -> float:
        """Time of a token on the busy machine over that on the quiet one."""
        return self.busy.median / self.quiet.median

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "way": self.way,
            "n_busy": self.n_busy,
            "quiet_seconds_per_token": self.quiet.as_json(),
            "busy_seconds_per_token": self.busy.as_json(),
            "slowdown": self.slowdown,
        }


def measure_busy(settings: Settings, *, on_gpu: bool, progress: Progress) -> tuple[CrowdedWay, ...]:
    """Time a plain token and a realigned one, in turns, quiet and busy.

    Raises:
        AmuletError: a process failed. None is left.
    """
    n_busy = max(1, settings.n_threads // 2)
    found = (
        ways.plain(settings, settings.runtime.n_threads),
        ways.amulet(settings, settings.row_schedules(on_gpu=on_gpu)[0], 1),
    )
    times: dict[tuple[str, bool], list[float]] = {
        (way.name, crowded): [] for way in found for crowded in (False, True)
    }
    command = {"do": "decode", "n_tokens": settings.n_tokens}
    with ExitStack() as stack:
        children = {}
        for way in found:
            progress(f"busy: loading: {way.name}")
            children[way.name] = stack.enter_context(Child(way.spec))
        for turn in range(settings.rounds):
            for name, child in children.items():
                progress(f"busy: round {turn + 1} of {settings.rounds}: {name}")
                times[name, False].append(child.ask(command) / settings.n_tokens)
                with _busy_cores(n_busy):
                    times[name, True].append(child.ask(command) / settings.n_tokens)
    return tuple(
        CrowdedWay(
            way=way.name,
            quiet=Sample(seconds=tuple(times[way.name, False])),
            busy=Sample(seconds=tuple(times[way.name, True])),
            n_busy=n_busy,
        )
        for way in found
    )


@contextmanager
def _busy_cores(n: int) -> Iterator[None]:
    """So many other programs that never rest."""
    spinning = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(n)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
