"""How much likelier preferences make an answer: as `score` has it, whatever the rows hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.common.errors import EmptyPromptError, PromptTooLongError
from tests.scripted import END, Rule, ScriptedVocabulary, chained, scripted_engine

pytestmark = pytest.mark.lengthy

BANK = ["formal", "concise", "in rhyme"]
QUESTION = "How do I sleep better?"
ANSWER = "read more at night, water and tea"


@pytest.fixture(scope="module")
def scripted() -> Engine:
    return scripted_engine()


def scored(engine: Engine, answer: str | list[int]) -> np.ndarray:
    score = engine.score(QUESTION, answer, preference=BANK)
    return np.array(score.preferences) - np.array(score.plain)


def test_the_means_are_those_of_the_scores(scripted: Engine) -> None:
    (found,) = scripted.log_ratios(QUESTION, ANSWER, bank=BANK, finished=False)
    ratios = scored(scripted, ANSWER)
    np.testing.assert_allclose(found.means, ratios.mean(axis=1), atol=1e-5)
    assert found.n_tokens == ratios.shape[1]


def test_weights_say_nothing_here(scripted: Engine) -> None:
    plain = scripted.log_ratios(QUESTION, ANSWER, bank=["formal"])
    assert scripted.log_ratios(QUESTION, ANSWER, bank=["formal:-0.5"]) == plain


def test_the_end_counts_where_the_answer_is_finished(scripted: Engine) -> None:
    """All tokens that end an answer together, whichever it is."""
    (finished,) = scripted.log_ratios(QUESTION, ANSWER, bank=BANK)
    ids = scripted.model.vocabulary.tokenize(ANSWER, add_special=False, parse_special=False)
    assert finished.n_tokens == len(ids) + 1
    ratios = scored(scripted, [*ids, END])  # the other token that ends has no chance there
    np.testing.assert_allclose(finished.means, ratios.mean(axis=1), atol=1e-3)
    assert scripted.log_ratios(QUESTION, [*ids, END], bank=BANK, finished=False) == (finished,)


def test_only_the_first_tokens_count_if_so_many_are_wanted(scripted: Engine) -> None:
    (found,) = scripted.log_ratios(QUESTION, ANSWER, bank=BANK, max_tokens=3)
    np.testing.assert_allclose(found.means, scored(scripted, ANSWER)[:, :3].mean(axis=1), atol=1e-5)


def few_words(vocabulary: ScriptedVocabulary) -> Rule:
    """Of 100 tokens, more than are taken one by one, any may come, and no other."""
    rule = chained(vocabulary)

    def few(tokens: Sequence[int]) -> np.ndarray:
        logits = rule(tokens)
        logits[:-100] = -1000.0
        return logits

    return few


def test_what_is_expected_is_the_mean_over_the_plain_prompts_tokens() -> None:
    engine = scripted_engine(few_words)
    n_vocab = engine.model.vocabulary.n_tokens
    scores = [
        engine.score(QUESTION, [token], preference=BANK) for token in range(n_vocab - 100, n_vocab)
    ]
    plain = np.array([score.plain[0] for score in scores])
    ratios = np.array([[row[0] for row in score.preferences] for score in scores]) - plain[:, None]
    assert np.exp(plain).sum() == pytest.approx(1.0, abs=1e-4)
    (found,) = engine.log_ratios(QUESTION, [n_vocab - 1], bank=BANK, finished=False)
    exact = np.exp(plain) @ ratios
    assert (exact < 0).all()
    np.testing.assert_allclose(found.expected, exact, rtol=0.05)  # the last 36 are lumped


def test_what_is_in_memory_stays_there(tiny_engine: Engine) -> None:
    tiny_engine.generate(QUESTION, preference="formal", sampling=SamplingParams(max_tokens=4))
    rows = tiny_engine._shared.rows
    before = (rows.n_tokens, rows.n_made, rows.n_decoded)
    tiny_engine.log_ratios(QUESTION, ANSWER, bank=BANK)
    assert (rows.n_tokens, rows.n_made, rows.n_decoded) == before


def test_several_tokens_at_once_are_near_one_by_one(tiny_engine: Engine) -> None:
    answer = " ".join([ANSWER] * 8)  # more than are computed at once
    (found,) = tiny_engine.log_ratios(QUESTION, answer, bank=BANK, finished=False)
    np.testing.assert_allclose(found.means, scored(tiny_engine, answer).mean(axis=1), atol=0.02)


def test_several_answers_are_what_each_is_alone(scripted: Engine, tiny_engine: Engine) -> None:
    answers = (ANSWER, "bread", ANSWER)
    together = scripted.log_ratios(QUESTION, *answers, bank=BANK, finished=[True, False, False])
    for answer, whole, found in zip(answers, (True, False, False), together, strict=True):
        assert scripted.log_ratios(QUESTION, answer, bank=BANK, finished=whole) == (found,)
    alone = [tiny_engine.log_ratios(QUESTION, text, bank=BANK)[0].means for text in answers]
    both = [found.means for found in tiny_engine.log_ratios(QUESTION, *answers, bank=BANK)]
    np.testing.assert_allclose(both, alone, atol=0.02)


def test_what_cant_be_compared_is_an_error(scripted: Engine) -> None:
    for nothing in ((), ("",), (ANSWER, "")):
        with pytest.raises(EmptyPromptError):
            scripted.log_ratios(QUESTION, *nothing)
    with pytest.raises(PromptTooLongError, match="question and answer have"):
        scripted.log_ratios(QUESTION, ANSWER * 400)
