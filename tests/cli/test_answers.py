"""`generate` and `compare` on the embedded model."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amulet_local import AmuletParams, SamplingParams
from amulet_local.cli import inputs
from amulet_local.cli.columns import cells, column_width, side_by_side
from amulet_local.cli.compare import CompareOptions, chosen_width
from amulet_local.cli.generate import GenerateOptions
from amulet_local.cli.inputs import read_question
from amulet_local.cli.options import PromptOptions
from amulet_local.cli.question import read_options
from amulet_local.steering.methods import METHODS
from amulet_local.steering.presets import PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import OnTerminal, Outcome, run

pytestmark = pytest.mark.usefixtures("tiny_by_default")

QUESTION = "How do I sleep better?"
SHORT = ("-n", "12")
STEERED = r"guidance scale [\d.]+( \([\d.]+ to [\d.]+\))?, KL [\d.e-]+ nats a token"
CUT_SCHEMA = '{"properties": {"a": {"type": "string"}}, "required": ["a"]}'
CUT_LINE = "the answer was cut after 12 tokens; --predict or --ctx-size allows more\n"
CUT = r"12 tokens \(cut off\)"
FIGURES = (
    rf"plain: {CUT} · [\d.]+ tokens/s\npreference prompt: .+\n"
    rf"realigned: {CUT} · [\d.]+ tokens/s \([\d.]+x\) · {STEERED}\n"
)


@pytest.fixture(scope="module")
def plain() -> Outcome:
    """The plain answer of twelve tokens."""
    outcome = run("generate", QUESTION, *SHORT)
    assert outcome.code == 3
    return outcome


@pytest.fixture(scope="module")
def realigned() -> dict[str, Any]:
    """A realigned answer as JSON."""
    outcome = run("generate", QUESTION, *SHORT, "--preference", "concise", "--json")
    assert outcome.code == 3
    assert outcome.err == CUT_LINE
    assert outcome.out.count("\n") == 1
    result: dict[str, Any] = json.loads(outcome.out)
    return result


def test_an_answer_ends_with_a_newline_and_is_said_to_be_cut(plain: Outcome) -> None:
    assert re.fullmatch(r".*\S\n", plain.out, re.DOTALL)
    assert plain.err == CUT_LINE


@pytest.mark.parametrize("length", ["-1", "-2"])
def test_an_answer_that_fills_the_context_is_said_to_be_cut_once(length: str) -> None:
    full = run("generate", QUESTION, *SHORT, "-n", length, "-c", "96", "--ignore-eos")
    assert full.code == 3
    assert full.err.count("the answer was cut after") == 1
    assert "because the context of 96 is full" in full.err


def test_a_context_that_is_too_small_is_said_with_one_that_a_long_answer_fits() -> None:
    outcome = run("generate", QUESTION, *SHORT, "-n", "-1", "-c", "16")
    assert (size := re.search(r"use a larger context \(-c (\d+)\)", outcome.err)) is not None
    assert int(size[1]) < 5000


def test_a_whole_answer_leaves_stderr_alone(plain: Outcome) -> None:
    whole = run("generate", QUESTION, *SHORT, "--stop", plain.out.split()[1])
    assert whole.code == 0
    assert whole.err == ""


def test_json_has_everything_of_the_generation(realigned: dict[str, Any]) -> None:
    assert set(realigned) == {
        *("format", "stop_text"),
        *("text", "token_ids", "finish_reason", "usage", "timings", "method"),
        *(
            "guidance_scale",
            "preferences",
            "preset",
            "seed",
            "warnings",
            "reasoning",
            "announcement",
        ),
        *("applied", "model", "settings", "tool_calls"),
    }
    assert realigned["method"] == "amulet"
    assert realigned["preset"] == "balanced"
    assert realigned["guidance_scale"] == PRESETS["balanced"].amulet.guidance_scale
    assert realigned["preferences"] == ["concise"]
    assert realigned["usage"]["completion_tokens"] == len(realigned["token_ids"])
    assert realigned["usage"]["total_tokens"] > realigned["usage"]["prompt_tokens"]


def test_json_says_where_each_setting_came_from(
    call: CallCli, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_MODEL", str(tiny_path))
    monkeypatch.setenv("AMULET_TOP_K", "7")
    outcome = call(
        *("generate", QUESTION, "-n", "2", "--preference", "concise", "--json"),
        *("--kl-budget", "0.001"),
    )
    made = json.loads(outcome.out)
    assert made["model"] == {"name": str(tiny_path), "path": str(tiny_path)}
    settings = made["settings"]
    sources = {name: (item["value"], item["from"]) for name, item in settings.items()}
    assert sources["max_tokens"] == (2, "flag")
    assert sources["kl_budget"] == (0.001, "flag")
    assert sources["top_k"] == (7, "environment")
    assert sources["echo_guard"] == (True, "preset balanced")
    assert sources["eta"] == (10.0, "default")
    assert sources["placement"] == ("contrast", "preset balanced")
    assert sources["system"][1] == "default"
    assert sources["top_p"] == (SamplingParams().top_p, "default")
    assert sources["model"] == (str(tiny_path), "environment")
    assert sources["method"] == ("amulet", "default")
    assert sources["preference"] == (["concise"], "flag")
    assert sources["preset"] == ("balanced", "default")
    assert {*SamplingParams.options, *AmuletParams.options} <= set(settings)
    applied = made["applied"]
    assert 1 <= applied["lowest_scale"] <= applied["mean_scale"] <= applied["highest_scale"]
    assert applied["highest_scale"] < made["guidance_scale"]
    assert 0 < applied["mean_kl"] <= 0.5


@pytest.fixture
def tiny_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Keeps a line as the tiny model's own setting."""
    monkeypatch.setenv("AMULET_CONFIG", str(tmp_path))

    def keep(line: str) -> None:
        (tmp_path / "settings.toml").write_text(f"[models.tiny]\n{line}\n")
        (tmp_path / "settings.toml").chmod(0o600)

    return keep


