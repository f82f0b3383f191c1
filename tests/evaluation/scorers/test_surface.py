"""Counting scorers by hand-made cases; scorers by name."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_local import errors
from amulet_local.evaluation.scorers import (
    DEFAULT_SCORERS,
    FAMILIES,
    SCORERS,
    AnsweredQuestion,
    expand,
    scorer_named,
    scorers_named,
)
from amulet_local.evaluation.scorers.language import formality_of


def score(name: str, text: str = "", **fields: object) -> float | None:
    answer = AnsweredQuestion(question="Why?", text=text, **fields)  # type: ignore[arg-type]
    with scorer_named(name) as scorer:
        return scorer.scores([answer])[0]


def test_figures_of_the_run_pass_through() -> None:
    assert score("margin", margin=0.25, fluency=-1.5) == 0.25
    assert score("fluency", margin=0.25, fluency=-1.5) == -1.5
    assert score("margin") is None


def test_lengths_are_counted() -> None:
    assert score("tokens", token_ids=(4, 5, 6)) == 3
    assert score("words", "Don't re-read it - it's 3.5 m\u00fcde \u4e2d\u6587!") == 8
    assert score("words", "*** \u2014 ...") == 0


def test_repetition_is_the_share_of_runs_that_stood_before() -> None:
    assert score("repetition", token_ids=tuple(range(50))) == 0
    assert score("repetition", token_ids=(1,) * 53) == pytest.approx(49 / 50)
    assert score("repetition", token_ids=(1, 2, 3, 4, 9, 1, 2, 3, 4)) == pytest.approx(1 / 6)
    assert score("repetition", token_ids=(1, 2, 3)) is None


def test_distinct_runs_are_counted_in_words_whatever_their_case() -> None:
    text = "The cat, the CAT, the dog."
    assert score("distinct-1", text) == pytest.approx(3 / 6)
    assert score("distinct-2", text) == pytest.approx(3 / 5)  # the cat, cat the, the dog
    assert score("distinct-3", text) == pytest.approx(3 / 4)
    assert score("distinct-3", "two words") is None


def test_each_sign_alone_makes_an_answer_broken() -> None:
    whole = {"text": "It rains.", "token_ids": tuple(range(40))}
    assert score("broken", **whole) == 0  # type: ignore[arg-type]
    assert score("broken", "It rains. " * 9, token_ids=(1, 2, 3) * 20) == 1
    assert score("broken", "It rains and", token_ids=(1, 2, 3)) == 1
    assert score("broken", "It rains and", token_ids=(1, 2, 3), finish_reason="length") == 0
    assert score("broken", falls_apart=True, **whole) == 1  # type: ignore[arg-type]
    assert score("broken", recites=True, falls_apart=False, **whole) == 1  # type: ignore[arg-type]
    assert score("broken", "nothing is known of it") is None


def test_formality_is_heylighen_and_dewaeles_formula() -> None:
    tags = [("the", "DT"), ("old", "JJ"), ("man", "NN"), ("of", "IN"), ("it", "PRP")]
    tags += [("ran", "VBD"), ("fast", "RB"), ("wow", "UH"), ("!", "."), ("and", "CC")]
    # 9 words: 1 noun, 1 adjective, 1 preposition, 1 article; 1 pronoun, 1 verb, 1 adverb, 1 oh
    assert formality_of(tags) == pytest.approx((4 / 9 * 100 - 4 / 9 * 100 + 100) / 2)
    assert formality_of(tags[:4]) == 100
    assert formality_of(tags[4:8]) == 0
    assert formality_of([("!", ".")]) is None


@pytest.mark.lengthy
def test_formal_texts_are_more_formal_and_kind_ones_kinder() -> None:
    formal = "The committee of the ministry has submitted a final report on the state of the roads."
    casual = (
        "Hey, you know, I really think you should just go and see it yourself, so there you go!"
    )
    assert (score("formality", formal) or 0) > 60 > 45 > (score("formality", casual) or 100)
    assert (score("sentiment", "What a wonderful idea, I love it!") or 0) > 0.5
    assert (score("sentiment", "This is a horrible, stupid mess.") or 0) < -0.5
    assert score("sentiment", "The train leaves at nine.") == 0


@pytest.fixture(scope="module")
def text_scorers() -> list[object]:
    return list(scorers_named(["text"]))


@given(st.text(max_size=300))
def test_any_text_gets_finite_figures_or_none(text_scorers: list, text: str) -> None:  # type: ignore[type-arg]
    answer = AnsweredQuestion(
        question="", text=text, token_ids=tuple(text.encode("utf-8", "replace"))
    )
    for scorer in text_scorers:
        [figure] = scorer.scores([answer])
        assert figure is None or math.isfinite(figure)


def test_every_scorer_says_what_it_measures() -> None:
    for name, entry in SCORERS.items():
        assert entry.name == name
        assert " " not in name
        assert 10 < len(entry.summary) < 200
    with scorer_named("margin") as scorer:
        entry = SCORERS["margin"]
        assert (scorer.name, scorer.summary, scorer.better) == (
            entry.name,
            entry.summary,
            entry.better,
        )


def test_names_keep_their_order_and_families_are_expanded_once() -> None:
    names = ["distinct", "margin", "distinct-2", "length"]
    wanted = ("distinct-1", "distinct-2", "distinct-3", "margin", "tokens", "words")
    assert expand(names) == wanted
    assert tuple(scorer.name for scorer in scorers_named(names)) == wanted
    assert len(expand(["armorm", "armorm-all"])) == 1 + 1 + 19
    assert set(DEFAULT_SCORERS) <= set(SCORERS)


@pytest.mark.parametrize("name", ["margni", "", "a" * 500, "armorm-nothing", "\x1b[31m"])
def test_an_unknown_name_is_a_typed_error_on_one_line(name: str) -> None:
    with pytest.raises(errors.UnknownScorerError) as raised:
        scorers_named(["tokens", name])
    assert len(str(raised.value)) < 400
    assert str(raised.value).isprintable()


def test_a_near_name_is_suggested() -> None:
    with pytest.raises(errors.UnknownScorerError, match="did you mean margin"):
        scorer_named("margni")
    for family in FAMILIES:
        with pytest.raises(errors.UnknownScorerError, match="stands for several"):
            scorer_named(family)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(errors.InvalidParameterError):
        scorer_named("tokens", modle="x")


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """In a process that finds neither package."""
    for package in ("textblob", "vaderSentiment", "openai", "gguf"):
        (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    script = (
        "from amulet_local import errors\n"
        "from amulet_local.evaluation.scorers import scorer_named\n"
        "from amulet_local.evaluation.judges import JudgeOptions, open_judge\n"
        "far = JudgeOptions(model='m', base_url='http://127.0.0.1:1/v1')\n"
        "for make in (lambda: scorer_named('formality'), lambda: scorer_named('sentiment'),\n"
        "             lambda: open_judge(far)):\n"
        "    try:\n"
        "        make()\n"
        "    except errors.MissingExtraError as error:\n"
        "        print('amulet-local[eval]' in str(error))\n"
        "print(scorer_named('reading-ease').name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True", "True", "True", "reading-ease"], done.stderr
