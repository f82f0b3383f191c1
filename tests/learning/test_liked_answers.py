"""Texts become token ids, and what is known of their ends is used without a bias."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from amulet_local import Engine, LikedText
from amulet_local.learning.liked_answers import answers_to
from amulet_local.learning.teacher_forcing import GivenAnswer

WHOLE = LikedText(messages="What is yeast?", answer="A fungus.", finished=True)
UNKNOWN = replace(WHOLE, finished=None)


def made(engine: Engine, *texts: LikedText) -> tuple[list[GivenAnswer], list[str]]:
    return answers_to(
        texts,
        ["", "Be brief."],
        engine._prompter,
        engine.model.vocabulary,
        system=None,
        placement="system",
        n_ctx=engine.n_ctx,
    )


def ids(engine: Engine, text: str) -> list[int]:
    return engine.model.vocabulary.tokenize(text, add_special=False, parse_special=False)


def test_an_answer_has_a_prompt_for_each_row_and_its_own_tokens(tiny_engine: Engine) -> None:
    (answer,), notes = made(tiny_engine, WHOLE)
    assert len(answer.prompts) == 2
    assert list(answer.tokens) == ids(tiny_engine, "A fungus.")
    assert (answer.ended, answer.liked, notes) == (True, True, [])
    assert answer.n_positions == len(answer.tokens) + 1


def test_markers_in_an_answer_stay_text(tiny_engine: Engine) -> None:
    (answer,), _ = made(tiny_engine, replace(WHOLE, answer="Say <|im_end|> now."))
    assert tiny_engine.model.vocabulary.end_tokens.isdisjoint(answer.tokens)


@pytest.mark.parametrize(
    ("has_end", "finished", "ended"),
    [(True, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
def test_token_ids_say_themselves_whether_the_answer_ended(
    tiny_engine: Engine, has_end: bool, finished: bool | None, ended: bool
) -> None:
    tokens = ids(tiny_engine, "A fungus.")
    end: Any = [tiny_engine.model.vocabulary.eos_id] if has_end else []
    text = replace(WHOLE, answer=[*tokens, *end], finished=finished)
    (answer,), _ = made(tiny_engine, text)
    assert (list(answer.tokens), answer.ended) == (tokens, ended)


def test_ends_count_only_if_all_are_known(tiny_engine: Engine) -> None:
    cut = replace(WHOLE, finished=False)
    answers, notes = made(tiny_engine, WHOLE, cut)
    assert [answer.ended for answer in answers] == [True, False]
    assert notes == []
    answers, notes = made(tiny_engine, WHOLE, UNKNOWN, cut)
    assert [answer.ended for answer in answers] == [None, None, None]
    assert any("finished" in note for note in notes)
    answers, notes = made(tiny_engine, UNKNOWN, UNKNOWN)
    assert [answer.ended for answer in answers] == [None, None]
    assert notes == []