def test_a_models_own_strength_is_said_to_be_its_own(
    call: CallCli, tiny_path: Path, tiny_settings: Callable[[str], None]
) -> None:
    tiny_settings("guidance_scale = 2.5")
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json")
    made = json.loads(call(*command, "-m", tiny_path).out)
    assert made["settings"]["guidance_scale"] == {"value": 2.5, "from": "the settings file"}
    made = json.loads(call(*command, "-m", tiny_path, "--preset", "strong").out)
    assert made["settings"]["guidance_scale"] == {"value": 2.0, "from": "preset strong"}


def test_what_the_environment_chose_is_said_to_be_its_choice(
    call: CallCli, tiny_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_PRESET", "strong")
    monkeypatch.setenv("AMULET_PREFERENCE", "concise")
    monkeypatch.setenv("AMULET_SEED", "7")
    monkeypatch.setenv("AMULET_MAX_GAIN", "2.5")
    settings = json.loads(call("generate", QUESTION, "-n", "1", "--json", "-m", tiny_path).out)[
        "settings"
    ]
    assert settings["preset"] == {"value": "strong", "from": "environment"}
    assert settings["preference"] == {"value": ["concise"], "from": "environment"}
    assert settings["seed"] == {"value": 7, "from": "environment"}  # greedy, but asked for
    assert settings["max_gain"] == {"value": 2.5, "from": "environment"}
    assert settings["guidance_scale"]["from"] == "preset strong"


def test_a_methods_own_strength_comes_from_the_method(
    call: CallCli, tiny_path: Path, tiny_settings: Callable[[str], None]
) -> None:
    tiny_settings("kl_budget = 0.2")
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json")
    plain = (*command, "-m", tiny_path, "--method")
    settings = json.loads(call(*plain, "pref").out)["settings"]
    assert settings["method"] == {"value": "pref", "from": "flag"}
    assert settings["guidance_scale"] == {"value": 1.0, "from": "method pref"}
    assert settings["kl_budget"] == {"value": None, "from": "method pref"}
    assert "preset" not in settings
    settings = json.loads(call(*plain, "amulet").out)["settings"]
    assert settings["kl_budget"] == {"value": 0.2, "from": "the settings file"}


def sources_of(settings: dict[str, Any], *names: str) -> list[tuple[Any, str]]:
    """Values and origins of settings."""
    return [(settings[name]["value"], settings[name]["from"]) for name in names]


STRENGTH_FIELDS = ("guidance_scale", "kl_target", "kl_budget", "max_gain")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            ["--guidance-scale", "2"],
            ["2.0 flag", "None flag", "None preset balanced", "3.0 preset balanced"],
        ),
        (
            ["--kl-budget", "0.2"],
            ["5.65 default", "None flag", "0.2 flag", "3.0 preset balanced"],
        ),
        (
            ["--preset", "strong", "--max-gain", "2"],
            ["2.0 preset strong", "0.2 preset strong", "None preset strong", "2.0 flag"],
        ),
        (
            ["--max-guidance", "1.25"],
            ["1.25 flag", "0.12 preset balanced", "None preset balanced", "3.0 preset balanced"],
        ),
        (
            ["--alpha", "1"],
            ["1.93 flag", "None flag", "None preset balanced", "3.0 preset balanced"],
        ),
        (
            ["--preset", "paper"],
            ["5.65 preset paper", *["None preset paper"] * 3],
        ),
        (
            ["--method", "amulet:scale=2"],
            ["2.0 method amulet:scale=2", *["None method amulet:scale=2"] * 3],
        ),
        (
            ["--method", "linear_alignment"],
            ["3.0 method linear_alignment", *["None method linear_alignment"] * 3],
        ),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_what_takes_the_place_of_a_value_is_where_the_other_comes_from(
    call: CallCli, tiny_path: Path, flags: list[str], expected: list[str]
) -> None:
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json", "-m")
    settings = json.loads(call(*command, tiny_path, *flags).out)["settings"]
    found = sources_of(settings, *STRENGTH_FIELDS)
    said = [f"{value and round(value, 2)} {source}" for value, source in found]
    assert said == expected
    preset = flags[1] if flags[0] == "--preset" else "balanced"
    assert settings["placement"]["from"] == f"preset {preset}"


