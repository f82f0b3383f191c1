"""Help, version and wrong usage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from amulet_local import AmuletParams, RuntimeParams, SamplingParams
from amulet_local.cli.flags import environment_variable
from amulet_local.params.learn import LearnParams
from amulet_local.preferences.preference import BUILT_IN_PREFERENCES
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import DEFAULT_PRESET, PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import COMMAND, environment, run

COMMANDS = (
    "generate",
    "chat",
    "compare",
    "explain",
    "batch",
    "serve",
    "ask",
    "tune",
    "learn",
    "eval",
    "preferences",
    "profile",
    "models",
    "doctor",
    "bench",
)
RESERVED = {
    "AMULET_MODELS",
    "AMULET_CACHE",
    "AMULET_CONFIG",
    "AMULET_DATA",
    "AMULET_DEBUG",
    "AMULET_GOLDEN",
}


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_help_fits_80_columns_of_ascii(call: CallCli, arguments: list[str]) -> None:
    outcome = call(*arguments, "--help")
    assert outcome.code == 0
    assert outcome.err == ""
    assert outcome.out.isascii()
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_and_has_an_example(call: CallCli, name: str) -> None:
    assert f"  {name} " in call("--help").out
    assert f"Examples:\n  amulet-local {name}" in call(name, "-h").out


PARAMS = (AmuletParams, SamplingParams, RuntimeParams, LearnParams)
SILENT = {"min_plausibility", "nucleus", "noise_guard", "main_gpu", "reasoning_format"}
"""Options of which the help says that they are the preset's, or what they are besides."""


def in_words(default: Any) -> str:
    """A default as the help has it."""
    if isinstance(default, tuple):
        texts = [text.replace("\n", r"\n") for text in default]
        return f"{', '.join(texts[:-1])} and {texts[-1]}"
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("params", PARAMS)
def test_help_says_the_defaults_that_hold(params: type[Any]) -> None:
    defaults = {field.alias or name: field.default for name, field in params.model_fields.items()}
    defaults["guidance_scale"] = f"{PRESETS[DEFAULT_PRESET].amulet.guidance_scale:.3g}"
    for name, one in params.options.items():
        default = defaults[name]
        if default in (None, (), {}) or isinstance(default, bool) or name in SILENT:
            continue
        assert re.search(rf"Default: {re.escape(in_words(default))}[.,]", one.help), name


def test_help_shows_what_every_option_says_of_itself(call: CallCli) -> None:
    commands = ["generate", "generate", "generate", "learn"]
    for params, command in zip(PARAMS, commands, strict=True):
        text = "".join(call(command, "--help").out.split())
        for one in params.options.values():
            assert "".join(one.help.split()) in text, one.flag
            assert all(flag in text for flag in one.flags.split())


def test_help_of_chat_says_the_defaults_that_hold(call: CallCli) -> None:
    from amulet_local.cli.chat.options import MAX_TOKENS

    text = words(call("chat", "--help").out)
    assert f"Most tokens of an answer. Default: {MAX_TOKENS}." in text
    assert "Default: drop_oldest." in text


def test_help_names_every_method_and_preference(call: CallCli) -> None:
    text = call("generate", "--help").out
    for name in (*METHODS, *BUILT_IN_PREFERENCES):
        assert name in text


def test_help_of_compare_names_what_can_be_compared(call: CallCli) -> None:
    text = call("compare", "--help").out
    for name in (*METHODS, *PRESETS):
        assert name in text


@pytest.mark.parametrize("name", COMMANDS)
def test_no_variable_means_two_things(call: CallCli, name: str) -> None:
    flags = re.findall(r"(?<![\w-])--[a-z][\w-]*", call(name, "--help").out)
    assert not RESERVED & {environment_variable(flag) for flag in flags}


