"""The user's own question is no answer."""

from __future__ import annotations

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import END, ScriptedVocabulary

VOCABULARY = ScriptedVocabulary(["WHAT", " IS", " YEAST", "?", "Yeast", " rises", ".", "Why"])
PAIR = RowPlan(has_plain=True, weights=(1.0,))


def may_end(
    *said: str, plain_begins: str = "Yeast", scale: float = 1.5, amulet: AmuletParams | None = None
) -> bool:
    """Whether the answer may end behind these words, as both prompts find likely.

    Args:
        plain_begins: what the plain prompt would begin with.
    """
    prompts = [
        VOCABULARY.tokenize(text, add_special=False, parse_special=False)
        for text in ("What is yeast? Why?", "What is yeast? Why? IN CAPITALS.")
    ]
    steering = Steering(
        PAIR,
        amulet or AmuletParams(guidance_scale=scale, end_guard=True),
        Realigner(VOCABULARY.n_tokens),
        prompts=prompts,
        end_tokens=[END],
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
    )
    for text in said:
        plain, wished = (np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32) for _ in range(2))
        token = VOCABULARY.pieces.index(text.encode())
        plain[VOCABULARY.pieces.index(plain_begins.encode())] = wished[token] = 0.0
        steering.combine([plain, wished])
        steering.accept(token, text)
    rows = [np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32) for _ in range(2)]
    for row in rows:
        row[END] = 0.0
    steering.combine(rows)
    return steering.likeliest() == END


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_the_question_given_back_is_no_answer(scale: float) -> None:
    assert not may_end("WHAT", " IS", " YEAST", "?", scale=scale)


def test_nor_is_it_without_its_mark() -> None:
    assert not may_end("WHAT", " IS", " YEAST")
    assert may_end("WHAT", " IS")
    assert may_end("Yeast", " rises")


def test_it_is_where_the_plain_answer_begins_like_it() -> None:
    assert may_end("WHAT", " IS", " YEAST", "?", plain_begins="WHAT")


@pytest.mark.parametrize("said", [("Yeast", " rises", "."), ("Yeast", " rises", "?"), ("Why", "?")])
def test_another_sentence_is_one(said: tuple[str, ...]) -> None:
    assert may_end(*said)


def test_nor_is_anything_refused_without_the_guard() -> None:
    assert may_end("WHAT", " IS", " YEAST", "?", amulet=AmuletParams(guidance_scale=1.5))
