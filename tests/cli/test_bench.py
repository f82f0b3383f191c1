"""The command `bench`: its figures, its errors, and that no process of it is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from amulet_local.benchmark.shapes import SHAPES
from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, TIMEOUT, environment, run

MARK = "AMULET_TEST_MARK"


def marked(mark: str) -> list[psutil.Process]:
    """Every live process whose environment has the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.mark.slow
def test_quick_run_measures_everything_and_leaves_no_process(model_path: Path) -> None:
    mark = uuid.uuid4().hex
    outcome = run(
        *("bench", "--quick", "--tokens", "2", "--rounds", "1", "--preferences", "2"),
        *("--schedules", "batched", "--json", "-m", model_path),
        **{MARK: mark},
    )
    assert outcome.code == 0, outcome
    assert marked(mark) == []
    figures = json.loads(outcome.out)
    assert set(figures) == {
        *("format", "amulet_local", "machine", "model", "settings"),
        *("decode", "prefill", "memory", "start", "busy"),
    }
    machine = figures["machine"]
    assert machine["cpu"]
    assert machine["usable_cores"] >= 1
    assert {"system", "python", "llama_cpp_python", "cpu_features"} <= set(machine)
    check_decode(figures["decode"])
    check_prefill(figures["prefill"])
    memory = figures["memory"]
    added = memory["amulet_bytes"]["median"] - memory["plain_bytes"]["median"]
    assert memory["added_bytes"] == added
    assert memory["beyond_bytes"] == added - memory["second_kv_cache_bytes"]
    assert memory["second_kv_cache_bytes"] == 45 << 20
    start = figures["start"]
    assert 0 < start["first_output"]["median"] <= start["exit"]["median"]
    for row, name in zip(figures["busy"], ["plain, 1 thread", "amulet, batched"], strict=True):
        assert row["way"] == name
        assert row["n_busy"] >= 1
        assert row["slowdown"] > 0
    for part in ("decode", "prefill", "memory", "start", "busy"):
        assert f"measuring: {part}" in outcome.err


def check_decode(decode: dict) -> None:  # type: ignore[type-arg]
    ways = {way["name"]: way for way in decode["ways"]}
    kinds = [way["kind"] for way in decode["ways"]]
    assert set(kinds) == {"plain", "completion", "bare", "amulet"}
    assert {
        (way["schedule"], way["n_preferences"]) for way in ways.values() if way["schedule"]
    } == {(schedule, n) for schedule in ("batched",) for n in (1, 2)}
    best = ways[decode["best_plain"]]
    assert best["kind"] == "plain"
    assert best["ratio"] == 1
    for way in ways.values():
        seconds = way["seconds_per_token"]
        assert len(seconds["all"]) == 1
        assert way["tokens_per_second"] == pytest.approx(1 / seconds["median"])
        assert way["ratio"] == pytest.approx(
            best["seconds_per_token"]["median"] / seconds["median"]
        )
    assert {item["n_preferences"] for item in decode["extra_preferences"]} == {2}
    shares = decode["outside_llama_decode"]["share"]
    assert set(shares) == {"greedy", "top-k", "top-p alone"}
    assert all(0 < share["median"] < 1 for share in shares.values())


def check_prefill(prefill: list) -> None:  # type: ignore[type-arg]
    plain = {}
    for row in prefill:
        shape = json.dumps(row["shape"])
        if row["way"].startswith("plain"):
            plain[shape] = row["seconds"]["median"]
        assert row["ratio"] == pytest.approx(row["seconds"]["median"] / plain[shape])
        assert row["second_ratio"] == pytest.approx(
            row["second_question"]["median"] / row["seconds"]["median"]
        )
    assert {row["shape"]["placement"] for row in prefill} == {"user", "system"}


def test_a_table_has_only_what_was_asked_for(tiny_path: Path) -> None:
    outcome = run("bench", "start", "--quick", "-m", tiny_path)
    assert outcome.code == 0, outcome
    assert "Cold start" in outcome.out
    assert "Decode" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_process_is_left(tiny_path: Path, ending: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [*COMMAND, "bench", "prefill", "--schedules", "serial", "-m", str(tiny_path)],
        env=environment(**{MARK: mark}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(marked(mark)) >= 3, "two children work")
        process.send_signal(ending)
        out, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if ending == signal.SIGINT else -ending)
    assert out == b""
    assert b"Traceback" not in err
    wait_for(lambda: marked(mark) == [], "every child is gone")


def test_ctrl_c_on_a_terminal_leaves_no_process(
    on_terminal: Callable[..., object], tiny_path: Path
) -> None:
    mark = uuid.uuid4().hex
    terminal = on_terminal("bench", "prefill", "-m", tiny_path, **{MARK: mark})
    wait_for(lambda: len(marked(mark)) >= 2, "a child works")
    terminal.press(b"\x03")  # type: ignore[attr-defined]
    assert terminal.finish() == 130  # type: ignore[attr-defined]
    assert "Traceback" not in terminal.text  # type: ignore[attr-defined]
    wait_for(lambda: marked(mark) == [], "every child is gone")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "decode, prefill, memory, start, busy, drafts, kernels; not 'nonsense'"),
        (["--schedules", "fast"], "'fast'"),
        (["--schedules", ""], "--schedules"),
        (["--schedules", "parallel:0"], "--schedules 'parallel:0': a row takes 1 thread at least"),
        (["--preferences", "0"], "--preferences"),
        (["--tokens", "1"], "--tokens"),
        (["--tokens", "2000"], "--tokens"),
        (["--rounds", "0"], "--rounds"),
        (["--rounds", "1.5"], "--rounds"),
        (["-t", "0"], "--threads"),
        (["-fa", "maybe"], "--flash-attn"),
        (["-m", "no/such/model.gguf"], "no such file"),
        (["memory", "--plot", "a.png"], "--plot"),
    ],
)
def test_bad_arguments_end_before_anything_is_measured(
    call: CallCli, arguments: list[str], words: str
) -> None:
    assert words in call("bench", *arguments).error_line


def test_llama_bench_s_flags_are_answered_with_what_does_the_same(call: CallCli) -> None:
    longest = max(shape.n_plain for shape in SHAPES)
    for flags, words in (
        (["-p", "512"], "`amulet-local bench prefill` times prompts of"),
        (["--n-prompt=512"], f" and {longest:,} tokens"),
        (["-r", "3"], "it is --rounds N"),
        (["-o", "json"], "--json"),
    ):
        outcome = call("bench", *flags)
        assert outcome.code == 2
        assert words in " ".join(outcome.err.split())


@pytest.mark.lengthy
def test_a_file_that_is_no_model_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and nothing more")
    outcome = run("bench", "decode", "-m", path)
    assert outcome.code == 1
    assert outcome.out == ""
    assert re.search(r"^error: .*broken\.gguf", outcome.err, re.MULTILINE)


def test_help_fits_and_its_example_is_right(call: CallCli) -> None:
    outcome = call("bench", "--help")
    assert outcome.code == 0
    assert outcome.out.isascii()
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "Examples:\n  amulet-local bench --quick" in outcome.out
