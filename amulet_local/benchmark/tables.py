"""A benchmark's figures as tables for a terminal of 80 columns. Knows nothing about measuring."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from amulet_local.benchmark.crowding import CrowdedWay
from amulet_local.benchmark.decoding import Decode
from amulet_local.benchmark.footprint import PeakMemory, Start
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.prompting import FirstToken
from amulet_local.benchmark.run import Report
from amulet_local.benchmark.shapes import Shape

WIDTH = 80
BUSY_CORES = 0.2
"""Work of other programs that is worth a warning."""


def report_text(report: Report) -> str:
    """All tables."""
    sections = [_heading(report)]
    if report.decode is not None:
        sections += [_decode(report.decode), _outside(report.decode)]
        if report.decode.extra_preferences():
            sections.append(_extra(report.decode))
    if report.prefill is not None:
        sections.append(_prefill(report.prefill))
    if report.memory is not None:
        sections.append(_memory(report.memory))
    if report.start is not None:
        sections.append(_start(report.start))
    if report.busy is not None:
        sections.append(_busy(report.busy))
    return "\n\n".join("\n".join(line[:WIDTH].rstrip() for line in part) for part in sections)


def _heading(report: Report) -> list[str]:
    machine, settings = report.machine, report.settings
    memory = machine["memory_bytes"]
    description = report.decode.timed[0].facts["description"] if report.decode else ""
    lines = [
        f"{settings.model.name}  {description}",
        f"{machine['cpu']}, {machine['usable_cores']} cores"
        + (f", {memory / 2**30:.0f} GiB" if memory else "")
        + (", GPU" if machine["gpu_offload"] else ""),
        f"{machine['system']}",
        f"llama-cpp-python {machine['llama_cpp_python']}, llama.cpp {machine['llama_cpp']}, "
        f"{settings.n_threads} threads",
    ]
    busy = max(machine["busy_cores_before"] or 0.0, machine["busy_cores_after"] or 0.0)
    if busy > BUSY_CORES:
        lines.append(f"Other programs kept {busy:.1f} cores busy: these figures say little.")
    return lines


def _decode(decode: Decode) -> list[str]:
    best = decode.best_plain
    lines = [
        f"{'Decode':36} {'ms/token':>9} {'middle half':>15} {'tokens/s':>9} {'ratio':>6}",
    ]
    for item in decode.timed:
        name = item.way.name + (" (best)" if item is best else "")
        if item.way.schedule == "auto":
            name += f" ({item.facts['schedule']})"
        lines.append(
            f"{name:36} {item.seconds.median * 1e3:>9.2f} {_range(item.seconds, 1e3, 2):>15} "
            f"{item.tokens_per_second:>9.1f} {item.ratio:>6.2f}"
        )
    how = "in turns" if decode.together else "one process at a time"
    lines.append(f"ratio: tokens/s over those of the best plain way; {how}")
    if decode.timed[-1].way.n_preferences > 1:
        lines.append("K: preferences at once; 1 where nothing is said")
    return lines


def _outside(decode: Decode) -> list[str]:
    lines = [f"{'Outside llama_decode: ' + decode.outside_way:52} {'% of a step':>12}"]
    lines += [
        f"{name:52} {sample.median:>12.1%} {_range(sample, 100, 1):>13}"
        for name, sample in decode.outside.items()
    ]
    return lines


def _extra(decode: Decode) -> list[str]:
    lines = [f"{'One more preference':52} {'ms/token':>12}"]
    for item in decode.extra_preferences():
        name = f"{item['schedule']}, from {item['n_preferences'] - 1} to {item['n_preferences']}"
        lines.append(f"{name:52} {item['added_seconds'] * 1e3:>+12.2f}")
    return lines


def _prefill(rows: Sequence[FirstToken]) -> list[str]:
    lines = [_columns()]
    for shape, group in groupby(rows, key=lambda row: row.shape):
        lines.append(_shape_name(shape))
        lines += [
            f"  {row.way:32} {row.seconds.median:>7.3f} {_range(row.seconds, 1, 3):>15} "
            f"{row.ratio:>5.2f} {row.second.median:>8.3f} {row.second_ratio:>6.2f}"
            for row in group
        ]
    lines.append("second: another question after the same text; its share of the first's time")
    return lines


def _columns() -> str:
    return (
        f"{'First token, seconds':34} {'median':>7} {'middle half':>15} {'ratio':>5} "
        f"{'second':>8} {'share':>6}"
    )


def _shape_name(shape: Shape) -> str:
    history = f" + {shape.history:,} history" if shape.history else ""
    return (
        f"{shape.system} system{history} + {shape.question} question tokens, preference ends the "
        f"{'user turn' if shape.placement == 'user' else 'system text'}"
    )


def _memory(memory: PeakMemory) -> list[str]:
    values = [
        ("plain", memory.plain.median),
        (memory.way, memory.amulet.median),
        ("difference", memory.added),
    ]
    if memory.kv_cache is not None and memory.beyond is not None:
        values += [
            ("second KV cache (f16)", memory.kv_cache),
            ("difference beyond it", memory.beyond),
        ]
    lines = [f"{'Peak memory':52} {'MiB':>12}"]
    return lines + [f"{name:52} {value / 2**20:>12,.1f}" for name, value in values]


def _start(start: Start) -> list[str]:
    return [
        f"{'Cold start of generate -n 1':52} {'seconds':>12}",
        *(
            f"{name:52} {sample.median:>12.2f} {_range(sample, 1, 2):>13}"
            for name, sample in (("first token", start.first_output), ("exit", start.exit))
        ),
    ]


def _busy(rows: Sequence[CrowdedWay]) -> list[str]:
    n = rows[0].n_busy
    others = f"beside {n} busy program{'s' if n > 1 else ''}"
    lines = [f"{'Default threads, milliseconds a token':37} {'quiet':>9} {others:>22} {'ratio':>8}"]
    lines += [
        f"{row.way:37} {row.quiet.median * 1e3:>9.2f} {row.busy.median * 1e3:>22.2f} "
        f"{row.slowdown:>8.2f}"
        for row in rows
    ]
    return lines


def _range(sample: Sample, factor: float, digits: int) -> str:
    low, high = (value * factor for value in sample.quartiles)
    return f"{low:.{digits}f}-{high:.{digits}f}"
