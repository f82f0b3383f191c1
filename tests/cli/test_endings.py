"""Ctrl-C, readers that leave, and disks that are full."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, OnTerminal, environment, run

pytestmark = pytest.mark.usefixtures("shallow_by_default")

LONG_ANSWER = ("generate", "Write a long story about the sea.", "-n", "1500")
# Long enough that Ctrl-C comes in the middle on any machine.
LONG_QUESTION = ("generate", "-c", "4096", "-p", "word " * 4000, "-n", "1")
SECONDS_TO_STOP = 0.3


def seconds_until(end: Callable[[], object]) -> float:
    start = time.perf_counter()
    end()
    return time.perf_counter() - start


@pytest.mark.usefixtures("whole_by_default")
def test_ctrl_c_ends_an_answer_and_keeps_what_was_printed() -> None:
    process = subprocess.Popen(
        [*COMMAND, *LONG_ANSWER],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    beginning = process.stdout.read(40)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b""
    text = (beginning + rest).decode()
    assert text.endswith("\n")
    whole = run(*LONG_ANSWER[:-1], "20").out
    assert text[:40] == whole[:40]


@pytest.mark.parametrize("arguments", [LONG_ANSWER, LONG_QUESTION], ids=["answer", "question"])
def test_ctrl_c_on_a_terminal_ends_within_a_third_of_a_second(
    on_terminal: Callable[..., OnTerminal], arguments: tuple[str, ...]
) -> None:
    seconds = []
    for _ in range(3):  # the machine may be busy with other things once
        terminal = on_terminal(*arguments)
        if arguments is LONG_ANSWER:
            terminal.read_until(r"\w+ \w+ \w+")
        else:
            terminal.read_until(r"reading the prompt: 5\d\d of")
        time.sleep(0.1)
        terminal.press(b"\x03")
        codes: list[int] = []
        seconds.append(seconds_until(lambda: codes.append(terminal.finish())))  # noqa: B023
        assert codes == [130]
        assert "Traceback" not in terminal.text
        assert "error" not in terminal.text
        assert terminal.text.endswith(("\n", "\r"))
        if seconds[-1] < SECONDS_TO_STOP:
            break
    assert min(seconds) < SECONDS_TO_STOP


def test_ctrl_c_at_any_moment_of_the_start_is_quiet() -> None:
    for delay in (0.3, 0.5, 0.8):
        process = subprocess.Popen(
            [*COMMAND, *LONG_ANSWER],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, (delay, err)
        assert err == "", delay


def test_ctrl_c_after_the_end_changes_nothing() -> None:
    """Python lets it kill a process that it is taking apart, which takes a while with a model."""
    late = """
import os, sys
class Late:
    def __del__(self, kill=os.kill, own=os.getpid()):
        kill(own, 2)
sys.late = Late()
sys.argv = ["amulet-local", "--version"]
from amulet_local.cli.main import main
main()
"""
    arguments = [sys.executable, "-c", late]
    ended = subprocess.run(arguments, env=environment(), capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    process = subprocess.Popen(
        [*COMMAND, *LONG_ANSWER],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


@pytest.mark.parametrize(
    "arguments", [("generate", "Hi", "-n", "1"), ("models",)], ids=lambda value: value[0]
)
def test_a_full_disk_is_an_error(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert re.fullmatch(rb"error: can't write the output: No space left[^\n]*\n", done.stderr)


@pytest.mark.lengthy
def test_sigterm_leaves_no_half_of_a_model_in_another_type(
    model_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    target = tmp_path / "models" / "a.gguf"
    process = subprocess.Popen(
        [*COMMAND, "models", "quantize", model_path, "Q6_K", "--again", "-o", target],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not target.with_name("a.gguf.part").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == (b"", b"")
    assert process.returncode == 143
    assert list(target.parent.iterdir()) == []
