"""An answer that is in its language goes on by the preference prompt alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from amulet_local import AmuletParams
from amulet_local.optimizer.realigner import Realigner
from amulet_local.preferences.form import Form
from amulet_local.preferences.preference import resolve, wished_form
from amulet_local.steering.guards.settled import BEGUN_NATS, BEGUN_TOKENS
from amulet_local.steering.row_plan import RowPlan
from amulet_local.steering.steering import Steering
from tests.scripted import ScriptedVocabulary

PAIR = RowPlan(has_plain=True, weights=(1.0,))
SPANISH = Form(language="Spanish")
ON = AmuletParams(guidance_scale=2, settled_gating=True)


def scales(
    n_tokens: int,
    *,
    gain: float = 10.0,
    form: Form = SPANISH,
    amulet: AmuletParams = ON,
    plan: RowPlan = PAIR,
) -> tuple[list[float], Steering]:
    """The scale of each token where every one of them gains so much.

    Args:
        gain: of the first token by the preference, in nats; nothing else tells the rows apart.
    """
    steering = Steering(plan, amulet, Realigner(3), form=form)
    found = []
    for n in range(n_tokens):
        plain = np.log(np.array([0.5, 0.25, 0.25], dtype=np.float32))
        wished = plain.copy()
        if n == 0:
            plain[0] -= gain
        rows: Sequence[np.ndarray] = [plain, *(wished for _ in plan.weights)]
        found.append(steering.combine(rows[not plan.has_plain :]).scale)
        steering.accept(0, "Hola ")
    return found, steering


def test_its_first_words_are_strengthened_and_nothing_else() -> None:
    found, steering = scales(BEGUN_TOKENS + 3)
    assert found == [2.0] * BEGUN_TOKENS + [1.0] * 3
    assert steering.needs_no_plain


def test_an_answer_that_hasnt_begun_in_it_is_strengthened_on() -> None:
    found, steering = scales(3 * BEGUN_TOKENS, gain=BEGUN_NATS / 2)
    assert found == [2.0] * (3 * BEGUN_TOKENS)
    assert not steering.needs_no_plain


@pytest.mark.parametrize(
    ("form", "amulet"),
    [
        (Form(), ON),
        (SPANISH, AmuletParams(guidance_scale=2)),
        (Form(case="lower"), ON),
    ],
)
def test_nor_where_more_is_wished_or_it_is_off(form: Form, amulet: AmuletParams) -> None:
    found, steering = scales(2 * BEGUN_TOKENS, form=form, amulet=amulet)
    assert found == [2.0] * (2 * BEGUN_TOKENS)
    assert not steering.needs_no_plain


@pytest.mark.parametrize("keeps", [True, False])
def test_a_form_that_is_kept_isnt_strengthened_from_the_first_word_on(keeps: bool) -> None:
    vocabulary = ScriptedVocabulary()
    steering = Steering(
        PAIR,
        AmuletParams(guidance_scale=2, settled_gating=True, form_guard=keeps),
        Realigner(vocabulary.n_tokens),
        form=Form(case="lower", is_all=True),
        vocabulary=vocabulary,  # type: ignore[arg-type]
    )
    rows = [np.zeros(vocabulary.n_tokens, dtype=np.float32) for _ in range(2)]
    found = []
    for _ in range(BEGUN_TOKENS):
        assert not steering.needs_no_plain
        found.append(steering.combine(rows).scale)
        steering.accept(vocabulary.pieces.index(b"bed"), "bed")
    assert found == [1.0 if keeps else 2.0] * BEGUN_TOKENS
    assert steering.needs_no_plain == keeps


def test_another_language_has_to_begin_anew() -> None:
    _, steering = scales(BEGUN_TOKENS)
    steering.change(PAIR, ON, form=Form(language="French"), same_rows=True)
    assert not steering.needs_no_plain
    steering.change(PAIR, ON, form=Form(), same_rows=True)
    assert not steering.needs_no_plain


@pytest.mark.parametrize(
    "plan",
    [
        RowPlan(has_plain=False, weights=(1.0,)),
        RowPlan(has_plain=True, weights=(0.5,)),
        RowPlan(has_plain=True, weights=(0.5, 0.5)),
    ],
)
def test_rows_that_are_mixed_are_needed_to_the_end(plan: RowPlan) -> None:
    assert not scales(2 * BEGUN_TOKENS, plan=plan)[1].needs_no_plain


@pytest.mark.parametrize(
    ("wishes", "avoid", "language"),
    [
        (["in Spanish"], None, "Spanish"),
        (["Answer everything in German, please!"], None, "German"),
        (["odpowiadaj po polsku proszę"], None, "Polish"),
        (["por favor respóndeme siempre en español"], None, "Spanish"),
        (["graag in het Nederlands, dank je"], None, "Dutch"),
        (["bana hep türkçe cevap ver lütfen"], None, "Turkish"),
        (["用中文回答"], None, "Chinese"),
        (["на русском, пожалуйста"], None, "Russian"),
        (["I'm learning Swedish, so only Swedish"], None, "Swedish"),
        (["in Spanish", "auf Spanisch"], None, "Spanish"),
        (["in Spanish", "concise"], None, ""),
        (["in Spanish", "in French"], None, ""),
        (["in Spanish"], ["formal"], ""),
        (["kurz und herzlich, auf Deutsch"], None, ""),
        (["in simple English"], None, ""),
        (["say it in English first and then again in French"], None, ""),
        (["like a Spanish pirate"], None, ""),
        (["concise"], None, ""),
    ],
)
def test_a_language_is_all_that_is_wished(
    wishes: list[str], avoid: list[str] | None, language: str
) -> None:
    assert wished_form(resolve(wishes, avoid=avoid)).language == language


def test_a_language_alone_is_no_form_to_keep() -> None:
    assert not SPANISH


@pytest.mark.parametrize(
    ("wishes", "is_all"),
    [
        (["in lower case only"], True),
        (["in exactly two sentences"], True),
        (["as bullet points please"], False),
        (["Please don't use any commas."], True),
        (["starting with the word 'Well'"], True),
        (["en une seule phrase, s'il te plaît"], True),
        (["no commas", "in two sentences"], True),
        (["in two funny sentences"], False),
        (["no commas, like a pirate"], False),
        (["no commas", "like a pirate"], False),
        (["with emojis"], False),
        (["short"], False),
        (["in questions only"], False),
        (["as a letter that starts with 'Dear'"], False),
        (["concise"], False),
    ],
)
def test_a_form_that_is_kept_is_all_that_is_wished(wishes: list[str], is_all: bool) -> None:
    assert wished_form(resolve(wishes)).is_all == is_all


def test_nor_is_what_is_to_be_avoided() -> None:
    assert not wished_form(resolve(None, avoid="commas")).is_all
