"""Files that llama.cpp dies of after a while: commands end in an error, and servers go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amulet_local import Engine
from amulet_local.cli.serve_models import models_named
from amulet_local.cli.serve_options import ServeOptions
from amulet_local.cli.supervised import needs_child
from amulet_local.loading.approved_files import approve, needs_isolation, revoke
from amulet_local.loading.isolated import Heard
from amulet_local.params.model_use import EMBEDDING, TEXT, ModelUse
from tests.adapter_making import random_pairs, write_lora, write_vector
from tests.cli.running import COMMAND, REPOSITORY, OnTerminal, Outcome, environment, run

pytestmark = pytest.mark.lengthy

LATE = REPOSITORY / "tests" / "late_death"
QUESTION = "How do I sleep better?"
REASON = "(SIGABRT: late.cpp:7: GGML_ASSERT(n < 40) failed)"
MACOS, WINDOWS = (
    {"PYTHONPATH": f"{REPOSITORY}:{LATE}", "SYSTEM_LIKE": name} for name in ("macOS", "Windows")
)
LONG_ANSWER = ("Write a long story about the sea.", "-n", "1500")


@pytest.fixture
def strange(shallow_path: Path, tmp_path: Path) -> Path:
    """A model that nobody has approved."""
    return Path(shutil.copy(shallow_path, tmp_path / "strange.gguf"))


def dying(**when: str) -> dict[str, str]:
    """An environment in which llama.cpp ends the process: see tests/late_death."""
    return {"PYTHONPATH": f"{REPOSITORY}:{LATE}", **when}


def started(
    *arguments: str | Path, preexec_fn: Callable[[], object] | None = None, **env: str
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=environment(**env),
        preexec_fn=preexec_fn,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def say_of_death(outcome: Outcome) -> None:
    assert outcome.code == 1, outcome
    assert re.fullmatch(r"error: strange\.gguf can't be used: [^\n]*\n", outcome.err), outcome
    assert REASON in outcome.err


def test_a_file_that_kills_llama_cpp_in_an_answer_is_an_error_in_one_line(strange: Path) -> None:
    asked = ("generate", QUESTION, "-m", strange, "-n", "30")
    whole = run(*asked)
    assert whole.code in (0, 3)
    cut = run(*asked, **dying(DIE_AT_DECODE="20"))
    say_of_death(cut)
    assert cut.out
    assert whole.out.startswith(cut.out)


def test_a_flag_without_effect_is_named_once(strange: Path) -> None:
    outcome = run("generate", QUESTION, "-m", strange, "-n", "2", "-ub", "64")
    assert outcome.code in (0, 3)
    assert outcome.err.count("without effect here") == 1, outcome


def test_an_approved_model_runs_apart_with_an_adapter_that_isn_t(
    model_path: Path, tmp_path: Path
) -> None:
    asked = ("generate", QUESTION, "-m", model_path, "-n", "6")
    deadly = dying(DIE_AT_DECODE="3")
    pairs = random_pairs({"blk.0.attn_output.weight": (576, 576)}, rank=2, size=0.05, seed=4)
    lora = write_lora(tmp_path / "lora.gguf", pairs)
    vector = write_vector(tmp_path / "vector.gguf", {5: np.ones(576, np.float32)})
    revoke(lora)
    revoke(vector)
    assert run(*asked, **deadly).code == -signal.SIGABRT
    for given in (("--lora", f"{lora}:0.5"), ("--control-vector", vector)):
        cut = run(*asked, *given, **deadly)
        assert cut.code == 1, cut
        (line,) = cut.err.splitlines()
        names = f"{model_path.name}, {'lora' if '--lora' in given else 'vector'}.gguf"
        assert line.startswith(f"error: {names} can't be used: "), line
        assert REASON in line


def test_what_a_server_embeds_with_is_told_by_what_it_is_for(strange: Path) -> None:
    shared = {"model": [str(strange)], "runtime": {"lora": ["a.gguf:2"]}}
    assert list(models_named(ServeOptions(**shared, embedding_model="e.gguf"))) == [
        (str(strange), ModelUse(lora=("a.gguf",))),
        ("e.gguf", EMBEDDING),
    ]
    assert list(models_named(ServeOptions(**shared, embedding=True))) == [(str(strange), EMBEDDING)]


def test_measuring_ends_with_the_same_line(strange: Path) -> None:
    assert run("doctor", "-m", strange).code == 0
    say_of_death(run("doctor", "-m", strange, "--measure", **dying(DIE_AT_DECODE="2")))


def test_a_chat_ends_with_the_same_line(strange: Path) -> None:
    asked = ("chat", "-m", strange, "-n", "8", "--no-save")
    ended = run(*asked, stdin=b"Hello\nHow are you?\n", **dying(DIE_AT_DECODE="14"))
    assert ended.code == 1
    *before, last = ended.err.splitlines()
    assert last.startswith("error: strange.gguf can't be used: ")
    assert REASON in last
    assert not any(REASON in line for line in before)


def test_input_and_exit_code_are_the_child_s(strange: Path, shallow_path: Path) -> None:
    asked = ("generate", "-", "-n", "5", "--json", "--isolate")
    isolated = run(*asked, "always", "-m", strange, stdin=QUESTION.encode())
    own = run(*asked, "never", "-m", strange, stdin=QUESTION.encode())
    assert isolated.code == own.code == 3
    assert json.loads(isolated.out)["text"] == json.loads(own.out)["text"]
    assert isolated.err == own.err


@pytest.mark.parametrize(
    ("sent", "code", "system"),
    [
        (signal.SIGINT, 130, {}),
        (signal.SIGTERM, -signal.SIGTERM, {}),
        (signal.SIGINT, 130, MACOS),
        (signal.SIGTERM, -signal.SIGTERM, WINDOWS),
    ],
)
def test_a_signal_reaches_the_child(
    strange: Path, sent: signal.Signals, code: int, system: dict[str, str]
) -> None:
    process = started("generate", *LONG_ANSWER, "-m", strange, **system)
    assert process.stdout is not None
    assert process.stdout.read(5)
    process.send_signal(sent)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert err == b""


@pytest.mark.parametrize("system", [{}, MACOS], ids=["here", "macOS"])
def test_ctrl_c_on_a_terminal_is_the_child_s_and_comes_once(
    strange: Path, on_terminal: Callable[..., OnTerminal], system: dict[str, str]
) -> None:
    terminal = on_terminal("generate", *LONG_ANSWER, "-m", strange, **system)
    terminal.read_until(r"\w+ \w+ \w+")
    terminal.press(b"\x03")
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
    assert "error" not in terminal.text


@pytest.mark.parametrize("system", [MACOS, WINDOWS], ids=["macOS", "Windows"])
def test_a_death_is_the_same_line_without_this_system_s_own_calls(
    strange: Path, system: dict[str, str]
) -> None:
    say_of_death(run("generate", QUESTION, "-m", strange, **system, DIE_AT_DECODE="3"))


def test_where_a_child_can_t_hear_its_parent_the_command_runs_here(strange: Path) -> None:
    asked = ("generate", QUESTION, "-m", strange, "-n", "5")
    assert run(*asked).out == run(*asked, **dying(NO_SOCKET="1")).out
    assert run(*asked, **dying(NO_SOCKET="1", DIE_AT_DECODE="4")).code == -signal.SIGABRT


@pytest.mark.parametrize("system", [{}, MACOS], ids=["here", "macOS"])
def test_a_command_that_was_stopped_goes_on(strange: Path, system: dict[str, str]) -> None:
    """Ctrl-Z, and fg after the moment at which its parent would have looked at it."""
    process = started("generate", *LONG_ANSWER, "-m", strange, preexec_fn=os.setpgrp, **system)
    assert process.stdout is not None
    assert process.stdout.read(5)
    os.killpg(process.pid, signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGCONT)
    assert process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (130, b"")


def test_time_in_which_both_were_stopped_is_no_time_of_loading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    heard = Heard()
    heard.take("loading", [["model.gguf"], 120.0])

    def is_stuck_at(second: float) -> bool:
        clock[0] = second
        return heard.is_stuck()

    assert not any(map(is_stuck_at, [1, 2, 1002, *range(1003, 1118)]))
    assert any(map(is_stuck_at, range(1118, 1125)))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's /proc")
def test_no_signal_is_held_back_in_a_child(strange: Path) -> None:
    process = started("generate", *LONG_ANSWER, "-m", strange)
    assert process.stdout is not None
    assert process.stdout.read(5)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    held_back = re.search(r"SigBlk:\s+(\w+)", Path(f"/proc/{child}/status").read_text())
    process.terminate()
    process.communicate(timeout=120)
    assert held_back is not None
    assert int(held_back[1], 16) == 0


def test_a_child_doesn_t_outlive_who_started_it(strange: Path) -> None:
    process = started("generate", *LONG_ANSWER, "-m", strange)
    assert process.stdout is not None
    assert process.stdout.read(5)
    process.kill()
    process.communicate(timeout=120)  # the child had the other end of both pipes


def asked(port: int) -> int:
    """The status of an answer; 0 where there is no server, or it goes away."""
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ConnectionError, ValueError):
        return 0


def port_of(server: subprocess.Popen[bytes]) -> int:
    """The port that a server says it has."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(rb"is ready at http://127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("it isn't ready")


