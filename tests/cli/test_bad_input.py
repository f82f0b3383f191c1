"""Whatever can't be done is said in one line on stderr, with exit code 1."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import CallCli
from tests.cli.running import run

PREFERENCE = ("--preference", "concise")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "0"], ["--predict", "0"]),
        (["-n", "-5"], ["--predict", "-5"]),
        (["-m", ""], ["name is empty"]),
        (["--stop", ""], ["--stop"]),
        (["--reasoning-format", "loud"], ["--reasoning-format", "separate"]),
        (["-n", "2.5"], ["--predict"]),
        (["--temp", "-0.1"], ["--temp", "-0.1"]),
        (["--top-k", "-1"], ["--top-k"]),
        (["--top-p", "1.5"], ["--top-p"]),
        (["--min-p", "-1"], ["--min-p"]),
        (["--seed", "-2"], ["--seed", "-2"]),
        (["--typical", "0"], ["--typical"]),
        (["--xtc-threshold", "2"], ["--xtc-threshold", "2"]),
        (["--dry-base", "0.5"], ["--dry-base", "0.5"]),
        (["--dry-sequence-breaker", "x" * 50], ["--dry-sequence-breaker", "40 bytes"]),
        (["--mirostat", "3"], ["--mirostat", "3"]),
        (["-l", "5+200"], ["--logit-bias", "-100 to 100"]),
        (["--ignore-eos", "--json-schema", "{}"], ["--ignore-eos", "--json-schema"]),
        (["--grammar", "root := x"], ["--grammar: line 1, column 6"]),
        (["--grammar", ""], ["--grammar", "root"]),
        (["-j", '{"type": "text"}'], ["--json-schema: $", "'text'"]),
        (["-j", "{"], ["--json-schema: $: it isn't JSON"]),
        ([*PREFERENCE, "--eta", "0"], ["--eta", "0"]),
        ([*PREFERENCE, "--iterations", "0"], ["--iterations", "0"]),
        ([*PREFERENCE, "--lambda", "0"], ["--lambda", "0"]),
        ([*PREFERENCE, "--guidance-scale", "inf"], ["--guidance-scale"]),
        (["--method", "magic"], ["magic", "linear_alignment"]),
        (["--method", "amulet"], ["--preference"]),
        (["--preference", "concise_"], ["concise_", "did you mean 'concise'"]),
        (["--preference", " "], ["preference"]),
        (["--placement", "middle"], ["middle", "system", "user"]),
        (["-ctk", "q9"], ["--cache-type-k", "q9"]),
        (["-fa", "maybe"], ["--flash-attn", "maybe"]),
        (["-fa", "off", "-ctv", "q8_0"], ["--cache-type-v", "--flash-attn on"]),
        (["-c", "-1"], ["--ctx-size"]),
        (["-ngl", "-7"], ["--gpu-layers"]),
        (["-m", "no-such-model"], ["no-such-model", "smollm2"]),
        (["-m", "./no/such.gguf"], ["no such file", "`amulet-local models`"]),
        (["-m", "hf.co/Org/Model-GGUF:Q8_0"], ["amulet-local pull Org/Model-GGUF:Q8_0"]),
        (["-m", "https://huggingface.co/Org/Model"], ["amulet-local pull Org/Model"]),
    ],
)
def test_bad_options(call: CallCli, arguments: list[str], words: list[str]) -> None:
    line = call("generate", "Hi", *arguments).error_line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--kl", "--kl-budget, --kl-target"),
        ("--max", "--max-gain, --max-guidance, --max-tokens"),
        ("--temp-erature", "--temperature"),
        ("--target", "--kl-target"),
        ("--temprature", "--mix-temperature, --nucleus-temperature, --temperature"),
        ("--sedd", "--seed"),
    ],
)
def test_flags_that_begin_with_what_was_typed_are_meant(
    call: CallCli, typed: str, meant: str
) -> None:
    outcome = call("generate", "Hi", typed, "0.3")
    assert outcome.code == 2
    assert outcome.err.endswith(f"No such option: {typed} (Possible options: {meant})\n")


@pytest.mark.parametrize(
    "flag",
    [
        *("--guidance-scale", "--alpha", "--lambda", "--eta", "--iterations", "-n", "--temp"),
        *("--top-k", "--top-p", "--min-p", "--repeat-penalty", "--presence-penalty"),
        *("--frequency-penalty", "--repeat-last-n", "--seed", "-c", "-b", "-t", "-tb", "-ngl"),
        *("--typical", "--xtc-probability", "--xtc-threshold", "--dry-multiplier", "--dry-base"),
        *("--dry-allowed-length", "--dry-penalty-last-n", "--mirostat-lr", "--mirostat-ent"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "-inf"])
def test_no_number_may_be_nan_or_infinite(call: CallCli, flag: str, value: str) -> None:
    line = call("generate", "Hi", *PREFERENCE, flag, value).error_line
    assert "finite" in line
    assert "--" in line


def test_a_dry_breaker_in_the_environment_keeps_its_spaces(
    call: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMULET_DRY_SEQUENCE_BREAKER", "word " * 20)
    assert "40 bytes" in call("generate", "Hi").error_line


def test_a_blank_question(call: CallCli) -> None:
    assert "empty" in call("generate", " \n").error_line


def test_compare_without_a_preference(call: CallCli) -> None:
    assert "give one with --preference" in call("compare", "Hi").error_line


@pytest.mark.parametrize("methods", ["base,magic", ",", "", "AMULETS"])
def test_compare_of_methods_that_are_not_there(call: CallCli, methods: str) -> None:
    assert call("compare", "Hi", *PREFERENCE, "--methods", methods).error_line


@pytest.mark.parametrize(
    "flag",
    ["-f", "--preference-file", "--chat-template-file", "--grammar-file", "--json-schema-file"],
)
def test_files_that_cant_be_read(call: CallCli, tmp_path: Path, flag: str) -> None:
    question = [] if flag == "-f" else ["Hi"]
    locked = tmp_path / "locked.txt"
    locked.write_text("text")
    locked.chmod(0)
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"caf\xe9")
    for path in (tmp_path / "missing.txt", tmp_path, binary, Path("/dev/zero")):
        assert str(path) in call("generate", *question, flag, path).error_line
    if os.geteuid() != 0:
        assert "Permission denied" in call("generate", *question, flag, locked).error_line


def test_a_prompt_caches_name_is_looked_at_before_the_model(call: CallCli) -> None:
    line = call("generate", "Hi", "-m", "no-such-model", "--prompt-cache", "a/b").error_line
    assert "a prompt cache is called by letters" in line


def test_an_empty_preference_file(call: CallCli, tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    assert "empty.txt" in call("generate", "Hi", "--preference-file", empty).error_line


def test_a_picture_is_no_text_that_could_be_converted(call: CallCli, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    line = call("generate", "-f", picture).error_line
    assert "a.png" in line
    assert "pictures and sounds aren't read here" in line


@pytest.mark.lengthy
def test_arguments_that_are_not_utf_8() -> None:
    text = os.fsdecode(b"caf\xe9")
    assert "PROMPT isn't UTF-8" in run("generate", text).error_line
    assert "--system isn't UTF-8" in run("generate", "Hi", "--system", text).error_line
    for flag in ("--preference", "--grammar", "--json-schema", "--dry-sequence-breaker"):
        assert f"{flag} isn't UTF-8" in run("generate", "Hi", flag, text).error_line


@pytest.fixture
def bad_models(
    tmp_path: Path, model_path: Path, tiny_gguf: Callable[..., Path]
) -> dict[str, tuple[Path, str]]:
    empty, text, cut = tmp_path / "empty.gguf", tmp_path / "text.gguf", tmp_path / "cut.gguf"
    empty.touch()
    text.write_text("Once upon a time there was a model.")
    with model_path.open("rb") as whole:
        cut.write_bytes(whole.read(4 << 20))
    return {
        "missing": (tmp_path / "missing.gguf", "no such file"),
        "folder": (tmp_path, "folder"),
        "empty": (empty, "empty"),
        "text": (text, "GGUF"),
        "cut": (cut, "incomplete"),
        "embedding": (tiny_gguf("bert.gguf", "bert"), "embeddings"),
        "adapter": (tiny_gguf("lora.gguf", type="adapter"), "adapter"),
    }


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "empty", "text", "cut", "embedding", "adapter"]
)
def test_files_that_are_no_models(bad_models: dict[str, tuple[Path, str]], kind: str) -> None:
    path, word = bad_models[kind]
    assert word in run("generate", "Hi", "-m", path).error_line


@pytest.mark.lengthy
def test_a_model_that_llama_cpp_refuses(tiny_gguf: Callable[..., Path]) -> None:
    assert "odd.gguf" in run("generate", "Hi", "-m", tiny_gguf("odd.gguf", "odd")).error_line


def test_a_file_name_that_acts_on_a_terminal_is_shown(call: CallCli, tmp_path: Path) -> None:
    line = call("generate", "Hi", "-m", tmp_path / "\x1b[2J\nerror: \u202emodel.gguf").error_line
    assert "\\x1b[2J\\nerror: \\u202emodel.gguf" in line


@pytest.mark.usefixtures("model_path")
def test_a_question_longer_than_the_context() -> None:
    line = run("generate", "word " * 300, "-c", "64", *PREFERENCE).error_line
    numbers = [int(digits) for digits in re.findall(r"\d+", line)]
    assert 64 in numbers
    assert any(300 <= number <= 400 for number in numbers)


def test_an_unexpected_error_is_one_line_and_debug_shows_more(
    call: CallCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr("amulet_local.cli.generate.read_options", fail)
    line = call("generate", "Hi").error_line
    assert line.startswith("unexpected ZeroDivisionError: division by zero")
    assert "AMULET_DEBUG=1" in line
    for arguments in (["generate", "Hi", "-v"], ["generate", "Hi"]):  # the second with AMULET_DEBUG
        outcome = call(*arguments)
        assert outcome.code == 1
        assert "Traceback" in outcome.err
        monkeypatch.setenv("AMULET_DEBUG", "1")
