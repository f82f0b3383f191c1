"""`preferences`, and preferences of one's own in the other commands."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli.exit_codes import EXIT_CUT
from amulet_local.preferences.preference import BUILT_IN_PREFERENCES, Preference
from tests.cli.conftest import CallCli
from tests.cli.running import run

pytestmark = pytest.mark.usefixtures("tiny_by_default")

COMMANDS = ("list", "show", "add", "remove", "path")


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the settings file will be."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))
    return tmp_path / "settings.toml"


def added(call: CallCli, *arguments: str | Path) -> None:
    outcome = call("preferences", "add", *arguments)
    assert (outcome.code, outcome.err) == (0, "")


@pytest.fixture
def filled(call: CallCli, settings_file: Path) -> Path:
    """A settings file with a preference and a mix."""
    added(call, "teacher", "like a patient teacher, with an example")
    added(call, "work", "--mix", "formal:0.7", "--mix", "teacher", "--mix", "in rhyme:-0.5")
    return settings_file


def test_the_list_has_the_built_in_ones_and_your_own(call: CallCli, filled: Path) -> None:
    outcome = call("preferences", "list")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    for name, text in BUILT_IN_PREFERENCES.items():
        assert f"  {name:11}  {text}" in lines
    assert "  teacher      like a patient teacher, with an example" in lines
    assert "  work         formal:0.7, teacher, in rhyme:-0.5" in lines
    assert lines[-1] == f"Yours are in {filled}"


def test_the_list_says_how_to_begin(call: CallCli, settings_file: Path) -> None:
    outcome = call("preferences", "list")
    assert "amulet-local preferences add NAME TEXT" in outcome.out
    assert not settings_file.exists()


def test_the_list_shortens_what_is_long(call: CallCli, settings_file: Path) -> None:
    added(call, "long", "word " * 100)
    assert max(map(len, call("preferences", "list").out.splitlines())) < 120


def test_the_list_as_json(call: CallCli, filled: Path) -> None:
    assert json.loads(call("preferences", "list", "--json").out) == {
        "format": 1,
        "built_in": dict(BUILT_IN_PREFERENCES),
        "preferences": {"teacher": "like a patient teacher, with an example"},
        "prompts": {},
        "mixes": {"work": ["formal:0.7", "teacher", "in rhyme:-0.5"]},
        "models": {},
        "path": str(filled),
    }


def test_the_list_has_the_strength_that_is_kept_for_models(
    call: CallCli, settings_file: Path
) -> None:
    settings_file.write_text(
        "[models.smollm2]\nkl_budget = 0.6\n[models.emptied]\n"
        "[models.'a\u202eb']\nguidance_scale = 3\nkl_budget = 'off'\n"
    )
    out = call("preferences", "list").out
    assert re.search(
        r"^The strength with your models:\n  smollm2 +kl_budget 0.6$", out, re.MULTILINE
    )
    assert "guidance_scale 3, kl_budget off\n" in out
    assert "emptied" not in out
    assert "\u202e" not in out
    assert json.loads(call("preferences", "list", "--json").out)["models"] == {
        "smollm2": {"kl_budget": 0.6},
        "a\u202eb": {"guidance_scale": 3, "kl_budget": "off"},
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("concise", "built in"),
        ("teacher", "your own"),
        ("WORK", "your mix"),
        ("as a poem", "free text"),
        ("at 10:30", "free text"),
    ],
)
def test_show_says_what_goes_into_the_prompt(
    call: CallCli, filled: Path, name: str, kind: str
) -> None:
    outcome = call("preferences", "show", name)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{name}: {kind}\n")
    result = json.loads(call("preferences", "show", name, "--json").out)
    assert result["kind"] == kind
    for part in result["parts"]:
        assert Preference(text=part["text"]).instruction == part["instruction"]
        assert f"instruction: {part['instruction']}\n" in outcome.out
        assert f"weight:      {part['weight']:g}\n" in outcome.out


def test_show_has_every_part_of_a_mix(call: CallCli, filled: Path) -> None:
    parts = json.loads(call("preferences", "show", "work:2", "--json").out)["parts"]
    assert [(part["name"], part["text"], part["weight"]) for part in parts] == [
        ("formal", BUILT_IN_PREFERENCES["formal"], 1.4),
        ("teacher", "like a patient teacher, with an example", 2),
        (None, "in rhyme", -1),
    ]


def test_what_is_added_can_be_replaced_and_removed(call: CallCli, filled: Path) -> None:
    line = call("preferences", "add", "Teacher", "strict").error_line
    assert "already; --force replaces it" in line
    assert call("preferences", "add", "Teacher", "strict", "--force").out == (
        f"Teacher is in {filled}\n"
    )
    assert "strict" in call("preferences", "show", "teacher").out
    assert "part of the mix 'work'" in call("preferences", "remove", "teacher").error_line
    for name in ("work", "TEACHER"):
        assert call("preferences", "remove", name).out == f"{name} is no longer in {filled}\n"
        assert "no preference of yours" in call("preferences", "remove", name).error_line
    assert "None of your own yet" in call("preferences", "list").out


def test_a_text_may_come_from_a_file(call: CallCli, settings_file: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("\ufeffäö, two\r\nlines:0.5\r\n".encode())
    added(call, "mine", "-f", text)
    (part,) = json.loads(call("preferences", "show", "mine", "--json").out)["parts"]
    assert part["text"] == "äö, two\nlines:0.5"
    text.write_bytes(b"")
    assert "text.txt" in call("preferences", "add", "mine", "-f", text).error_line
    text.write_bytes(b"\xe9")
    assert "UTF-8" in call("preferences", "add", "mine", "-f", text).error_line


def test_the_path_is_printed_alone(call: CallCli, settings_file: Path) -> None:
    assert call("preferences", "path").out == f"{settings_file}\n"
    assert not settings_file.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "no_one"], "no preference is called 'no_one'"),
        (["show", "concis"], "did you mean 'concise'?"),
        (["show", ""], "text"),
        (["add", "", "x"], "a name has 1 to 64"),
        (["remove", ""], "no preference of yours"),
        (["show", "concise:much"], "must be a number"),
        (["add", "concise", "x"], "built-in"),
        (["add", "two words", "x"], "letters, digits"),
        (["add", "x", " "], "no text"),
        (["add", "x", "red \x1b[31m"], r"'\x1b'"),
        (["add", "\x1b[2J\u202e", "x"], r"'\x1b[2J\u202e'"),
        (["add", "x", "--mix", "formall"], "did you mean 'formal'?"),
        (["add", "x", "--mix", "formal:1,5"], "must be a number"),
        (["remove", "concise"], "built in"),
        (["remove", "\x1b[2J"], r"'\x1b[2J'"),
    ],
)
def test_what_cant_be_done_is_said(
    call: CallCli, settings_file: Path, arguments: list[str], words: str
) -> None:
    line = call("preferences", *arguments).error_line
    assert words in line
    assert not set(line) & set("\x1b\u202e")
    assert not settings_file.exists()


def test_arguments_that_are_not_utf_8_or_hostile(tmp_path: Path) -> None:
    text = os.fsdecode(b"caf\xe9")
    for arguments in (["add", "x", text], ["add", text, "x"], ["add", "x", "--mix", text]):
        line = run("preferences", *arguments, AMULET_CONFIG=str(tmp_path)).error_line
        assert "isn't UTF-8" in line
    assert "isn't UTF-8" in run("preferences", "show", text).error_line
    assert "isn't UTF-8" in run("generate", "Hi", "--avoid", text).error_line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["show"],
        ["add"],
        ["add", "x"],
        ["add", "x", "text", "--mix", "formal"],
        ["add", "x", "text", "-f", "file.txt"],
        ["add", "x", "some text", "more"],
        ["remove"],
        ["list", "x"],
    ],
)
def test_wrong_usage_ends_with_2(call: CallCli, settings_file: Path, arguments: list[str]) -> None:
    outcome = call("preferences", *arguments)
    assert outcome.code == 2
    assert not settings_file.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_fits_80_columns(call: CallCli, command: str) -> None:
    assert f"  {command} " in call("preferences", "--help").out
    outcome = call("preferences", command, "-h")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Examples:\n" in outcome.out
    assert f"amulet-local preferences {command}" in outcome.out
    assert outcome.out.isascii()
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert ("environment variable" in outcome.out) == (command in ("list", "show"))


def test_variables_of_other_commands_add_nothing(
    call: CallCli, settings_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    question = tmp_path / "question.txt"
    question.write_text("What is a heap?")
    monkeypatch.setenv("AMULET_FILE", str(question))
    assert call("preferences", "add", "x").code == 2
    added(call, "x", "like this")


def test_a_broken_file_is_shown_with_its_line(call: CallCli, settings_file: Path) -> None:
    broken = "[mixes]\nwork = [\n  'formall:0.7',\n]\n"
    settings_file.write_text(broken)
    words = "settings.toml, line 3: mixes.work: no preference is called 'formall'; did you mean"
    for arguments in (
        ["preferences", "list"],
        ["preferences", "show", "work"],
        ["preferences", "add", "x", "y"],
        ["preferences", "remove", "work"],
        ["generate", "Hi", "--preference", "work"],
        ["compare", "Hi", "--avoid", "nobody"],
    ):
        assert call(*arguments).error_line.startswith(words)
    assert settings_file.read_text() == broken
    assert call("preferences", "show", "concise").code == 0
    assert call("preferences", "path").code == 0


def test_the_files_own_text_cant_act_on_a_terminal(call: CallCli, settings_file: Path) -> None:
    settings_file.write_text("[preferences]\nrtl = 'a \u202e b'\n'\u202e' = 'x'\n")
    assert "\u202e" not in call("preferences", "list").error_line
    settings_file.write_text("[preferences]\nrtl = 'a \u202e b\\u001b'\n")
    settings_file.write_text('[preferences]\nrtl = "a \u202e b\\nc"\n')
    for arguments in (["list"], ["show", "rtl"]):
        out = call("preferences", *arguments).out
        assert "\\u202e b c" in out
        assert "\u202e" not in out


def generated(*arguments: str, **env: str) -> Any:
    outcome = run("generate", "How do I sleep better?", "-n", "4", "--json", *arguments, **env)
    assert outcome.code in (0, EXIT_CUT), outcome
    return json.loads(outcome.out)


def test_your_own_names_steer_an_answer(filled: Path) -> None:
    config = str(filled.parent)
    named = generated("--preference", "teacher:0.5", "--avoid", "verbose", AMULET_CONFIG=config)
    text = "like a patient teacher, with an example:0.5"
    spelled = generated("--preference", text, "--preference", "verbose:-1", AMULET_CONFIG=config)
    assert named["token_ids"] == spelled["token_ids"]
    mixed = generated("--preference", "work", AMULET_CONFIG=config)
    assert len(mixed["preferences"]) == 3


def test_avoiding_alone_is_enough_and_may_come_from_the_environment() -> None:
    avoided = generated("--avoid", "like a pirate")
    assert avoided["method"] == "amulet"
    assert generated(AMULET_AVOID="like a pirate")["token_ids"] == avoided["token_ids"]
    other = generated("--avoid", "formal", AMULET_AVOID="like a pirate")
    assert len(other["preferences"]) == 1
    assert "formal" in other["preferences"][0]


def test_help_of_generate_knows_avoid(call: CallCli) -> None:
    assert re.search(r"--avoid TEXT +What the answer should not be", call("generate", "-h").out)


@pytest.mark.parametrize(
    "arguments",
    [["--preference", "concise", "--avoid", "concise"], ["--avoid", "concise:0"], ["--avoid", ""]],
)
def test_what_leaves_nothing_to_follow_is_an_error(call: CallCli, arguments: list[str]) -> None:
    assert call("generate", "Hi", *arguments).error_line


def test_a_word_that_names_nothing_is_shown_as_the_text_that_it_is(call: CallCli) -> None:
    shown = call("preferences", "show", "funny")
    assert shown.code == 0
    assert "free text" in shown.out
    assert "Make the answer funny." in shown.out


def test_what_is_typed_first_is_understood(call: CallCli, settings_file: Path) -> None:
    assert call("preferences", "new", "mine", "short", "and", "friendly").code == 0
    assert "short and friendly" in call("preferences", "info", "mine").out
    assert call("preferences", "delete", "mine").code == 0
    assert "mine" not in call("preferences", "ls").out