def until_answered(port: int, process: subprocess.Popen[bytes]) -> None:
    while asked(port) != 200:
        assert process.poll() is None
        time.sleep(0.1)


@pytest.mark.slow
def test_a_server_is_started_again_and_gives_up_when_it_dies_often(
    strange: Path,
) -> None:
    limits: dict[str, Any] = dying(DIE_AT_DECODE="14")  # in the second answer
    server = started("serve", "-m", strange, "--port", "0", "-np", "1", **limits)
    try:
        port = port_of(server)
        until_answered(port, server)
        assert asked(port) == 0
        until_answered(port, server)
        while server.poll() is None:
            asked(port)
        _, err = server.communicate(timeout=120)
    finally:
        server.kill()
    assert server.returncode == 1
    lines = [line for line in err.decode().splitlines() if REASON in line]
    assert len(lines) == 5
    assert all(line.endswith("It is started again") for line in lines[:-1])
    assert lines[-1].endswith("That was 5 times; it isn't started again")


def test_nothing_that_a_file_does_approves_it_and_a_death_takes_the_user_s_word_back(
    strange: Path,
) -> None:
    for _ in range(2):
        assert run("generate", QUESTION, "-m", strange, "-n", "5").code in (0, 3)
        assert needs_child([(str(strange), TEXT)], "auto")
    approve(strange)
    assert not needs_child([(str(strange), TEXT)], "auto")
    assert needs_child([(str(strange), TEXT)], "always")
    say_of_death(
        run("generate", QUESTION, "-m", strange, "--isolate=always", **dying(DIE_AT_DECODE="5"))
    )
    assert needs_isolation(strange, "auto")
    assert not needs_isolation(strange, "never")


