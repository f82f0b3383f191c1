"""What `compare` compares with, and what it says of wishes that change next to nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amulet_local.cli.compare import CompareOptions, entries_of, weak_wishes
from amulet_local.cli.question import read_options
from amulet_local.common.results import Generation, Timings, Usage

PLAIN = "To sleep better go to bed at the same time each day and leave your phone outside"
OTHER = "Para dormir mejor acuéstate siempre a la misma hora y deja el teléfono fuera"
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


def said(plain: str, prompted: str, steered: str) -> str:
    question = read_options(
        CompareOptions(prompt="Why?", model="smollm2", preference=["nice"], methods="")
    )
    texts = {"base": plain, "pref": prompted, "amulet": steered}
    entries = entries_of("base,pref,amulet", question)
    made = {name: replace(GENERATION, text=text) for name, text in texts.items()}
    return " ".join(weak_wishes(entries, made))


def test_a_wish_that_changes_next_to_nothing_is_said_to_be_weak() -> None:
    assert "amulet is nearly the plain answer: 'nice'" in said(PLAIN, PLAIN, f"{PLAIN} too")
    near = PLAIN.replace("go to bed", "lie down").replace("each day", "every evening")
    assert "amulet is what the prompt alone gives" in said(PLAIN, near, near)


def test_a_wish_that_changes_the_answer_is_not() -> None:
    assert said(PLAIN, OTHER, OTHER) == ""
    assert said(PLAIN, PLAIN, OTHER) == ""
    assert said("Yes.", "Yes.", "Yes.") == ""