def test_version(call: CallCli) -> None:
    outcome = call("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"amulet-local \d+\.\d+\.\d+\n", outcome.out)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from amulet_local.cli.main import main\n"
        "sys.argv = ['amulet-local', 'generate', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=True, text=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"llama_cpp", "numpy", "jinja2", "rich", "prompt_toolkit"}


def test_the_list_of_commands_loads_none_of_them(call: CallCli) -> None:
    code = (
        "import sys\n"
        "from amulet_local.cli.main import main\n"
        "sys.argv = ['amulet-local', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=True, text=True
    )
    assert "Talk with a model" in done.stdout
    assert "amulet_local.cli.app" in done.stderr.split()
    assert not {"amulet_local.cli.chat", "amulet_local.params.base"} & set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["generate", "--nonsense"],
        ["generate", "Hi there", "you"],
        ["generate", "Hi", "-n", "many"],
        ["generate", "Hi", "-ngl", "most"],
        ["generate", "Hi", "--temp"],
        ["generate", "Hi", "-p", "Hi"],
        ["generate", "Hi", "--guidance-scale", "2", "--eta", "1"],
        ["generate", "Hi", "--preference", "concise", "--preference-file", "file.txt"],
        ["generate", "Hi", "--chat-template", "chatml", "--chat-template-file", "file.txt"],
        ["generate", "Hi", "--grammar", "root ::= .", "--json-schema", "{}"],
        ["generate", "Hi", "--grammar-file", "a.gbnf", "--json-schema-file", "b.json"],
        ["generate", "Hi", "-l", "15043"],
        ["generate", "Hi", "-l", "Hello+1"],
        ["generate", "Hi", "-l", "15043+much"],
        ["generate"],
        ["compare"],
        ["explain"],
        ["explain", "Hi", "--alternatives", "many"],
        ["explain", "Hi", "--html"],
    ],
)
def test_wrong_usage_ends_with_2(
    call: CallCli, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        outcome = call(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert re.search("^Error: ", outcome.err, re.MULTILINE)


@pytest.mark.lengthy
def test_the_module_can_be_run() -> None:
    assert COMMAND[1:] == ["-m", "amulet_local"]
    assert run("--version").out.startswith("amulet-local ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["generate", "Hi there", "you", "-n", "3"],
            "a question of several words is in quotes: 'Hi ",
        ),
        (
            ["generate", "Hi", "-n", "3", "there"],
            "a question of several words is in quotes: 'Hi th",
        ),
        (["generate", "--preference", "very", "short", "Hi"], "so are words of a preference"),
        (["generate", "smollm2", "Hi", "to you"], "question of several words is in quotes: 'Hi to"),
        (["generate", "Hi", "-p", "funny"], "-p is --prompt, and what an answer should be like is"),
        (["generate", "Hi", "--preference", "very", "short"], "so are words of a preference"),
        (["generate", "Hi", "--strength", "3"], "it is --guidance-scale N"),
        (["generate", "Hi", "--mix", "concise:2"], "--preference concise:2"),
        (["compare", "Hi", "--mix=formal:-1"], "--preference formal:-1"),
        (["generate", "Hi", "--max_tokens", "many"], "'many' is not a number"),
        (["chat", "--strong"], "there is no --strong; it is --preset strong"),
        (["chat", "--preference", "“very", "short”"], "write --preference 'very short'"),
        (["generate", "“Hi", "you”", "--avoid", "„lange", "Sätze“"], "--avoid 'lange Sätze'"),
        (["generate", "Hi", "–m", "smollm2"], "–m begins with a dash that is no hyphen: write -m"),
        (["generate", "Hi", "—preference=funny"], "write --preference=funny"),
        (["chat", "--style=funny"], "there is no --style; it is --preference TEXT"),
        (["run", "m", "Hi", "--format", "json"], "there is no --format; it is --json-schema TEXT"),
        (["run", "m", "Hi", "--think=false"], "there is no --think; it is --chat-template-kwargs"),
        (["run", "--help"], "`amulet-local chat --help` the flags"),
        (["--language", "es", "Hi"], "it is --preference TEXT, as in --preference 'in Spanish'"),
        (["generate", "Hi", "-o", "a.txt"], "there is no -o: an answer goes to standard output"),
        (["compare", "Hi", "--quiet"], "there is no --quiet: only an answer is on standard"),
        (["generate", "Hi", "--weight", "2"], "as in --preference concise:0.7"),
        (["bench", "--quiet"], "No such option: --quiet"),
        (["tune", "What", "is", "yeast"], "each question is in quotes, e.g. 'What is yeast'"),
        (
            ["serve", "a.gguf", "b"],
            "a.gguf b; a model is named with -m",
        ),
        (
            ["serve", "a.gguf", "-m", "b"],
            "place for: a.gguf; a model is named with -m",
        ),
        (["models", "show", "a", "b c"], "more than there is a place for: 'b c'"),
        (["hello", "there"], "To ask: amulet-local generate 'hello there'"),
        (["genrate", "What", "is", "yeast"], "did you mean 'generate'?"),
        (["genrate", "Hi"], "did you mean 'generate'?"),
        (["chta"], "did you mean 'chat'?"),
    ],
)
def test_words_too_many_are_answered_with_what_was_meant(
    call: CallCli, arguments: list[str], line: str
) -> None:
    outcome = call(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert line in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("What", "is", "yeast", "-n", "3"),
        ("Is", "it?", "-n", "3"),
        ("generate", "What", "is", "yeast", "-n", "3"),
        ("generate", "-n", "3", "What", "is", "yeast"),
        ("run", "smollm2", "What", "is", "yeast", "-n", "3"),
    ],
    ids=" ".join,
)
def test_a_question_without_quotes_is_answered(call: CallCli, arguments: tuple[str, ...]) -> None:
    words = " ".join(word for word in arguments if word in ("What", "is", "yeast", "Is", "it?"))
    quoted = call("generate", words, "-n", "3", "--json")
    outcome = call(*arguments, "--json")
    assert (outcome.code, quoted.code) == (3, 3)
    found, expected = (json.loads(made.out) for made in (outcome, quoted))
    assert found["token_ids"] == expected["token_ids"]
    assert found["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (("run", "smollm2", "hi", "--foo"), "generate"),
        (("list", "--foo"), "models"),
        (("pull", "smollm2", "--foo"), "models pull"),
    ],
    ids=" ".join,
)
def test_a_wrong_flag_after_a_word_of_other_programs_is_answered_in_that_word(
    call: CallCli, typed: tuple[str, ...], command: str
) -> None:
    outcome = call(*typed)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--foo" in outcome.err
    assert f"`amulet-local {typed[0]}` is `amulet-local {command}` here" in outcome.err
    assert f"`amulet-local {command} --help`" in outcome.err
    assert "Usage:" not in outcome.err


