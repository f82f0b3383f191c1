"""Peak memory of answering in a fresh process, and how long the command takes from nothing.

Knows nothing about tables.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from amulet_local.benchmark import ways
from amulet_local.benchmark.crew import Progress, environment, take_turns
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.settings import Settings
from amulet_local.common.errors import BackendError
from amulet_local.params.runtime import RuntimeParams

MOST_MEMORY_ROUNDS = 3
N_PROMPT, N_QUICK_PROMPT = 600, 64
"""Tokens: the first is longer than a chunk of the prefill, so that every buffer is in use."""
MOST_STARTS = 5
_CUT = 3
"""What the command ends with after an answer that was cut, as after a single token."""
_KEPT = ("AMULET_CACHE", "AMULET_CONFIG", "AMULET_MODELS")


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """Peak resident memory in bytes.

    Attributes:
        plain, amulet: of a process that answers without and with one preference.
        way: how the rows of `amulet` were computed.
        kv_cache: size of the second row's KV cache, None where the model's metadata don't say it.
    """

    plain: Sample
    amulet: Sample
    way: str
    kv_cache: int | None

    @property
    def added(self) -> float:
        """What a preference adds."""
        return self.amulet.median - self.plain.median

    @property
    def beyond(self) -> float | None:
        """What it adds beyond the second KV cache."""
        return None if self.kv_cache is None else self.added - self.kv_cache

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "way": self.way,
            "plain_bytes": self.plain.as_json(),
            "amulet_bytes": self.amulet.as_json(),
            "added_bytes": self.added,
            "second_kv_cache_bytes": self.kv_cache,
            "beyond_bytes": self.beyond,
        }


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds from the start of `amulet-local generate -n 1`.

    Attributes:
        first_output: until the first token is printed.
        exit: until the process has ended.
    """

    first_output: Sample
    exit: Sample

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {"first_output": self.first_output.as_json(), "exit": self.exit.as_json()}


def measure_memory(settings: Settings, *, on_gpu: bool, progress: Progress) -> PeakMemory:
    """Peak memory of fresh processes, plain and with one preference.

    Raises:
        AmuletError: a process failed.
    """
    plain = ways.plain(settings, settings.n_threads)
    amulet = ways.amulet(settings, settings.row_schedules(on_gpu=on_gpu)[0], 1)
    samples: dict[str, list[int]] = {plain.name: [], amulet.name: []}
    facts: dict[str, dict[str, Any]] = {}
    for turn in range(1 if settings.quick else min(settings.rounds, MOST_MEMORY_ROUNDS)):
        results, facts = take_turns(
            {way.name: way.spec for way in (plain, amulet)},
            [{"do": "peak_bytes", "n_prompt": N_QUICK_PROMPT if settings.quick else N_PROMPT}],
            rounds=1,
            together=False,
            progress=lambda text, turn=turn: progress(f"memory: {turn + 1}, {text}"),  # type: ignore[misc]
        )
        for name in samples:
            samples[name].append(results[name][0][0])
    return PeakMemory(
        plain=Sample(seconds=tuple(samples[plain.name])),
        amulet=Sample(seconds=tuple(samples[amulet.name])),
        way=f"{amulet.name} ({facts[amulet.name]['schedule']})",
        kv_cache=facts[plain.name]["kv_cache_bytes"],
    )


def measure_start(settings: Settings, progress: Progress) -> Start:
    """Start the command a few times, after one start that warms disk and caches.

    Raises:
        BackendError: it fails.
    """
    command = [sys.executable, "-m", "amulet_local", "generate", "How do I sleep better?"]
    command += ["--preference", "concise", "-n", "1", "-m", str(settings.model)]
    command += _flags(settings.runtime)
    progress("start: once to warm up")
    _start(command)
    times = []
    n_starts = 1 if settings.quick else min(settings.rounds, MOST_STARTS)
    for turn in range(n_starts):
        progress(f"start: {turn + 1} of {n_starts}")
        times.append(_start(command))
    first_output, end = zip(*times, strict=True)
    return Start(first_output=Sample(seconds=first_output), exit=Sample(seconds=end))


def _flags(runtime: RuntimeParams) -> list[str]:
    """The flags of `generate` for what the options of `bench` have set."""
    layers = "all" if runtime.n_gpu_layers == -1 else str(runtime.n_gpu_layers)
    flags = ["-ngl", layers, "-fa", runtime.flash_attention]
    if runtime.n_threads is not None:
        flags += ["-t", str(runtime.n_threads)]
    for name in ("lora", "control_vectors"):
        for path, scale in getattr(runtime, name):
            flags += [RuntimeParams.options[name].flag, f"{path}:{scale}"]
    if runtime.control_vector_layers is not None:
        flags += ["--control-vector-layer-range", *map(str, runtime.control_vector_layers)]
    return [*flags, "--adapters-on", runtime.adapters_on]


def _start(command: list[str]) -> tuple[float, float]:
    kept = {
        name: value
        for name, value in environment().items()
        if not name.startswith("AMULET_") or name in _KEPT
    }
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=kept,
        bufsize=0,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        first_output = time.perf_counter() - begin
        process.stdout.read()
        code = process.wait()
        end = time.perf_counter() - begin
        message = process.stderr.read().decode("utf-8", "replace").strip()
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if code not in (0, _CUT):
        last = (message or "no message").splitlines()[-1]
        raise BackendError(f"`amulet-local generate` ended with {code}: {last}")
    return first_output, end
