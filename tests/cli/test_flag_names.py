"""What the command line makes of messages that name a flag and Python's argument beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from amulet_local.cli.flag_names import in_flags, without_python
from amulet_local.steering.guards.loop_watch import Watch
from tests.cli.conftest import CallCli


def test_a_loop_is_spoken_of_with_the_flag_alone() -> None:
    watch = Watch()
    for token in [1, 2, 3, 4] * 40:
        watch.accept(token)
    (warning,) = watch.warnings
    assert "watch=False" in warning  # for who asks from Python
    assert in_flags(warning).endswith("lowered (--no-watch: left alone)")
    assert without_python(warning) == in_flags(warning)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("allow more of them (max_tokens, -n)", "allow more of them (-n)"),
        ("use a larger context (n_ctx, -c 900)", "use a larger context (-c 900)"),
        ("which reproducible=True (--reproducible) rules out", "which --reproducible rules out"),
        ("`--raw` (chat_template='raw' in Python) goes on", "`--raw` goes on"),
        ("--chat-template gemma (chat_template= in Python)", "--chat-template gemma"),
        ("give some (bank=, --preference)", "give some (--preference)"),
    ],
)
def test_pythons_argument_is_left_out(message: str, said: str) -> None:
    assert without_python(message) == said


@pytest.mark.parametrize(
    "message",
    ["a file `a=b, --c`", "n_ctx 5 is too little (5, 3 - 2)", "x=1 (the second)", "f(a, b)"],
)
def test_the_rest_of_a_message_is_left_alone(message: str) -> None:
    assert without_python(message) == message


def test_what_is_written_before_a_value_is_no_flag() -> None:
    assert in_flags("known: nucleus=, nucleus_temperature=") == (
        "known: nucleus=, nucleus_temperature="
    )
    assert in_flags("nucleus_temperature: too low") == "--nucleus-temperature: too low"


def test_a_refusal_speaks_of_the_flag(call: CallCli, tiny_path: Path) -> None:
    flags = ("-m", tiny_path, "--reproducible", "--prompt-cache", "a", "-n", "1")
    line = call("generate", "Hi", *flags).error_line
    assert "which --reproducible rules out" in line
