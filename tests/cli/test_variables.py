"""A variable of the environment that is called as ours are and that nothing reads is named."""

from __future__ import annotations

import pytest

from amulet_local.cli import quick_ask
from tests import help_in_docs
from tests.cli.running import run

QUESTION = "What is bread?"


@pytest.mark.parametrize(
    ("variable", "named"),
    [
        ("AMULET_CTX_SIZ", "AMULET_CTX_SIZ (did you mean AMULET_CTX_SIZE?)"),
        ("AMULET_TEMPERATURE", "AMULET_TEMPERATURE (did you mean AMULET_TEMP?)"),
        ("AMULET_MAX_TOKENS", "AMULET_MAX_TOKENS (did you mean AMULET_PREDICT?)"),
        ("AMULET_MODLES", "AMULET_MODLES (did you mean AMULET_MODELS?)"),
        ("AMULET_XYZ", "AMULET_XYZ"),
    ],
)
@pytest.mark.parametrize("command", ["preferences", "generate"])
def test_a_variable_that_nothing_reads_is_named_once(
    command: str, variable: str, named: str
) -> None:
    arguments = (QUESTION, "-n", "1", "--isolate", "always") if command == "generate" else ()
    outcome = run(command, *arguments, **{variable: "7"})
    said = [line for line in outcome.err.splitlines() if variable in line]
    assert said == [f"warning: set in the environment, and read by nothing: {named}"]


def test_variables_of_other_commands_and_empty_ones_are_not_named() -> None:
    done = run("preferences", AMULET_PORT="80", AMULET_JUDGE="x", AMULET_LORA="x", AMULET_TEM="")
    assert (done.code, done.err) == (0, "")


def test_variables_of_flags_are_those_that_are_declared() -> None:
    """scripts/update_help writes them anew."""
    written = help_in_docs.FLAG_VARIABLES.read_text(encoding="utf-8")
    assert written == help_in_docs.flag_variables_text()


def test_a_variable_that_nothing_reads_is_left_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_ask, "ask", lambda *_: None)
    assert quick_ask.ask_at_once(["/nowhere.sock", "Why?"])
    monkeypatch.setenv("AMULET_TEM", "0.5")
    assert not quick_ask.ask_at_once(["/nowhere.sock", "Why?"])
