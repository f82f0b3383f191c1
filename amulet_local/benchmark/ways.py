"""The ways of answering that are compared, and the children that hold them.

Knows nothing about timing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from amulet_local.benchmark.crew import Spec
from amulet_local.benchmark.settings import N_CTX, RowSchedule, Settings

Kind = Literal["plain", "completion", "bare", "amulet"]
BARE_ROWS = 2


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way.

    Attributes:
        name: for tables.
        kind: "plain" is this package without a preference, "completion" llama-cpp-python's own,
            "bare" two contexts side by side with nothing in between.
        spec: its child.
        schedule: of an amulet way, as it was asked for.
        n_preferences: K.
    """

    name: str
    kind: Kind
    spec: Spec
    schedule: str | None = None
    n_preferences: int = 0


def plain(settings: Settings, n_threads: int | None) -> Way:
    """This package without a preference; None leaves the number of threads to it."""
    runtime = settings.runtime.replace(schedule="serial", n_threads=n_threads)
    name = "plain" if n_threads is None else f"plain, {_threads(n_threads)}"
    return Way(name=name, kind="plain", spec=_engine(settings, runtime, 0))


def amulet(settings: Settings, schedule: RowSchedule, n_preferences: int) -> Way:
    """This package with preferences."""
    runtime = settings.runtime.replace(
        schedule=schedule.schedule, threads_per_row=schedule.threads_per_row
    )
    several = f", K = {n_preferences}" if n_preferences > 1 else ""
    return Way(
        name=f"amulet, {schedule.name}{several}",
        kind="amulet",
        spec=_engine(settings, runtime, n_preferences),
        schedule=schedule.name,
        n_preferences=n_preferences,
    )


def completion(settings: Settings, n_gpu_layers: int) -> Way:
    """llama-cpp-python's own completion."""
    spec = {
        "kind": "completion",
        "model": str(settings.model),
        "n_threads": settings.n_threads,
        "n_gpu_layers": n_gpu_layers,
    }
    name = f"llama-cpp-python, {_threads(settings.n_threads)}"
    return Way(name=name, kind="completion", spec=spec)


def bare(settings: Settings) -> Way:
    """Two contexts of llama.cpp side by side, the threads split: the least that two rows cost."""
    n_threads = max(1, settings.n_threads // BARE_ROWS)
    spec = {
        "kind": "bare",
        "model": str(settings.model),
        "n_contexts": BARE_ROWS,
        "n_threads": n_threads,
    }
    name = f"bare: {BARE_ROWS} contexts, {_threads(n_threads)} each"
    return Way(name=name, kind="bare", spec=spec)


def decode_ways(settings: Settings, *, on_gpu: bool) -> list[Way]:
    """Everything that decoding is compared of."""
    most = settings.n_threads
    counts = {most} if on_gpu else {1, max(1, most // 2), most}
    found = [plain(settings, n_threads) for n_threads in sorted(counts)]
    layers = settings.runtime.n_gpu_layers
    found.append(completion(settings, (-1 if layers == "auto" else layers) if on_gpu else 0))
    if not on_gpu:
        found.append(bare(settings))
    schedules = settings.row_schedules(on_gpu=on_gpu)
    for n_preferences in range(1, settings.n_preferences + 1):
        found += [amulet(settings, schedule, n_preferences) for schedule in schedules]
    return found


def _engine(settings: Settings, runtime: Any, n_preferences: int) -> Spec:
    given = runtime.model_dump(mode="json", exclude_unset=True, warnings=False)
    return {
        "kind": "engine",
        "model": str(settings.model),
        "n_preferences": n_preferences,
        "runtime": {**given, "n_ctx": N_CTX, "draft": "off"},
    }


def _threads(n: int) -> str:
    return f"{n} thread{'s' if n > 1 else ''}"
