"""An answer in another language is written in its letters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.preferences.form import form_of
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import ScriptedVocabulary

TOKENS = ["你", "用", "剩", "米", "。", "（", " leftover", " Ow", "Ow", "kg", "grep"]
VOCABULARY = ScriptedVocabulary(TOKENS)
PLAN = RowPlan(has_plain=True, weights=(1.0,))


def token_of(text: str) -> int:
    return VOCABULARY.pieces.index(text.encode())


def begun(said: list[str], share: float, likely: str, rest: Sequence[str] = ("米",)) -> Steering:
    """The steering of an answer in Chinese, before the token behind these.

    Args:
        share: probability of the likely token.
        rest: the tokens that share what is left.
    """
    steering = Steering(
        PLAN,
        AmuletParams(guidance_scale=1.5, form_guard=True),
        Realigner(VOCABULARY.n_tokens),
        vocabulary=VOCABULARY,  # type: ignore[arg-type]
        form=form_of("in Chinese"),
    )
    for text in [*said, likely]:
        row = np.full(VOCABULARY.n_tokens, -30.0, dtype=np.float32)
        row[[token_of(other) for other in rest]] = math.log((1 - share) / len(rest))
        row[token_of(likely)] = math.log(share)
        steering.combine([row, row.copy()])
        if text is not likely:
            steering.accept(token_of(text), text)
    return steering


def next_of(said: list[str], share: float, likely: str, rest: Sequence[str] = ("米",)) -> str:
    steering = begun(said, share, likely, rest)
    return VOCABULARY.pieces[steering.likeliest()].decode()


@pytest.mark.parametrize("likely", ["Ow", "grep"])
def test_an_answer_begins_in_the_script(likely: str) -> None:
    assert next_of([], 0.98, likely) == "米"


def test_a_model_that_hardly_knows_the_script_is_left_alone() -> None:
    assert next_of([], 0.999, "Ow") == "Ow"


def test_whether_it_knows_the_script_shows_where_a_word_comes() -> None:
    assert next_of([], 0.999, "（", rest=("米", "Ow")) == "（"
    assert next_of(["（"], 0.98, "Ow") == "米"
    assert next_of(["（"], 0.999, "Ow", rest=("kg",)) == "Ow"


@pytest.mark.parametrize(
    ("likely", "share", "comes"),
    [
        (" leftover", 0.85, "剩"),
        (" leftover", 0.95, " leftover"),
        (" Ow", 0.45, "剩"),
        (" Ow", 0.55, " Ow"),
    ],
)
def test_words_of_other_scripts_come_where_little_else_may(
    likely: str, share: float, comes: str
) -> None:
    assert next_of(["你", "用"], share, likely, rest=("米", "剩")) == comes


@pytest.mark.parametrize("said", [["你", "5"], ["你", "5", " "], ["你", " Ow"], ["你", "`"]])
def test_units_and_what_goes_on_with_a_word_may_come(said: list[str]) -> None:
    assert next_of(said, 0.6, "kg") == "kg"


def test_most_of_the_answer_in_other_letters_is_told() -> None:
    assert begun(["你", " Ow"], 0.95, " leftover").warnings == (
        "most of the answer isn't in Chinese or Japanese characters, and the preference asks for "
        "them",
    )
    assert begun(["你", "用"], 0.95, " leftover").warnings == ()