def test_hyper_parameters_come_from_where_the_strength_does(call: CallCli, tiny_path: Path) -> None:
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json", "-m")
    settings = json.loads(call(*command, tiny_path, "--preset", "paper").out)["settings"]
    assert sources_of(settings, "alpha", "preset") == [
        (2.0, "preset paper"),
        ("paper", "flag"),
    ]
    settings = json.loads(call(*command, tiny_path, "--eta", "5").out)["settings"]
    assert sources_of(settings, "eta", "alpha") == [(5.0, "flag"), (2.0, "default")]
    settings = json.loads(call(*command, tiny_path, "--method", "strong").out)["settings"]
    assert sources_of(settings, "method", "preset") == [("amulet", "flag"), ("strong", "flag")]


def test_a_method_that_changes_a_setting_is_where_it_comes_from(
    call: CallCli, tiny_path: Path
) -> None:
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json", "-m")
    settings = json.loads(call(*command, tiny_path, "--method", "mato").out)["settings"]
    assert sources_of(settings, "mix", "max_gain") == [
        ("adaptive", "method mato"),
        (3.0, "preset balanced"),
    ]


def test_what_raw_leaves_out_is_said_to_be_its_choice(call: CallCli, tiny_path: Path) -> None:
    command = ("generate", QUESTION, "-n", "1", "--preference", "concise", "--json", "--raw", "-m")
    settings = json.loads(call(*command, tiny_path).out)["settings"]
    assert sources_of(settings, "system", "placement", "chat_template") == [
        ("", "flag"),
        ("system", "flag"),
        ("raw", "flag"),
    ]


def test_the_preference_changes_the_answer(plain: Outcome, realigned: dict[str, Any]) -> None:
    assert realigned["text"] + "\n" != plain.out


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["-"], f"{QUESTION}\n".encode()),
        ([], f"{QUESTION}\n".encode()),
        ([], b"\xef\xbb\xbf" + f"{QUESTION}\r\n".encode()),
        (["-p", QUESTION], None),
    ],
)
def test_the_question_may_come_from_elsewhere(
    plain: Outcome, arguments: list[str], stdin: bytes | None
) -> None:
    assert run("generate", *arguments, *SHORT, stdin=stdin).out == plain.out


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["Sum up:", "-f", "FILE"], None),
        (["-p", "Sum up:", "-f", "FILE"], None),
        (["Sum up:", "-f", "-"], b"Bread\nand salt.\n"),
        (["-", "-f", "FILE"], b"Sum up:\n"),
    ],
)
def test_a_file_beside_a_question_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], stdin: bytes | None
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("Bread\nand salt.\n")
    arguments = [str(path) if word == "FILE" else word for word in arguments]
    outcome = run("generate", *arguments, "-n", "1", "--json", stdin=stdin)
    expected = run("generate", "Sum up:\n\nBread\nand salt.", "-n", "1", "--json")
    same = "prompt_tokens"
    assert json.loads(outcome.out)["usage"][same] == json.loads(expected.out)["usage"][same]


@pytest.mark.parametrize(
    ("question", "says"),
    [("concise", True), ("Formal", True), ("yeast", False), ("concise?", False)],
)
def test_a_question_that_is_a_preferences_name_gets_a_hint(
    capsys: pytest.CaptureFixture[str], question: str, says: bool
) -> None:
    assert read_question(PromptOptions(prompt_option=question)) == question
    assert (f"--preference {question}" in capsys.readouterr().err) == says