def test_a_batch_goes_on_and_the_line_that_kills_it_has_an_error(
    strange: Path, shallow_engine: Engine, tmp_path: Path
) -> None:
    *_, token = shallow_engine.model.vocabulary.tokenize(
        "Say zebra", add_special=False, parse_special=False
    )
    lines = [{"prompt": f"Say {word}"} for word in ("one", "zebra", "two", "three")]
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    calm, out = tmp_path / "calm.jsonl", tmp_path / "out.jsonl"
    job = ("batch", asked, "-m", strange, "-n", "4", "--at-once", "2", "-o")
    assert run(*job, calm, "--isolate", "never").code == 0
    ended = run(*job, out, **dying(DIE_AT_TOKEN=str(token)))
    assert ended.code == 4, ended
    assert ended.err.count("which are made again: strange.gguf can't be used") == 2
    expected, records = (
        {record["line"]: record for record in map(json.loads, path.read_text().splitlines())}
        for path in (calm, out)
    )
    assert "2 workers were lost with this line" in records[2]["error"]["message"]
    for line in (1, 3, 4):
        assert records[line]["key"] == expected[line]["key"]
        assert records[line]["text"] == expected[line]["text"]


@pytest.mark.slow
def test_a_batch_with_a_file_that_always_kills_ends_with_the_reason(
    strange: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prompt": "Hi"}\n' * 3)
    ended = run("batch", asked, "-m", strange, "-n", "4", **dying(DIE_AT_DECODE="1"))
    assert ended.code in (1, 4)
    assert REASON in ended.err


@pytest.mark.parametrize("value", ["", "yes", "-1", "1e999", "9" * 5000])
def test_a_variable_of_that_name_which_no_parent_set_changes_nothing(value: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--version"], env=environment(AMULET_ISOLATED=value), capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"amulet-local ")
