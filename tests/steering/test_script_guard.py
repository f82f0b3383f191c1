"""No letters of a script that nobody wrote."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.preferences.form import form_of
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import ScriptedVocabulary

TOKENS = ["Der", " Himmel", " ist", " blau", "蓝", "是", "д", "да", "π", "😊"]
VOCABULARY = ScriptedVocabulary(TOKENS)
PLAN = RowPlan(has_plain=True, weights=(1.0,))
CHINESE = "蓝".encode()


def token_of(text: str) -> int:
    return VOCABULARY.pieces.index(text.encode())


def next_of(
    said: list[str],
    *,
    question: str = "Why is the sky blue?",
    wish: str = "",
    plain: dict[str, float] | None = None,
    wished: dict[str, float] | None = None,
    rest: float = -20.0,
    scale: float = 3.0,
    script_guard: bool = True,
    is_drawn: bool = False,
) -> str:
    """What comes after these words.

    Args:
        plain, wished: logits of some tokens; by default the combination alone makes 蓝 likeliest.
        rest: the others' logit under the preference prompt.
    """
    prompts = [
        VOCABULARY.tokenize(text, add_special=False, parse_special=False)
        for text in (question, f"{question} Answer in German.")
    ]
    steering = Steering(
        PLAN,
        AmuletParams(guidance_scale=scale, script_guard=script_guard),
        Realigner(VOCABULARY.n_tokens),
        prompts=prompts,
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
        form=form_of(wish),
        is_drawn=is_drawn,
    )
    for text in said:
        rows = [np.zeros(VOCABULARY.n_tokens, dtype=np.float32) for _ in range(2)]
        steering.combine(rows)
        steering.accept(token_of(text), text)
    rows = []
    for logits, other in (
        (plain or {" blau": 5.0, "蓝": 0.0}, -20.0),
        (wished or {" blau": 5.0, "蓝": 4.0}, rest),
    ):
        row = np.full(VOCABULARY.n_tokens, other, dtype=np.float32)
        for text, logit in logits.items():
            row[token_of(text)] = logit
        rows.append(row)
    combination = steering.combine(rows)
    if is_drawn:
        logits = Realigner(VOCABULARY.n_tokens).combine(*combination)
        return VOCABULARY.pieces[int(np.argmax(logits))].decode()
    return VOCABULARY.pieces[steering.likeliest()].decode()


def test_the_strength_alone_brings_no_other_script() -> None:
    assert next_of(["Der", " Himmel", " ist"], script_guard=False) == "蓝"
    assert next_of(["Der", " Himmel", " ist"]) == " blau"


def test_nor_is_one_drawn() -> None:
    assert next_of(["Der", " Himmel", " ist"], is_drawn=True) == " blau"


def test_of_what_may_be_drawn_the_other_script_alone_is_left_out() -> None:
    steering = Steering(
        PLAN,
        AmuletParams(guidance_scale=1.5, script_guard=True, draw_guard=True),
        Realigner(VOCABULARY.n_tokens),
        prompts=[[token_of("Der")], [token_of("Der"), token_of(" ist")]],
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
        is_drawn=True,
    )
    steering.combine([np.zeros(VOCABULARY.n_tokens, dtype=np.float32)] * 2)
    steering.accept(token_of("Der"), "Der")
    plain, wished = (np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32) for _ in range(2))
    drawn = [token_of(text) for text in (" blau", " Himmel", "蓝")]
    plain[drawn] = 5.0, 5.0, 0.0
    wished[drawn] = 5.0, 4.5, 4.0
    left = steering.combine([plain, wished]).tokens
    assert left is not None
    assert sorted(left.tolist()) == sorted(drawn[:2])


def test_the_first_word_decides_the_language() -> None:
    assert next_of([]) == "蓝"


@pytest.mark.parametrize("said", [["是"], ["Der", "是"]])
def test_what_the_answer_has_may_come_again(said: list[str]) -> None:
    assert next_of(said) == "蓝"


def test_an_emoji_decides_no_language() -> None:
    assert next_of(["😊"], script_guard=False) == "蓝"
    assert next_of(["😊"]) == " blau"


def test_what_the_question_has_may_come() -> None:
    assert next_of(["Der", " ist"], question="Was heißt 蓝?") == "蓝"


def test_a_language_that_is_wished_may_come() -> None:
    assert next_of(["Der", " ist"], wish="in Chinese") == "蓝"


def test_where_the_preference_prompt_goes_on_in_it_it_comes() -> None:
    rows = {"plain": {" blau": 5.0, "蓝": 0.0}, "wished": {" blau": 4.0, "蓝": 4.5}}
    assert next_of(["Der", " ist"], **rows) == "蓝"  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "comes"), [(0.55, "蓝"), (0.45, " blau")])
def test_where_the_plain_prompt_does_it_may(share: float, comes: str) -> None:
    plain = {"蓝": math.log(share), " blau": math.log(1 - share)}
    wished = {"蓝": math.log(0.4), " blau": math.log(0.3)}
    rest = math.log(0.3 / (VOCABULARY.n_tokens - 2))
    assert next_of(["Der"], plain=plain, wished=wished, rest=rest, scale=1.01) == comes


def test_greek_letters_are_signs() -> None:
    rows = {"plain": {" blau": 5.0, "π": 0.0}, "wished": {" blau": 5.0, "π": 4.0}}
    assert next_of(["Der", " ist"], **rows) == "π"  # type: ignore[arg-type]


def test_a_part_of_a_letter_is_refused_as_well() -> None:
    part = VOCABULARY.pieces.index(CHINESE[:1])
    steering = Steering(
        PLAN,
        AmuletParams(guidance_scale=3, script_guard=True),
        Realigner(VOCABULARY.n_tokens),
        prompts=[[token_of("Der")], [token_of("Der"), token_of(" ist")]],
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
    )
    steering.combine([np.zeros(VOCABULARY.n_tokens, dtype=np.float32)] * 2)
    steering.accept(token_of("Der"), "Der")
    plain, wished = (np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32) for _ in range(2))
    plain[[token_of(" blau"), part]] = 5.0, 0.0
    wished[[token_of(" blau"), part]] = 5.0, 4.0
    steering.combine([plain, wished])
    assert steering.likeliest() == token_of(" blau")