@pytest.mark.parametrize(
    ("data", "options", "asked"),
    [
        (b"Bread\n", PromptOptions(prompt="Sum up"), "Sum up\n\nBread"),
        (b"Bread", PromptOptions(prompt_option="Sum up"), "Sum up\n\nBread"),
        (b" \n", PromptOptions(prompt="Sum up"), "Sum up"),
        (b"", PromptOptions(prompt="Sum up"), "Sum up"),
        (b"Bread", PromptOptions(prompt="-"), "Bread"),
        (b"Bread", PromptOptions(prompt="Sum up", file="-"), "Sum up\n\nBread"),
        (b"Bread", PromptOptions(), "Bread"),
    ],
)
def test_what_waits_in_a_pipe_stands_below_the_question(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: bytes,
    options: PromptOptions,
    asked: str,
) -> None:
    is_said = bool(data) and options.file is None and asked.startswith("Sum up")
    for with_pipe in (True, False):
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        with open(reading) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            question = read_question(options, with_pipe=with_pipe)
        assert question == (asked if with_pipe or not is_said else "Sum up")
        said = "standard input stands below" in capsys.readouterr().err
        assert said == (is_said and with_pipe)


@pytest.mark.parametrize("comes", [True, False])
def test_a_pipe_that_is_silent_at_first_is_waited_for_and_never_lost_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], comes: bool
) -> None:
    monkeypatch.setattr(inputs, "PIPE_SECONDS", 60.0 if comes else 0.05)
    reading, writing = os.pipe()

    def write() -> None:
        os.write(writing, b"Bread")
        os.close(writing)

    writer = threading.Timer(0.1, write)
    if comes:
        writer.start()
    with open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        question = read_question(PromptOptions(prompt="Sum up"), with_pipe=True)
    assert question == ("Sum up\n\nBread" if comes else "Sum up")
    assert ("isn't read: nothing came" in capsys.readouterr().err) == (not comes)
    if comes:
        writer.join()
    else:
        os.close(writing)


def test_the_environment_sets_what_the_command_line_leaves_open(
    realigned: dict[str, Any], tmp_path: Path
) -> None:
    question = tmp_path / "question.txt"
    question.write_text(QUESTION + "\n")
    outcome = run(
        "generate",
        AMULET_FILE=str(question),
        AMULET_PREFERENCE="concise",
        AMULET_PREDICT="12",
        AMULET_JSON="1",
        AMULET_CTX_SIZE="512",
    )
    assert json.loads(outcome.out)["token_ids"] == realigned["token_ids"]


def test_the_command_line_comes_before_the_environment(plain: Outcome) -> None:
    outcome = run(
        *("generate", QUESTION, *SHORT, "--guidance-scale", "0", "--preference", "in rhyme"),
        *("--placement", "system"),
        AMULET_PROMPT="Something else",
        AMULET_FILE="/missing",
        AMULET_PREFERENCE_FILE="/missing",
        AMULET_ETA="-1",
        AMULET_PREDICT="1",
    )
    assert outcome.out == plain.out


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AMULET_CTX_SIZE", "nonsense"),
        ("AMULET_JSON", "maybe"),
        ("AMULET_TEMP", "-4"),
        ("AMULET_METHOD", "nonsense"),
        ("AMULET_LORA", "/missing"),
        ("AMULET_CHAT_TEMPLATE", "{{"),
        ("AMULET_PREFERENCE", "bread:x"),
    ],
)
def test_what_is_wrong_with_a_variable_of_the_environment_has_its_name(
    variable: str, value: str
) -> None:
    outcome = run("generate", QUESTION, **{"AMULET_TOP_K": "5", variable: value})
    assert outcome.code in (1, 2)
    assert variable in outcome.err
    assert "AMULET_TOP_K" not in outcome.err


def test_what_is_wrong_with_the_command_line_is_not_said_of_the_environment() -> None:
    outcome = run("generate", QUESTION, "--temp", "-4", AMULET_TEMP="1", AMULET_TOP_K="5")
    assert "--temp" in outcome.err
    assert "AMULET" not in outcome.err


def test_variables_that_exclude_each_other_are_named() -> None:
    outcome = run("generate", QUESTION, AMULET_GRAMMAR="x", AMULET_JSON_SCHEMA="{}")
    assert "AMULET_GRAMMAR, AMULET_JSON_SCHEMA" in outcome.err


