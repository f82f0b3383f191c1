"""A whole benchmark of a model: its parts one after the other, and the machine they ran on.

Knows nothing about tables.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from amulet_local.benchmark.crew import Child, Progress
from amulet_local.benchmark.crowding import CrowdedWay, measure_busy
from amulet_local.benchmark.decoding import Decode, measure_decode
from amulet_local.benchmark.footprint import PeakMemory, Start, measure_memory, measure_start
from amulet_local.benchmark.prompting import FirstToken, measure_prefill
from amulet_local.benchmark.settings import Settings
from amulet_local.common.processor_time import machine_ticks


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was found; a part that wasn't asked for is None.

    Attributes:
        settings: what was asked for.
        machine: where.
        decode, prefill, memory, start, busy: the parts.
    """

    settings: Settings
    machine: dict[str, Any]
    decode: Decode | None = None
    prefill: tuple[FirstToken, ...] | None = None
    memory: PeakMemory | None = None
    start: Start | None = None
    busy: tuple[CrowdedWay, ...] | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values, single timings included; only the parts that were run."""
        values: dict[str, Any] = {
            "machine": self.machine,
            "model": {
                "path": str(self.settings.model),
                "file_bytes": self.settings.model.stat().st_size,
            },
            "settings": self.settings.as_json(),
        }
        if self.decode is not None:
            values["decode"] = self.decode.as_json()
        if self.prefill is not None:
            values["prefill"] = [item.as_json() for item in self.prefill]
        if self.memory is not None:
            values["memory"] = self.memory.as_json()
        if self.start is not None:
            values["start"] = self.start.as_json()
        if self.busy is not None:
            values["busy"] = [item.as_json() for item in self.busy]
        return values


def run_benchmark(settings: Settings, progress: Progress) -> Report:
    """Measure everything that the settings name.

    Args:
        settings: what to measure.
        progress: told what is going on.

    Raises:
        AmuletError: something can't be measured. No process is left.
    """
    progress("looking at the machine")
    machine = describe_machine()
    on_gpu = machine["gpu_offload"] and settings.runtime.n_gpu_layers != 0
    parts = settings.parts
    report = Report(
        settings=settings,
        machine=machine,
        decode=measure_decode(settings, on_gpu=on_gpu, progress=progress)
        if "decode" in parts
        else None,
        prefill=measure_prefill(settings, on_gpu=on_gpu, progress=progress)
        if "prefill" in parts
        else None,
        memory=measure_memory(settings, on_gpu=on_gpu, progress=progress)
        if "memory" in parts
        else None,
        start=measure_start(settings, progress) if "start" in parts else None,
        busy=measure_busy(settings, on_gpu=on_gpu, progress=progress) if "busy" in parts else None,
    )
    machine["busy_cores_after"] = busy_cores()
    return report


def describe_machine() -> dict[str, Any]:
    """Processor, memory, system and versions."""
    with Child({"kind": "machine"}) as child:
        facts = child.facts
    return {
        "cpu": cpu_name(),
        "memory_bytes": _memory_bytes(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "llama_cpp_python": _version("llama-cpp-python"),
        "busy_cores_before": busy_cores(),
        **facts,
    }


def busy_cores(seconds: float = 0.5) -> float | None:
    """How many cores other programs keep busy; None where the system doesn't say (not Linux)."""
    before = machine_ticks()
    time.sleep(seconds)
    after = machine_ticks()
    if before is None or after is None:
        return None
    total = after[0] - before[0]
    return (after[1] - before[1]) / total * (os.cpu_count() or 1) if total > 0 else 0.0


def cpu_name() -> str:
    """The processor's model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or sys.platform


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