def test_an_empty_pipe_is_answered_with_how_to_ask() -> None:
    outcome = run("run", "smollm2", stdin=b"")
    assert outcome.code == 1
    assert "PROMPT" in outcome.error_line
    assert "-f FILE" in outcome.error_line


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "smollm2", "What is yeast?"),
        ("generate", "-n", "3", "smollm2", "What", "is", "yeast?"),
        ("explain", "smollm2", "What is yeast?", "--preference", "formal"),
    ],
    ids=" ".join,
)
def test_a_model_before_a_question_is_the_model_as_in_other_programs(
    call: CallCli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AMULET_MODEL", "no-such-model")
    monkeypatch.setenv("AMULET_PREDICT", "3")
    command, *rest = (word for word in arguments if word != "smollm2")
    outcome = call(*arguments)
    assert outcome.code == 3, outcome
    assert outcome.out == call(command, "-m", "smollm2", *rest).out


def test_where_such_a_model_is_from_is_said(call: CallCli) -> None:
    said = json.loads(call("generate", "smollm2", "What is yeast?", "-n", "3", "--json").out)
    plain = json.loads(call("generate", "What is yeast?", "-n", "3", "--json").out)
    assert said["token_ids"] == plain["token_ids"]
    assert said["model"]["name"] == "smollm2"
    assert said["settings"]["model"]["from"] == "flag"


@pytest.mark.parametrize("command", ["generate", "chat", "compare", "explain", "tune"])
@pytest.mark.parametrize("name", ["smollm2", "some.GGUF"])
def test_a_model_in_the_place_of_a_question_is_refused_beside_another_one(
    call: CallCli, command: str, name: str
) -> None:
    wish = () if command == "chat" else ("--preference", "formal")
    assert f"-m {name} names it" in call(command, name, "-m", "smollm2", *wish).error_line


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tune", "no-such.gguf"), "no model 'no-such.gguf'"),
        (("tune", "no-such.gguf", "Why?"), "no model 'no-such.gguf'"),
        (("eval", "no-such.gguf"), "no model 'no-such.gguf'"),
        (("batch", "no-such.gguf", "no.jsonl"), "no file 'no.jsonl'"),
        (("batch", "no-such.gguf"), "is a model; FILE is missing"),
    ],
)
def test_a_model_before_several_questions_or_files_is_the_model(
    call: CallCli, arguments: tuple[str, ...], told: str
) -> None:
    assert told in call(*arguments).err


def test_a_server_takes_the_model_without_its_flag(call: CallCli) -> None:
    outcome = call("serve", "no-such-file.gguf")
    assert "no model 'no-such-file.gguf'" in outcome.error_line