def test_a_preference_in_the_environment_keeps_its_spaces() -> None:
    outcome = run("generate", QUESTION, "-n", "1", "--json", AMULET_PREFERENCE="like a pirate")
    assert json.loads(outcome.out)["preferences"] == ["like a pirate"]


def test_several_preferences_are_mixed() -> None:
    mixed = ("--preference", "concise", "--preference", "with a joke")
    outcome = run("generate", QUESTION, "-n", "2", "--json", *mixed)
    assert json.loads(outcome.out)["preferences"] == ["concise", "with a joke"]


def test_a_preference_file_is_the_preference(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("creative\n")
    outcome = run("generate", QUESTION, "-n", "2", "--json", "--preference-file", str(path))
    assert json.loads(outcome.out)["preferences"] == [str(path)]


def test_flags_are_those_of_llama_cpp(plain: Outcome) -> None:
    outcome = run(
        *("generate", "-p", QUESTION, "-n", "6", "-ngl", "0", "-ctk", "q8_0", "-ctv", "q8_0"),
        *("-fa", "on", "-tb", "1", "-t", "1", "-c", "256", "-b", "64", "-s", "-1", "--temp", "0"),
        *("--top-k", "20", "--top-p", "0.9", "--min-p", "0.1", "--repeat-penalty", "1.1"),
        *("--repeat-last-n", "-1", "--load-mode", "none", "--chat-template", "chatml"),
        *("-sys", "Answer in French.", "--reproducible", "--stats"),
    )
    assert outcome.code == 3
    assert outcome.out != plain.out
    figures, _cut = outcome.err.splitlines()
    pattern = r"6 tokens \(cut off\) · [\d.]+ tokens/s · first token after [\d.]+ s"
    assert re.fullmatch(pattern, figures)


def test_samplers_are_those_of_llama_cpp(plain: Outcome) -> None:
    draw = ("generate", QUESTION, *SHORT, "--temp", "1", "-s", "1", "-l", "28-inf", "-l", "30+0.5")
    for flags in [
        ("--top-k", "0", "--typical", "0.9", "--xtc-probability", "1", "--xtc-threshold", "0.05"),
        ("--mirostat", "2", "--mirostat-ent", "3", "--mirostat-lr", "0.5", "--dry-multiplier", "1"),
    ]:
        outcome = run(*draw, *flags)
        assert outcome.code == 3
        assert outcome.err in ("", plain.err)
        assert outcome.out != plain.out


def test_ignoring_the_end_makes_an_answer_as_long_as_it_may_be() -> None:
    outcome = run("generate", "Say only yes.", "-n", "30", "--ignore-eos", "--json")
    assert json.loads(outcome.out)["usage"]["completion_tokens"] == 30


@pytest.mark.parametrize(
    ("texts", "breakers"),
    [(None, None), (["none"], ()), ([r"\n", ": ", r"\""], ("\n", ": ", '"'))],
)
def test_dry_breakers_are_texts_with_escapes(
    texts: list[str] | None, breakers: tuple[str, ...] | None
) -> None:
    given = {} if texts is None else {"dry_sequence_breakers": texts}
    options = GenerateOptions(prompt=QUESTION, sampling=given)
    usual = SamplingParams().dry_sequence_breakers
    expected = usual if breakers is None else breakers
    assert read_options(options).sampling.dry_sequence_breakers == expected


def test_stop_texts_end_the_answer(plain: Outcome) -> None:
    words = plain.out.split()
    stopped = run("generate", QUESTION, *SHORT, "--stop", words[4], "-r", "never there")
    assert stopped.out == plain.out.split(words[4])[0].rstrip("\n") + "\n"


@pytest.mark.usefixtures("whole_by_default")
def test_a_prefix_begins_the_answer() -> None:
    words = run("generate", QUESTION, "-n", "6").out.split()
    prefix = " ".join(words[:3])
    rest = run("generate", QUESTION, "-n", "3", "--response-prefix", prefix)
    assert (prefix + rest.out).split()[:4] == words[:4]


def test_variables_of_the_template_are_json(call: CallCli) -> None:
    template = "{{ word }}{% for m in messages %}{{ m.content }}{% endfor %}"
    outcome = run(
        *("generate", QUESTION, "-n", "1", "--json", "--chat-template", template),
        *("--chat-template-kwargs", '{"word": "one two three four five six"}'),
    )
    bare = run("generate", QUESTION, "-n", "1", "--json", "--chat-template", template)
    lengths = [json.loads(one.out)["usage"]["prompt_tokens"] for one in (outcome, bare)]
    assert lengths[0] - lengths[1] >= 6
    for text in ("[1]", "{", "enable_thinking=false"):
        failed = call("generate", QUESTION, "--chat-template-kwargs", text)
        assert "--chat-template-kwargs" in failed.error_line


def test_reasoning_goes_to_the_terminal_and_not_into_the_answer(
    on_terminal: Callable[..., OnTerminal],
) -> None:
    grammar = 'root ::= "<think>" [a-z]{5,9} "</think>" "Yes."'
    arguments = ("generate", QUESTION, "-n", "40", "--grammar", grammar)
    assert run(*arguments).out == "Yes.\n"
    inline = run(*arguments, "--reasoning-format", "inline").out
    thought = re.fullmatch(r"<think>(.*)</think>Yes\.\n", inline)
    assert thought
    terminal = on_terminal(*arguments)
    assert terminal.finish() == 0
    text = re.sub(r"\x1b\[\d*m", "", terminal.text)
    assert re.search(rf"Thinking: \s*{thought[1].strip()}\n\nYes\.\n", text)
    assert "\x1b[2m" in terminal.text
    plain = on_terminal(*arguments, NO_COLOR="1")
    assert plain.finish() == 0
    assert "\x1b[2m" not in plain.text


def test_a_schema_or_grammar_shapes_the_answer(tmp_path: Path) -> None:
    schema, grammar = tmp_path / "schema.json", tmp_path / "grammar.gbnf"
    schema.write_text('{"properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}\n')
    grammar.write_text('root ::= "yes" | "no" # and nothing else\n')
    for flags in (["-jf", str(schema)], ["-j", schema.read_text()]):
        assert json.loads(run("generate", QUESTION, *flags).out)["ok"] in (True, False)
    outcome = run("generate", QUESTION, AMULET_GRAMMAR_FILE=str(grammar))
    assert outcome.out in ("yes\n", "no\n")


@pytest.mark.parametrize("command", ["compare", "explain"])
def test_a_cut_form_ends_any_command_so(call: CallCli, tiny_path: Path, command: str) -> None:
    flags = ("-m", tiny_path, "-n", "3", "-j", CUT_SCHEMA, "--preference", "concise")
    outcome = call(command, QUESTION, *flags)
    assert outcome.code == 3
    assert "cut after 3 tokens" in outcome.err


@pytest.mark.parametrize("form", [(), ("-j", CUT_SCHEMA)], ids=["text", "form"])
@pytest.mark.parametrize("output", [(), ("--json",), ("--stats",)])
def test_a_cut_answer_has_its_own_exit_code(
    tiny_path: Path, form: tuple[str, ...], output: tuple[str, ...]
) -> None:
    outcome = run("generate", QUESTION, "-m", tiny_path, "-n", "3", *form, *output)
    assert outcome.code == 3
    if output == ("--json",):
        assert json.loads(outcome.out)["finish_reason"] == "length"
    assert ("3 tokens (cut off)" in outcome.err) == (output == ("--stats",))
    assert "cut after 3 tokens" in outcome.err
    assert "--predict" in outcome.err


@pytest.mark.parametrize("command", ["generate", "explain"])
def test_a_terminal_has_a_dim_line_for_a_cut_answer(
    on_terminal: Callable[..., OnTerminal], tiny_path: Path, command: str
) -> None:
    flags = ("-m", tiny_path, "-n", "3", "--preference", "concise")
    terminal = on_terminal(command, QUESTION, *flags)
    assert terminal.finish() == 3
    shown = terminal.text
    assert re.search(r"\x1b\[2m[^\x1b]*3 tokens \(cut off\)[^\x1b]*\x1b\[0m", shown)
    cut = "the answer was cut after 3 tokens; --predict or --ctx-size allows more"
    assert f"\x1b[2m{cut}\x1b[0m\n" in shown


def test_a_seed_gives_the_same_draws_again() -> None:
    arguments = ("generate", QUESTION, "-n", "8", "--temp", "2", "--json")
    first = json.loads(run(*arguments).out)
    again = json.loads(run(*arguments, "--seed", str(first["seed"])).out)
    assert again["token_ids"] == first["token_ids"]


def test_warnings_are_lines_on_stderr() -> None:
    paper = ("--preference", "concise", "--preset", "paper", "--alpha", "4")
    outcome = run("generate", QUESTION, "-n", "1", *paper)
    (warning, _) = outcome.err.splitlines()
    assert re.fullmatch(r"warning: guidance scale 118 .+ --iterations .+", warning)


def test_strength_without_a_preference_is_pointed_out() -> None:
    outcome = run("generate", QUESTION, "-n", "1", "--guidance-scale", "3")
    assert outcome.err.startswith("warning: without --preference the strength changes nothing\n")


def test_verbose_shows_the_log_of_llama_cpp(plain: Outcome) -> None:
    outcome = run("generate", QUESTION, *SHORT, "-v")
    assert outcome.out == plain.out
    assert "llama" in outcome.err
    assert outcome.err.count("\n") > 20


def test_any_encoding_will_do() -> None:
    arguments = ("generate", "Repeat: “日本語”", "-n", "12", "--stats")
    for env in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": ""}):
        outcome = run(*arguments, **env)
        assert outcome.code == 3, outcome
        assert "tokens/s" in outcome.err


def test_compare_shows_the_answers_under_headings(plain: Outcome) -> None:
    outcome = run("compare", QUESTION, *SHORT, "--preference", "concise")
    assert outcome.code == 3
    assert outcome.err == ""
    parts = re.split(r"(--- .+ ---\n)", outcome.out)
    assert parts[1::2] == [
        "--- base: the plain answer ---\n",
        "--- pref: concise, guidance scale 1 ---\n",
        "--- amulet: concise, guidance scale 1.5, then towards 0.12 nats a token ---\n",
    ]
    assert parts[2] == plain.out + "\n"
    assert re.search(rf"\nrealigned: [^\n]+ · {STEERED}\n\Z", parts[-1])


def test_compare_of_chosen_methods_says_both_speeds() -> None:
    arguments = ("compare", QUESTION, *SHORT, "--preference", "concise", "--methods", "base,amulet")
    assert re.search(rf"\n\n{FIGURES}\Z", run(*arguments).out)


@pytest.fixture(scope="module")
def compared() -> dict[str, Any]:
    """The plain answer and two presets' as JSON."""
    methods = ("--methods", "base,paper,balanced")
    outcome = run("compare", QUESTION, *SHORT, "--preference", "creative", *methods, "--json")
    assert outcome.code == 3, outcome
    result: dict[str, Any] = json.loads(outcome.out)
    return result


def test_compare_takes_presets(compared: dict[str, Any]) -> None:
    assert list(compared) == ["base", "pref", "paper", "balanced"]
    made = [(item["method"], item["preset"]) for item in compared.values()]
    assert made[2:] == [("amulet", "paper"), ("amulet", "balanced")]


def test_compare_takes_a_method_with_its_strength() -> None:
    names = "amulet:scale=2,amulet:balanced+scale=3,context_steering:scale=0.5"
    outcome = run(
        "compare", QUESTION, *SHORT, "--preference", "concise", "--methods", names, "--json"
    )
    made = json.loads(outcome.out)
    assert list(made) == ["pref", *names.split(",")]
    assert [item["guidance_scale"] for item in made.values()] == [1.0, 2.0, 3.0, 0.5]
    assert made["context_steering:scale=0.5"]["method"] == "context_steering"


def test_no_preset_has_a_methods_name() -> None:
    assert not set(PRESETS) & set(METHODS)


@pytest.mark.parametrize("how", ["asked for, into a pipe", "on a wide terminal"])
def test_compare_puts_answers_side_by_side(
    on_terminal: Callable[..., OnTerminal], compared: dict[str, Any], how: str
) -> None:
    command = ("compare", QUESTION, *SHORT, "--preference", "creative")
    command = (*command, "--methods", "base,paper,balanced")
    if how == "on a wide terminal":
        terminal = on_terminal(*command, COLUMNS="140")
        assert terminal.finish() == 3
        text = terminal.text.split("\r")[-1]
    else:
        text = run(*command, "--columns", COLUMNS="140").out
    expected = [item["text"] for item in compared.values()]
    assert f"{side_by_side(expected, column_width(4, 140))}\n\nplain: " in text
    assert text.startswith("base: the plain answer ")
    assert max(cells(line) for line in text.split("\n\n")[0].split("\n")) <= 140


@pytest.mark.parametrize(
    ("asked", "n_columns", "total", "is_terminal", "width"),
    [
        (None, 3, 94, True, 30),
        (None, 3, 93, True, 0),  # too narrow
        (None, 3, 200, False, 0),
        (None, 1, 200, True, 0),  # as it comes
        (False, 3, 200, True, 0),
        (True, 3, 94, False, 30),
        (True, 9, 80, True, 15),  # in rows, so that it can be read
        (True, 1, 80, False, 80),
    ],
)
def test_columns_are_for_terminals_that_are_wide_enough(
    asked: bool | None, n_columns: int, total: int, is_terminal: bool, width: int
) -> None:
    assert chosen_width(asked, n_columns, total=total, is_terminal=is_terminal) == width


def test_what_is_asked_for_changes_every_preset_that_is_compared() -> None:
    options = CompareOptions(
        prompt="Hi", preference=["concise"], strength={"kl_budget": 0.2, "alpha": 1}
    )
    question = read_options(options)
    for name, preset in PRESETS.items():
        asked = question.at_preset(name)
        assert asked.amulet == preset.amulet.replace(kl_budget=0.2, alpha=1)
        assert asked.preset is None
        assert asked.placement == preset.placement
    unchanged = read_options(CompareOptions(prompt="Hi", preset="paper", placement="user"))
    assert unchanged.at_preset("strong").amulet is None
    assert unchanged.at_preset("strong").preset == "strong"
    assert unchanged.at_preset("strong").placement == "user"


def test_compare_as_json_uses_the_same_seed(call: CallCli) -> None:
    arguments = (*SHORT, "--preference", "concise", "--temp", "1", "--json")
    outcome = run("compare", QUESTION, "--methods", "base, amulet,base", *arguments)
    result = json.loads(outcome.out)
    assert list(result) == ["base", "pref", "amulet"]
    assert result["base"]["seed"] == result["amulet"]["seed"] is not None


def test_a_terminal_gets_figures_and_no_control_characters(
    on_terminal: Callable[..., OnTerminal], plain: Outcome
) -> None:
    terminal = on_terminal("generate", QUESTION, *SHORT)
    assert terminal.finish() == 3
    # What comes before is the status, erased with spaces and carriage returns.
    *status, shown = terminal.text.split("\r")
    assert shown.startswith(plain.out)
    remarks = re.sub(r"\x1b\[2m|\x1b\[0m", "", shown)
    assert "\x1b" not in remarks
    assert re.search(rf"{CUT} · .+ tokens/s · first token after .+ s\n{CUT_LINE}\Z", remarks)
    assert status == [] or status[-1].isspace()


def test_figures_break_between_words_on_a_narrow_terminal(
    on_terminal: Callable[..., OnTerminal],
) -> None:
    terminal = on_terminal("generate", QUESTION, *SHORT, "--preference", "concise", COLUMNS="40")
    assert terminal.finish() == 3
    shown = re.sub(r"\r|\x1b\[[02]m", "", terminal.text).splitlines()
    start = next(n for n, line in enumerate(shown) if line.startswith("guidance scale"))
    assert len(shown) - start >= 3
    assert max(map(len, shown[start:])) < 40
    assert re.fullmatch(
        r"guidance scale .+ nats a token · 12 tokens \(cut off\) · .+ first token after [\d.]+ s "
        + CUT_LINE.rstrip(),
        " ".join(shown[start:]),
    )


def test_a_name_in_quotes_that_the_shell_left_is_that_name(call: CallCli) -> None:
    for given in ("“concise”", "'concise'", "„concise“"):
        outcome = call("generate", "Hi", "--preference", given, "-n", "1", "--json")
        assert json.loads(outcome.out)["preferences"] == ["concise"]


@pytest.mark.parametrize(
    ("machine", "given", "runtime", "repack"),
    [
        ("x86_64", {}, {}, False),
        ("AMD64", {"preference": ["concise"]}, {}, False),
        ("x86_64", {}, {"repack": True}, True),
        ("aarch64", {}, {"repack": False}, False),
        ("x86_64", {}, {"repack": False, "draft": "auto"}, False),
        ("x86_64", {}, {"draft": "auto"}, True),
        ("x86_64", {"prompt": "word " * 200}, {}, True),
        ("x86_64", {"system": "word " * 200}, {}, True),
        ("x86_64", {"preference": ["word " * 200]}, {}, True),
        ("x86_64", {"prompt_cache": "there"}, {}, True),
        ("aarch64", {}, {}, True),
    ],
)
def test_weights_are_repacked_where_many_tokens_at_once_repay_it(
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    given: dict[str, Any],
    runtime: dict[str, Any],
    repack: bool,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    options = GenerateOptions(**{"prompt": QUESTION, "runtime": runtime, **given})
    assert read_options(options).runtime.repack is repack
