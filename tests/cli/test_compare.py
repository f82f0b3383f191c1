"""What `compare` compares with, and what it says of wishes that change next to nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amulet_local.cli.compare import CompareOptions, entries_of, weak_wishes
from amulet_local.cli.question import read_options
from amulet_local.common.results import Generation, Timings, TokenTrace, Usage

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


def methods(text: str) -> list[str]:
    question = read_options(
        CompareOptions(prompt="Why?", model="smollm2", preference=["nice"], methods=text)
    )
    return [entry.name for entry in entries_of(text, question)]


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


def said(*gains: float, wishes: tuple[str, ...] = ("nice",), n_tokens: int = 12) -> str:
    """What is said where each preference makes each token likelier by so many nats."""
    liked = [wish for wish in wishes if not wish.startswith("-")]
    avoided = [wish.removeprefix("-") for wish in wishes if wish.startswith("-")]
    question = read_options(
        CompareOptions(prompt="Why?", model="smollm2", preference=liked, avoid=avoided, methods="")
    )
    entries = entries_of("base,pref,amulet", question)
    trace = (replace(TOKEN, preferences=tuple(TOKEN_PLAIN + gain for gain in gains)),) * n_tokens
    made = {entry.name: GENERATION for entry in entries}
    made["amulet"] = replace(GENERATION, trace=trace)
    return " ".join(weak_wishes(entries, made))


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
    assert said(0.02, n_tokens=5) == ""
