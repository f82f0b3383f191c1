"""A preference doesn't make a model decline what it answers plainly."""

from __future__ import annotations

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import ScriptedVocabulary

TOKENS = [
    "I",
    "'m",
    " sorry",
    " can",
    "'t",
    " cannot",
    "As",
    " an",
    " AI",
    " so",
    " very",
    " not",
    " really",
    " won",
    "Sorry",
    "Oh",
    "! ",
    "Yeast",
    "申し",
    "Je",
    " suis",
    " désol",
    " d",
    "Üz",
    "Lo",
    " s",
    "T",
]
VOCABULARY = ScriptedVocabulary(TOKENS)
PLAN = RowPlan(has_plain=True, weights=(1.0,))
DECLINING = ["I", "'m", " sorry"]


def ids(*texts: str) -> list[int]:
    return [VOCABULARY.pieces.index(text.encode()) for text in texts]


def next_of(
    said: list[str], likely: str, *, plain_first: str = "Yeast", question: str = "What is yeast?"
) -> str:
    """What comes after these words, where the preference makes one token the likeliest.

    Args:
        plain_first: what the plain answer would begin with.
    """
    prompts = [
        VOCABULARY.tokenize(text, add_special=False, parse_special=False)
        for text in (question, f"{question} Be kind.")
    ]
    steering = Steering(
        PLAN,
        AmuletParams(guidance_scale=2, decline_guard=True),
        Realigner(VOCABULARY.n_tokens),
        prompts=prompts,
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
    )
    for text in [*said, likely]:
        plain, wished = (np.full(VOCABULARY.n_tokens, -20.0, dtype=np.float32) for _ in range(2))
        plain[ids(plain_first if text == [*said, likely][0] else "Yeast")] = 0.0
        wished[ids(text)] = 0.0
        wished[ids(" so")] = -5.0
        steering.combine([plain, wished])
        token = steering.likeliest()
        if text is likely:
            break
        steering.accept(*ids(text), text)
    return VOCABULARY.pieces[token].decode()


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ([], "Sorry"),
        (["Oh", "! "], "Sorry"),
        (["I", "'m"], " sorry"),
        (["Oh", "! ", "I", "'m"], " sorry"),
        (["I", "'m", " very"], " sorry"),
        (["I", "'m", " so"], " sorry"),
        (["I", "'m"], " not"),
        (["I", "'m", " really"], " not"),
        (["I", "'m", " really", " very"], " sorry"),
        (["I"], " won"),
        (["I", " can"], "'t"),
        (["I"], " cannot"),
        (["As", " an"], " AI"),
        (["I", "'m", " an"], " AI"),
    ],
)
def test_an_opening_doesnt_decline(said: list[str], word: str) -> None:
    assert next_of(said, word) == " so"


@pytest.mark.parametrize(
    ("said", "word", "question"),
    [
        ([], "申し", "酵母とは？"),
        ([], "申し", "What is yeast?"),
        ([], "Üz", "What is yeast?"),
        (["Je", " suis"], " désol", "C'est quoi, la levûre ?"),
        (["Lo"], " s", "What is yeast?"),
    ],
)
def test_nor_does_one_in_another_language(said: list[str], word: str, question: str) -> None:
    assert next_of(said, word, question=question) == " so"


def test_a_letter_opens_an_answer_whatever_word_it_may_begin() -> None:
    assert next_of([], "T") == "T"


def test_a_letter_of_such_a_word_may_begin_another_one() -> None:
    assert next_of(["Je", " suis"], " d", question="C'est quoi, la levûre ?") == " d"


def test_what_declines_plainly_declines() -> None:
    assert next_of(["I", "'m"], " sorry", plain_first="I") == " sorry"


def test_later_it_is_no_opening() -> None:
    assert next_of([*[" so"] * 9, "! ", "I", "'m"], " sorry") == " sorry"


def test_an_apology_that_was_asked_for_comes() -> None:
    assert next_of(["I", "'m"], " sorry", question="Write an apology.") == " sorry"


def test_other_words_behind_the_same_ones_stay() -> None:
    assert next_of(["I", "'m"], " so") == " so"
    assert next_of(["Oh", "! "], "I") == "I"
