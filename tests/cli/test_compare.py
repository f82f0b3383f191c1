"""What `compare` compares with, and what it says of wishes that change next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local.cli import compare
from amulet_local.cli.compare import CompareOptions, columns, entries_of, figures, weak_wishes
from amulet_local.cli.named_method import NamedMethod
from amulet_local.cli.question import read_options
from amulet_local.common.results import Generation, Timings, TokenTrace, Usage
from tests.cli.running import OnTerminal

TOKEN_PLAIN = -1.0
TOKEN = TokenTrace(
    token_id=1,
    text="a",
    plain=TOKEN_PLAIN,
    preferences=(),
    realigned=-1,
    scale=1.5,
    kl=0.1,
    top_plain=(),
    top_preferences=(),
    top_realigned=(),
)
GENERATION = Generation(
    text="",
    token_ids=(1,),
    finish_reason="stop",
    usage=Usage(prompt_tokens=1, completion_tokens=1, computed_tokens=1),
    timings=Timings(
        prompt_seconds=1, time_to_first_token_seconds=1, decode_seconds=1, tokens_per_second=1
    ),
    method="amulet",
    preset="balanced",
    guidance_scale=1.5,
    preferences=("nice",),
    seed=None,
    warnings=(),
)


def entries(text: str, **options: Any) -> list[NamedMethod]:
    asked = {"prompt": "Why?", "model": "smollm2", "preference": ["nice"], **options}
    return entries_of(text, read_options(CompareOptions(methods=text, **asked)))


def methods(text: str, **options: Any) -> list[str]:
    return [entry.name for entry in entries(text, **options)]


@pytest.mark.parametrize(
    ("given", "compared"),
    [
        ("base,pref,amulet", ["base", "pref", "amulet"]),
        ("base,balanced,strong", ["base", "pref", "balanced", "strong"]),
        ("amulet", ["pref", "amulet"]),
        ("amulet,base,pref", ["amulet", "base", "pref"]),
        ("base", ["base"]),
    ],
)
def test_what_steers_is_compared_with_the_prompt_alone(given: str, compared: list[str]) -> None:
    assert methods(given) == compared


@pytest.mark.parametrize(
    ("wishes", "prompt"),
    [
        (
            {"preference": ["in rhyme", "nice:0.5"]},
            "Answer the question in rhyme. Make the answer sound nice.",
        ),
        ({"preference": ["in {rhyme}:0.5"]}, "Answer the question in {rhyme}."),
        (
            {"preference": ["in rhyme"], "avoid": ["emojis"]},
            "Answer the question in rhyme. Avoid an answer that is like this: with emojis.",
        ),
        (
            {"preference": [], "avoid": ["emojis"]},
            "Avoid an answer that is like this: with emojis.",
        ),
    ],
)
def test_a_mix_is_compared_with_one_prompt_that_has_all_of_it(
    wishes: dict[str, list[str]], prompt: str
) -> None:
    assert methods("base,amulet", **wishes) == ["base", "together", "amulet"]
    assert methods("base,pref,strong", **wishes) == ["base", "together", "pref", "strong"]
    assert methods("base", **wishes) == ["base"]
    _, together, _ = entries("base,amulet", **wishes)
    assert together.method == "pref"
    assert [item.instruction for item in together.question.preferences] == [prompt]
    assert [item.weight for item in together.question.preferences] == [1]


def test_the_wish_that_is_compared_with_is_in_the_question_wherever_a_preset_has_it() -> None:
    for preset in ("paper", "strong"):
        _, pref, _ = entries("base,pref,amulet", preset=preset)
        assert pref.question.placement == "contrast"
    _, pref, paper = entries("base,paper")
    assert (pref.question.placement, paper.question.placement) == ("contrast", "system")
    _, pref, _ = entries("base,amulet", placement="system")
    assert pref.question.placement == "system"


def said(*gains: float, wishes: tuple[str, ...] = ("nice",), n_tokens: int = 12) -> str:
    """What is said where each preference makes each token likelier by so many nats."""
    liked = [wish for wish in wishes if not wish.startswith("-")]
    avoided = [wish.removeprefix("-") for wish in wishes if wish.startswith("-")]
    question = read_options(
        CompareOptions(prompt="Why?", model="smollm2", preference=liked, avoid=avoided, methods="")
    )
    compared = entries_of("base,pref,amulet", question)
    trace = (replace(TOKEN, preferences=tuple(TOKEN_PLAIN + gain for gain in gains)),) * n_tokens
    made = {entry.name: GENERATION for entry in compared}
    made["amulet"] = replace(GENERATION, trace=trace)
    return " ".join(weak_wishes(compared, made))


def test_a_wish_that_makes_the_answer_hardly_likelier_is_said_to_be_weak() -> None:
    assert said(0.02).startswith("'nice' (+0.020 nats a token): too weak for this model")
    assert "'nice' (-0.010" in said(-0.01)
    assert "'nice' (+0.040" in said(0.04)  # "more", of a 0.5B that does as it would have done
    assert said(0.02, 0.5, wishes=("nice", "in rhyme")).startswith("'nice' (+0.020 nats a token): ")
    assert "'rude:-1' (+0.010" in said(-0.01, wishes=("-rude",))


def test_a_wish_that_changes_the_answer_is_not() -> None:
    assert said(0.7) == ""
    assert said(0.08) == ""  # one of three that are mixed, and followed
    assert said(-0.7, wishes=("-rude",)) == ""
    assert said(0.02, wishes=("without any digits",)) == ""
    assert said(0.02, n_tokens=5) == ""


class InterruptedSession:
    """Ctrl-C comes while the second answer is made."""

    def answer(self, method: str, **_: Any) -> Generation:
        if method != "base":
            raise KeyboardInterrupt
        return replace(GENERATION, text="A plain answer.")

    def json_of(self, *_: Any) -> dict[str, Any]:
        return {}


def test_answers_that_were_made_before_ctrl_c_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def session(_: Any) -> Iterator[InterruptedSession]:
        yield InterruptedSession()

    monkeypatch.setattr(compare, "session", session)
    options = CompareOptions(prompt="Why?", preference=["nice"], columns=True)
    with pytest.raises(KeyboardInterrupt):
        compare.run(options)
    shown = capsys.readouterr().out
    assert "base: the" in shown
    assert "A plain answer." in shown


@pytest.mark.parametrize(("total", "n_rows"), [(40, 2), (66, 1), (10, 4)])
def test_columns_that_dont_fit_into_a_line_stand_below(total: int, n_rows: int) -> None:
    text = columns(["a", "b", "c", "d"], ["one two three four five"] * 4, 15, total=total)
    assert max(map(len, text.splitlines())) <= max(total, 15)
    assert text.count("-" * 15) == text.count("one two three") == 4
    assert len(text.split("\n\n")) == n_rows


def test_a_terminal_without_progress_shows_answers_as_they_come(tiny_path: Path) -> None:
    command = ("compare", "Hi", "-m", tiny_path, "-n", "3", "--preference", "nice")
    for term, expected in (("dumb", "--- base: the plain answer ---"), ("xterm", "base: the ")):
        terminal = OnTerminal(*command, TERM=term, COLUMNS="120")
        try:
            terminal.finish()
            assert any(line.startswith(expected) for line in terminal.lines)
        finally:
            terminal.close()


def test_one_token_is_one_token_and_has_no_speed() -> None:
    timings = replace(GENERATION.timings, tokens_per_second=0.0)
    assert figures({"base": replace(GENERATION, timings=timings)}) == "plain: 1 token"
