"""What counts as a broken answer, and the sums."""

from __future__ import annotations

from typing import Any

import pytest

from amulet_local import Generation, Timings, Usage
from amulet_local.common.results import TokenTrace
from amulet_local.evaluation.quality import fluency_limit, means, quality, worst_window

INSTRUCTION = [501, 502, 503, 504, 505]
QUESTION = [601, 602, 603, 604]


def token(token_id: int, plain: float, preference: float) -> TokenTrace:
    return TokenTrace(
        token_id=token_id,
        text="",
        plain=plain,
        preferences=(preference,),
        realigned=0.0,
        scale=1.0,
        kl=0.0,
        top_plain=(),
        top_preferences=((),),
        top_realigned=(),
    )


def generation(
    tokens: list[int],
    *,
    plain: float = -1.0,
    preference: float = -0.5,
    text: str = "Fine.",
    finish_reason: Any = "stop",
    trace: list[TokenTrace] | None = None,
) -> Generation:
    return Generation(
        text=text,
        token_ids=tuple(tokens),
        finish_reason=finish_reason,
        usage=Usage(prompt_tokens=1, completion_tokens=len(tokens), computed_tokens=1),
        timings=Timings(
            prompt_seconds=0,
            time_to_first_token_seconds=0,
            decode_seconds=0,
            tokens_per_second=0,
        ),
        method="amulet",
        preset="",
        guidance_scale=1.0,
        preferences=(),
        seed=None,
        warnings=(),
        trace=tuple(trace or [token(t, plain, preference) for t in tokens]),
    )


def judge(answer: Generation) -> Any:
    return quality(answer, INSTRUCTION, QUESTION)


def test_margin_and_fluency_are_means_per_token() -> None:
    trace = [token(1, -1.0, -0.5), token(2, -3.0, -0.5)]
    judged = judge(generation([1, 2], trace=trace))
    assert (judged.n_tokens, judged.fluency, judged.margin) == (2, -2.0, 1.5)
    assert not judged.is_broken


def test_an_answer_falls_apart_where_one_stretch_does() -> None:
    sound = [token(i, -1.0, -0.5) for i in range(60)]
    bad = [token(100 + i, -1.0, -2.1) for i in range(16)]
    assert judge(generation([*range(76)], trace=[*sound, *bad])).falls_apart
    assert not judge(generation([*range(75)], trace=[*sound, *bad[:15]])).falls_apart


def test_reciting_the_instruction_is_told_from_repeating_the_question() -> None:
    assert judge(generation([1, *INSTRUCTION[1:], 2])).recites
    assert not judge(generation([1, *INSTRUCTION[2:], 2])).recites
    assert not judge(generation([1, *QUESTION, 2])).recites
    assert not quality(generation(INSTRUCTION), INSTRUCTION, INSTRUCTION).recites


def test_a_loop_and_an_answer_that_repeats_half_of_itself_loop() -> None:
    assert judge(generation([1, 2, 3] * 8)).loops
    stretch = list(range(20))
    assert judge(generation([*stretch, 99, *stretch, 98, *stretch])).loops
    assert not judge(generation([*stretch, 99, *stretch, *range(200, 230)])).loops


@pytest.mark.parametrize(
    ("text", "finish_reason", "stops_short"),
    [
        ("The answer to this question is:", "stop", True),
        ("The answer to this question is:", "length", False),
        ("It is so.", "stop", False),
        ('It is "so!"', "stop", False),
        ("Three of them:\n- one\n- two", "stop", False),
        ("Three of them:\n1. one\n2. two", "stop", False),
        ("Three of them:\n1. one\nand so", "stop", True),
        ("Sleep well 😴", "stop", False),
        ("Sleep well! ❤️ ", "stop", False),
        (
            "The moon is high.\nThe house is still.\nI close my eyes\nand climb the hill",
            "stop",
            False,
        ),
        ("The moon is high.\nThe house is still.\nI close my eyes\nand climb the", "stop", True),
        ("go to bed early and keep the room dark", "stop", False),
        ("go to bed early and keep the", "stop", True),
        ("GO TO BED EARLY AND KEEP IT DARK", "stop", False),
        ("Marie Curie", "stop", False),
        ("Marie Curie found two elements that shine", "stop", True),
        ('{"tips": ["Sleep. Rest. Repeat"]}', "stop", False),
        ("", "stop", True),
        ("Go to bed early. Then keep the room dark", "stop", True),
        ("go to bed early. then keep the room dark", "stop", True),
    ],
)
def test_an_answer_that_the_model_ends_in_mid_sentence_stops_short(
    text: str, finish_reason: str, stops_short: bool
) -> None:
    judged = judge(generation([1, 2], text=text, finish_reason=finish_reason))
    assert judged.stops_short == stops_short
    assert judged.is_broken == stops_short


def test_the_worst_window_of_few_values_is_all_of_them() -> None:
    assert worst_window([-1.0, -3.0], 16) == -2.0
    assert worst_window([0.0, -4.0, -2.0, 0.0], 2) == -3.0


def test_means_are_over_all_tokens_and_shares_over_answers() -> None:
    long = judge(generation([*range(30)], plain=-2.0, preference=-1.8))
    short = judge(generation([*range(10)], plain=-1.0, preference=-0.4))
    bad = judge(generation([1, 2, 3] * 10, plain=-1.0, preference=-1.0))
    found = means([long, short, bad])
    assert found.margin == pytest.approx((30 * 0.2 + 10 * 0.6) / 70)
    assert found.fluency == pytest.approx(-(30 * 2 + 10 + 30) / 70)
    assert found.loops == found.broken == pytest.approx(1 / 3)
    assert found.falls_apart == found.recites == found.stops_short == 0
    assert (found.answers, found.tokens) == (3, pytest.approx(70 / 3))


def test_half_of_what_the_paper_loses_may_be_lost() -> None:
    assert fluency_limit(-0.7, -1.5) == pytest.approx(-1.1)
    assert fluency_limit(-0.7, -0.7) == -0.7
    assert fluency_limit(-0.7, -0.5) == -0.7
