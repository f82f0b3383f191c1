"""What --method takes: the names that `eval` and `compare` have, parsed without a model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli.answering import what_is_added
from amulet_local.cli.generate import GenerateOptions
from amulet_local.cli.named_method import warn_of_no_preference, with_method
from amulet_local.cli.question import Question, read_options
from amulet_local.common.errors import InvalidParameterError
from amulet_local.params.amulet import AmuletParams
from amulet_local.preferences.preference import DEFAULT_SYSTEM_TEXT
from amulet_local.steering.presets import PRESETS
from tests.cli.conftest import CallCli
from tests.cli.running import run

BALANCED = PRESETS["balanced"].amulet


def named(name: str, preset: str | None = None, **strength: Any) -> tuple[str | None, Question]:
    """What --method NAME comes to beside these options."""
    options = GenerateOptions(
        prompt="Hi",
        preference=["concise"],
        model="smollm2",
        method=name,
        preset=preset,
        strength=strength,
    )
    return with_method(options, name, read_options(options))


@pytest.mark.parametrize(
    ("name", "method", "amulet"),
    [
        ("amulet:scale=2", "amulet", AmuletParams(guidance_scale=2)),
        ("amulet:balanced+scale=2", "amulet", BALANCED.replace(guidance_scale=2)),
        ("strong:mask=0.1", "amulet", PRESETS["strong"].amulet.replace(min_plausibility=0.1)),
        ("context_steering:scale=0.5", "context_steering", AmuletParams(guidance_scale=0.5)),
    ],
)
def test_a_name_has_the_strength_that_eval_gives_it(
    name: str, method: str, amulet: AmuletParams
) -> None:
    found, question = named(name)
    assert (found, question.amulet, question.preset) == (method, amulet, None)


@pytest.mark.parametrize("name", ["strong", "amulet:strong"])
def test_a_presets_name_is_the_preset(name: str) -> None:
    method, question = named(name)
    assert (method, question.amulet, question.preset) == ("amulet", None, "strong")


def test_a_methods_name_leaves_the_strength_to_the_flags() -> None:
    _, question = named("amulet", guidance_scale=3)
    assert question.amulet == BALANCED.replace(guidance_scale=3)


def test_a_flag_changes_what_the_name_leaves_open() -> None:
    _, question = named("amulet:scale=2", echo_guard=True)
    assert question.amulet == AmuletParams(guidance_scale=2, echo_guard=True)


@pytest.mark.parametrize(
    ("name", "preset", "strength", "words"),
    [
        ("amulet:scale=2", None, {"guidance_scale": 3}, "--guidance-scale set the same"),
        ("amulet:scale=2", None, {"alpha": 3}, "--alpha set the same"),
        ("amulet:eta=2", None, {"guidance_scale": 3}, "--guidance-scale set the same"),
        ("amulet:balanced+kl=1", None, {"kl_budget": 2}, "--kl-budget set the same"),
        ("amulet:scale=2", "strong", {}, "--preset both set the strength"),
        ("paper", "strong", {}, "--preset both set the strength"),
    ],
)
def test_a_strength_that_is_given_twice_is_refused(
    name: str, preset: str | None, strength: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        named(name, preset, **strength)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("amulet:strength=2", "no 'strength'"),
        ("amulet:scale=much", "scale has to be a number"),
        ("amulet:scale=2@concise", "@ is for eval"),
        ("pref:scale=2", "has no strength to set"),
        ("amulett", "no method or preset 'amulett'; did you mean 'amulet'? known: base"),
        ("plain", "no method or preset 'plain'; did you mean 'base'? known: base"),
        ("xyz", "no method or preset 'xyz'; known: base"),
    ],
)
def test_every_command_says_the_same_of_what_is_no_method(
    call: CallCli, name: str, words: str
) -> None:
    ask = ("Hi", "--preference", "concise", "--method", name)
    said = {call(command, *ask).error_line for command in ("generate", "explain", "chat")}
    assert len(said) == 1
    compare = (*ask[:-2], "--methods", name)
    assert said == {call("compare", *compare).error_line}
    assert words in said.pop()


@pytest.mark.usefixtures("tiny_by_default")
@pytest.mark.parametrize("command", ["generate", "explain"])
def test_an_answer_has_the_scale_of_its_methods_name(command: str) -> None:
    ask = ("Hi", "-n", "3", "--preference", "concise", "--method", "context_steering:scale=0.5")
    made = json.loads(run(command, *ask, "--json").out)
    assert (made["method"], made["guidance_scale"]) == ("context_steering", 0.5)


@pytest.mark.usefixtures("tiny_by_default")
def test_a_chat_has_the_scale_of_its_methods_name() -> None:
    ask = (
        "chat",
        "-n",
        "3",
        "--no-save",
        "--preference",
        "concise",
        "--method",
        "amulet:scale=2.5",
    )
    outcome = run(*ask, stdin=b"/stats\n")
    assert "2.5" in outcome.out + outcome.err


@pytest.mark.parametrize("how", ["preference", "avoid"])
def test_a_method_that_follows_no_preference_says_so(
    capsys: pytest.CaptureFixture[str], how: str
) -> None:
    options = GenerateOptions(prompt="Hi", model="smollm2", **{how: ["concise"]})  # type: ignore[arg-type]
    warn_of_no_preference("pref", read_options(options))
    assert capsys.readouterr().err == ""
    warn_of_no_preference("base", read_options(options))
    assert "'base' follows no preference" in capsys.readouterr().err


def test_what_is_added_to_a_question_can_be_seen() -> None:
    options = GenerateOptions(prompt="Hi", model="smollm2", preference=["like a pirate"])
    default, preference = what_is_added(read_options(options))
    assert DEFAULT_SYSTEM_TEXT in default
    assert "--system ''" in default
    assert "contrast" in preference
    assert "like a pirate" in preference
    options = dataclasses.replace(options, system="", preference=None)
    assert what_is_added(read_options(options)) == ["system text: none"]


def test_what_is_added_stands_below_the_log_and_once(tiny_path: Path) -> None:
    wish = ("--preference", "like a pirate, in two sentences", "--schedule", "parallel")
    lines = run("generate", "Hi", "-m", tiny_path, "-n", "2", "-v", *wish).err.splitlines()
    added = [
        n for n, line in enumerate(lines) if line.startswith(("system text", "preference,", "form"))
    ]
    log = [n for n, line in enumerate(lines) if line.startswith(("llama_", "sched_", "load"))]
    assert len(added) == 3
    assert lines[added[-1]].endswith(": 2 sentences")
    assert len(log) > 20
    assert max(log) < min(added)
