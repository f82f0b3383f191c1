"""The tables of the adherence study."""

from __future__ import annotations

from typing import Any

from amulet_local.evaluation.adherence.report import table, with_topics
from amulet_local.evaluation.scorers.registry import scorer_named


def entry(method: str, question: str = "Why?", **values: Any) -> dict[str, Any]:
    return {
        "method": method,
        "placement": "user",
        "preference": "own",
        "wording": "in rhyme",
        "question": question,
        "max_tokens": 64,
        "sampling": "{}",
        "seed": 1,
        "examples": 0,
        "text": "Because.",
        "follows": True,
        "loops": False,
        "falls_apart": False,
        "recites": False,
        "opens": False,
        "kl": 0.1,
        "n_tokens": 10,
        "topic": 0.5,
        **values,
    }


def cells_of(entries: list[dict[str, Any]]) -> list[list[str]]:
    rows = table(entries, ["own"]).splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_a_table_counts_what_can_be_told_and_what_stays_whole() -> None:
    of_a, of_b = cells_of(
        [
            entry("a", "1"),
            entry("a", "2", follows=False, topic=0.1),
            entry("a", "3", loops=True, recites=True, kl=0.3, topic=None),
            entry("a", "4", follows=None),
            entry("b", "1"),
            entry("b", preference="another"),
        ]
    )
    assert of_a[:2] == ["`a`", "user"]
    assert of_a[2].startswith("0.67 [")
    assert of_a[3].startswith("0.33 [")
    assert of_a[4:] == ["", "25.0%", "25.0%", "0.0%", "0.367", "0.15", "10", "4"]
    assert of_b[-1] == "1"


def test_answers_with_examples_are_a_row_of_their_own() -> None:
    alone, shown = cells_of([entry("a", follows=False), entry("a", examples=1)])
    assert (alone[0], shown[0]) == ("`a`", "`a`, examples")
    assert shown[4].startswith("+1.00 [")


def test_drawn_answers_are_rows_of_their_own_and_draws_of_one_prompt_one_answer() -> None:
    drawn = {"sampling": '{"temperature": 0.7, "top_k": 20}'}
    rows = cells_of(
        [
            entry("a", follows=False),
            entry("b"),
            entry("a", "1", **drawn, seed=1),
            entry("a", "1", **drawn, seed=2),
            entry("a", "2", **drawn, follows=False),
            entry("b", "1", **drawn, seed=1, follows=False),
            entry("b", "1", **drawn, seed=2),
            entry("b", "2", **drawn),
        ]
    )
    names = ["`a`", "`b`", "`a`, temperature 0.7, top_k 20", "`b`, temperature 0.7, top_k 20"]
    assert [row[0] for row in rows] == names
    assert [row[4] == "" for row in rows] == [True, False, True, False]
    assert rows[2][2].startswith("0.50 [")
    assert rows[3][2].startswith("0.75 [")
    assert rows[3][4].startswith("+0.25 [")
    assert rows[3][4].endswith("of 2")


def test_an_answer_that_recites_is_not_whole() -> None:
    (row,) = cells_of([entry("a", "1", recites=True), entry("a", "2")])
    assert row[2].startswith("1.00 [")
    assert row[3].startswith("0.50 [")


def test_a_gain_is_of_the_same_prompts_that_both_can_be_judged_on() -> None:
    first = [entry("a", str(n), follows=n > 0) for n in range(4)]
    second = [entry("b", str(n), follows=None if n == 3 else n != 1) for n in range(5)]
    _, row = cells_of([*first, *second])
    assert row[4].startswith("+0.00 [")
    assert row[4].endswith("of 3")
    _, row = cells_of([entry("a", "1", follows=None), entry("b", "1")])
    assert row[4] == "-"


def test_an_answer_about_the_question_is_nearer_its_topic() -> None:
    question = "How do I sleep better?"
    about, off = with_topics(
        [
            entry("a", question, text="Go to bed at the same hour, in a dark and quiet room."),
            entry("a", question, text="The parliament of Norway has 169 members."),
        ],
        scorer_named("similarity"),
    )
    assert about["topic"] > off["topic"] + 0.2


def test_the_plain_answer_has_no_divergence_from_a_preference_prompt() -> None:
    _, plain = cells_of([entry("pref"), entry("base", kl=None)])
    assert plain[-3] == "-"
