"""What benchmarks measure and how their processes behave; never how long anything takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from amulet_local import RuntimeParams, errors
from amulet_local.benchmark import crew, plot
from amulet_local.benchmark.crew import Child, take_turns
from amulet_local.benchmark.crowding import CrowdedWay
from amulet_local.benchmark.decoding import Decode, TimedWay
from amulet_local.benchmark.footprint import PeakMemory, Start
from amulet_local.benchmark.kernels import kernel_table, measure_kernels
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.prompting import FirstToken
from amulet_local.benchmark.run import Report, busy_cores
from amulet_local.benchmark.settings import RowSchedule, Settings, parse_parts
from amulet_local.benchmark.shapes import N_PREFERENCE, SHAPES, Shape
from amulet_local.benchmark.subject import peak_bytes, share_outside
from amulet_local.benchmark.tables import report_text
from amulet_local.benchmark.ways import Way, decode_ways
from amulet_local.llama.row import common_length
from tests.gguf_edit import SHALLOW_LAYERS


def children() -> list[psutil.Process]:
    """The processes of benchmarks that this process started."""
    found = psutil.Process().children(recursive=True)
    return [item for item in found if "amulet_local.benchmark.child" in item.cmdline()]


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    assert children() == []


def engine_spec(model: Path, n_preferences: int = 1, **runtime: Any) -> dict[str, Any]:
    runtime = {"n_ctx": 2048, "n_threads": 1, "n_threads_batch": 1, **runtime}
    return {
        "kind": "engine",
        "model": str(model),
        "n_preferences": n_preferences,
        "runtime": runtime,
    }


def sample(*seconds: float) -> Sample:
    return Sample(seconds=seconds)


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"model": Path("m.gguf"), "runtime": RuntimeParams(), **changes}
    return Settings(**values)


@pytest.mark.parametrize("seconds", [(1.0,), (1.0, 2.0), (1.0, 2.0, 9.0), (3.0, 1.0, 2.0, 4.0)])
def test_quartiles_are_around_the_median_and_inside_what_was_measured(
    seconds: tuple[float, ...],
) -> None:
    values = sample(*seconds).as_json()
    assert min(seconds) <= values["low"] <= values["median"] <= values["high"] <= max(seconds)
    assert values["all"] == list(seconds)


def test_time_outside_is_what_no_call_covers() -> None:
    together = [(0.0, 6.0), (0.5, 8.0), (10.0, 17.0), (10.1, 16.0), (20.0, 28.0), (20.0, 29.0)]
    assert share_outside(together, 2) == pytest.approx(5 / 20)
    in_turn = [(0.0, 4.0), (5.0, 9.0), (10.0, 14.0), (15.0, 19.0), (20.0, 24.0), (25.0, 29.0)]
    assert share_outside(in_turn, 2) == pytest.approx(4 / 20)
    assert share_outside([(0.0, 9.0), (10.0, 19.0)], 1) == pytest.approx(0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_prompts_have_their_lengths_and_share_what_comes_before_the_preference(
    shape: Shape,
) -> None:
    plain, preference = shape.prompts(49_152)
    assert len(plain) == shape.n_plain
    assert len(preference) == shape.n_plain + N_PREFERENCE
    shared = shape.system
    if shape.placement == "user":
        shared += shape.history + shape.question
    assert common_length(plain, preference) == shared
    assert shape.prompts(49_152) == (plain, preference)
    other, _ = shape.prompts(49_152, variant=1)
    assert common_length(plain, other) == shape.system + shape.history


def test_schedules_are_read_as_they_are_written() -> None:
    schedule = RowSchedule.parse("parallel:2")
    assert (schedule.schedule, schedule.threads_per_row) == ("parallel", 2)
    assert RowSchedule.parse("auto").threads_per_row is None


@pytest.mark.parametrize("text", ["", "fast", "serial:2", "parallel:", "parallel:x", "parallel:0"])
def test_a_schedule_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidParameterError):
        RowSchedule.parse(text)


@pytest.mark.parametrize(
    "changes",
    [{"n_preferences": 0}, {"n_tokens": 1}, {"n_tokens": 2.5}, {"rounds": 0}, {"schedules": ()}],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidParameterError):
        settings(**changes)


def test_unknown_parts_are_refused_and_double_ones_count_once() -> None:
    assert parse_parts(["start", "start"], ["start"]) == ("start",)
    with pytest.raises(errors.InvalidParameterError, match="nonsense"):
        parse_parts(["nonsense"], ["start"])


@pytest.mark.parametrize("n_threads", [1, 2, 16])
def test_ways_cover_each_schedule_number_of_preferences_and_yardstick(n_threads: int) -> None:
    wanted = settings(n_preferences=3, runtime=RuntimeParams(n_threads=n_threads))
    ways = decode_ways(wanted, on_gpu=False)
    assert len({way.name for way in ways}) == len(ways)
    assert {way.kind for way in ways} == {"plain", "completion", "bare", "amulet"}
    threads = [way.spec["runtime"]["n_threads"] for way in ways if way.kind == "plain"]
    assert {1, n_threads} <= set(threads)
    pairs = {(way.schedule, way.n_preferences) for way in ways if way.kind == "amulet"}
    names = {name for name, _ in pairs}
    assert {"auto", "parallel", "serial", "batched"} <= names
    assert ("parallel:2" in names) == (n_threads == 2)
    assert pairs == {(name, n) for name in names for n in (1, 2, 3)}


def test_on_a_gpu_no_two_contexts_run_at_once() -> None:
    ways = decode_ways(settings(), on_gpu=True)
    assert {way.schedule for way in ways if way.kind == "amulet"} == {"auto", "serial", "batched"}
    assert "bare" not in {way.kind for way in ways}


def test_children_take_turns_and_none_is_left(tiny_path: Path) -> None:
    said: list[str] = []
    specs = {
        "a": engine_spec(tiny_path, 0),
        "b": engine_spec(tiny_path, 2, schedule="batched"),
    }
    results, facts = take_turns(
        specs,
        [{"do": "decode", "n_tokens": 2}, {"do": "decode", "n_tokens": 3}],
        rounds=2,
        together=True,
        progress=said.append,
    )
    assert said[-4:] == [f"round {turn} of 2: {name}" for turn in (1, 2) for name in "ab"]
    assert facts["b"]["n_preferences"] == 2
    for turns in results.values():
        assert len(turns) == 2
        assert all(seconds > 0 for turn in turns for seconds in turn)


def test_held_one_at_a_time_each_child_still_has_all_its_turns() -> None:
    said: list[str] = []

    class OnlyOne:
        alive = 0
        facts: dict[str, Any] = {}  # noqa: RUF012

        def __init__(self, spec: Any) -> None: ...

        def __enter__(self) -> OnlyOne:
            OnlyOne.alive += 1
            assert OnlyOne.alive == 1
            return self

        def __exit__(self, *_: object) -> None:
            OnlyOne.alive -= 1

        def ask(self, command: Any) -> str:
            return str(command["do"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crew, "Child", OnlyOne)
        results, _ = take_turns(
            {"a": {}, "b": {}}, [{"do": "x"}], rounds=7, together=False, progress=said.append
        )
    assert results == {"a": [["x"]] * 7, "b": [["x"]] * 7}
    assert sum(text.startswith("loading") for text in said) == 6


def test_little_memory_keeps_children_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "available_bytes", lambda: 8 << 30)
    assert crew.fit_together(9, 100 << 20)
    assert not crew.fit_together(9, 1 << 30)
    monkeypatch.setattr(crew, "available_bytes", lambda: None)
    assert crew.fit_together(9, 1 << 40)


@pytest.mark.lengthy
def test_an_error_in_a_child_keeps_its_type(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="nothing"):
        Child(engine_spec(tmp_path / "nothing.gguf"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises(errors.ModelFileError, match="broken"):
        Child(engine_spec(broken))


def test_a_mistake_in_a_child_is_a_backend_error() -> None:
    with Child({"kind": "machine"}) as child, pytest.raises(errors.BackendError, match="nonsense"):
        child.ask({"do": "nonsense"})


def test_a_child_that_dies_is_reported(tiny_path: Path) -> None:
    with Child({"kind": "machine"}) as child:
        children()[0].kill()
        with pytest.raises(errors.BackendError, match="SIGKILL"):
            child.ask({"do": "decode"})


@pytest.mark.lengthy
def test_an_interrupt_leaves_no_child() -> None:
    def interrupt(text: str) -> None:
        if text.startswith("round"):
            assert len(children()) == 2
            raise KeyboardInterrupt

    machine = {"kind": "machine"}
    with pytest.raises(KeyboardInterrupt):
        take_turns({"a": machine, "b": machine}, [], rounds=1, together=True, progress=interrupt)


@pytest.mark.parametrize("schedule", ["serial", "parallel", "batched"])
def test_an_engine_can_be_asked_for_everything(shallow_path: Path, schedule: str) -> None:
    with Child(engine_spec(shallow_path, schedule=schedule)) as child:
        assert child.facts["schedule"] == schedule
        assert child.facts["kv_cache_bytes"] == len(SHALLOW_LAYERS) * (3 << 19)  # as llama.cpp logs
        for name in ("greedy", "top-k", "top-p alone"):
            share = child.ask({"do": "share_outside", "n_tokens": 3, "sampling": name})
            assert 0 < share < 1
        shape = Shape(system=20, history=0, question=5, placement="system").as_json()
        first, second = child.ask({"do": "first_tokens", "shape": shape})
        assert first > 0
        assert second > 0


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "completion", "n_threads": 1, "n_gpu_layers": 0},
        {"kind": "bare", "n_contexts": 2, "n_threads": 1},
    ],
)
def test_yardsticks_decode(tiny_path: Path, spec: dict[str, Any]) -> None:
    with Child({**spec, "model": str(tiny_path)}) as child:
        assert child.ask({"do": "decode", "n_tokens": 3}) > 0


def test_peak_memory_and_busy_cores_are_plausible() -> None:
    assert peak_bytes() >= psutil.Process().memory_info().rss * 0.9
    busy = busy_cores(0.05)
    assert busy is None or 0 <= busy <= (os.cpu_count() or 1)


def test_kernels_are_timed() -> None:
    times = measure_kernels(500, rounds=2)
    assert min(times.greedy, times.sampling, times.guarded, times.loop) > 0
    assert " 500 " in kernel_table([times])


@pytest.fixture
def report() -> Report:
    """A report with the longest names and largest numbers."""

    def timed(kind: str, seconds: float, schedule: str | None = None, n: int = 0) -> TimedWay:
        name = f"amulet, {schedule}, K = {n}" if schedule else f"{kind}, 16 threads"
        way = Way(name=name, kind=kind, spec={}, schedule=schedule, n_preferences=n)  # type: ignore[arg-type]
        facts = {"description": "llama 8B Q4_K - Medium", "schedule": "parallel"}
        seconds_each = sample(seconds, seconds * 1.1, seconds * 1.2)
        return TimedWay(way=way, seconds=seconds_each, facts=facts, ratio=0.1)

    shape = Shape(system=100, history=1000, question=30, placement="system")
    ways = [timed("plain", 1.2), timed("amulet", 2.0, "auto", 1), timed("amulet", 2.5, "auto", 2)]
    ways += [timed("amulet", 1.9, "serial", 1), timed("amulet", 2.6, "serial", 2)]
    return Report(
        settings=settings(),
        machine={
            "cpu": "A processor with a name that goes on and on, at some frequency, of some maker",
            "memory_bytes": 2**37,
            "usable_cores": 16,
            "gpu_offload": True,
            "system": "Linux-" + "x" * 90,
            "llama_cpp_python": "0.3.36",
            "llama_cpp": "0.5.0",
            "busy_cores_before": 0.0,
            "busy_cores_after": 1.5,
        },
        decode=Decode(
            timed=tuple(ways),
            together=True,
            outside={"top-p alone": sample(0.1, 0.2)},
            outside_way="amulet, auto",
        ),
        prefill=(
            FirstToken(
                shape=shape,
                way="amulet, parallel:16",
                seconds=sample(100, 123.4, 130),
                second=sample(10, 11, 12),
                ratio=2.05,
            ),
        ),
        memory=PeakMemory(
            plain=sample(9e9), amulet=sample(10e9), way="amulet, auto (parallel)", kv_cache=10**9
        ),
        start=Start(first_output=sample(1, 2), exit=sample(2, 3)),
        busy=(CrowdedWay(way="amulet, auto", quiet=sample(1, 2), busy=sample(3, 4.5), n_busy=128),),
    )


def test_tables_fit_80_columns_and_name_everything(report: Report) -> None:
    text = report_text(report)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    for word in (
        *("Decode", "Outside", "One more preference", "First token", "Peak", "Cold start"),
        "beside 128 busy programs",
    ):
        assert word in text
    assert "1.5 cores busy" in text


def test_columns_line_up(report: Report) -> None:
    lines = report_text(report).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Decode"))
    assert {len(line) for line in lines[start : start + 6]} == {len(lines[start])}


def test_what_a_preference_adds_is_the_difference_of_medians(report: Report) -> None:
    assert report.decode is not None
    added = {item["schedule"]: item["added_seconds"] for item in report.decode.extra_preferences()}
    assert added == {"auto": pytest.approx(0.5 * 1.1), "serial": pytest.approx(0.7 * 1.1)}
    assert report.decode.auto_over_best == pytest.approx(2.0 / 1.9)


@pytest.mark.lengthy
def test_a_chart_is_drawn(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` isn't installed")
    path = tmp_path / "a.png"
    plot.write_plot(report, path)
    assert path.read_bytes().startswith(b"\x89PNG")
