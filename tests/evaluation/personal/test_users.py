"""Simulated users on measured answers: what they pick, what is learned of it, what tables say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amulet_local.evaluation.personal import study
from amulet_local.evaluation.personal.report import AnswersOf, learning_table, worth_tables
from amulet_local.evaluation.personal.speed import update_seconds
from amulet_local.evaluation.personal.users import (
    BANK,
    AnswerScale,
    K,
    MeasuredAnswer,
    SimulatedUser,
    agreement,
    best_name,
    learned,
)

pytestmark = pytest.mark.lengthy

NAMES = [study.PLAIN, *(item.label for item in BANK)]


def answers(questions: range) -> list[MeasuredAnswer]:
    """The plain answers and those under each preference, which move in its direction."""
    rng = np.random.default_rng(0)
    return [
        MeasuredAnswer(
            question=f"Question {q}?",
            maker=name,
            text=f"{name} answer to {q}, {'really ' * k}so.",
            means=tuple(0.2 * (k > 0) * np.eye(K)[k - 1] + 0.05 * rng.normal(size=K)),
        )
        for q in questions
        for k, name in enumerate(NAMES)
    ]


PICKED_FROM, HELD_OUT = answers(range(5)), answers(range(5, 10))
SCALE = AnswerScale.of(PICKED_FROM)


def test_a_user_wants_two_to_four_things_and_is_the_same_each_time() -> None:
    for seed in range(20):
        user = SimulatedUser.drawn(seed)
        assert 2 <= np.count_nonzero(user.weights) <= 4
        assert np.linalg.norm(user.weights) == pytest.approx(1)
        np.testing.assert_array_equal(user.weights, SimulatedUser.drawn(seed).weights)
        assert not np.array_equal(user.weights, SimulatedUser.drawn(seed, taste=1).weights)


def test_every_pick_is_the_answer_that_is_worth_more() -> None:
    user = SimulatedUser.drawn(1)
    worth = {item.text: user.worth(item, SCALE) for item in PICKED_FROM}
    said = learned(user, PICKED_FROM, SCALE, 12).feedback
    assert len(said) == 12
    assert all(worth[item.better] > worth[item.worse] for item in said)
    noisy = learned(user, PICKED_FROM, SCALE, 12, noise=1.0).feedback
    assert all(worth[item.better] < worth[item.worse] for item in noisy)


def test_what_is_learned_judges_other_answers_better_than_chance() -> None:
    shares = []
    for seed in range(8):
        user = SimulatedUser.drawn(seed)
        taste = learned(user, PICKED_FROM, SCALE, 20)
        shares.append(agreement(taste.weights.mean, user, HELD_OUT, SCALE))
        assert agreement(user.weights, user, HELD_OUT, SCALE) == 1
    assert np.mean(shares) > 0.7


def test_a_duel_has_the_best_answer_so_far_and_one_that_may_be_better() -> None:
    user = SimulatedUser.with_one_wish("creative")
    assert user.worth(answers(range(1))[0], SCALE) == user.weights @ (
        np.array(answers(range(1))[0].means) / SCALE.rows
    )
    taste = learned(user, PICKED_FROM, SCALE, 20, chosen_by="duel")
    later = taste.feedback[-5:]
    best = {
        question: max((x for x in PICKED_FROM if x.question == question), key=worth_to(user))
        for question in {item.question for item in later}
    }
    assert sum(item.better == best[item.question].text for item in later) >= 4
    at_random = learned(user, PICKED_FROM, SCALE, 20, chosen_by="random")
    assert [x.better for x in taste.feedback] != [x.better for x in at_random.feedback]


def worth_to(user: SimulatedUser) -> Callable[[MeasuredAnswer], float]:
    return lambda item: user.worth(item, SCALE)


def test_the_best_name_is_the_strongest_wish() -> None:
    user = SimulatedUser(seed=0, weights=np.eye(K)[3] + 0.1 * np.eye(K)[1])
    assert best_name(user, PICKED_FROM, SCALE) == BANK[3].label
    unlike = SimulatedUser(seed=0, weights=0.9 * np.eye(K)[4] - 0.4 * np.eye(K)[2])
    text = unlike.in_words().instruction
    assert text == f"Answer the question {BANK[4].text}; not {BANK[2].text}."


def test_the_table_of_worth_compares_each_with_the_learned_mix() -> None:
    found = []
    for seed in range(3):
        user = SimulatedUser.drawn(seed)
        for question in dict.fromkeys(item.question for item in HELD_OUT):
            there = [item for item in HELD_OUT if item.question == question]
            best = max(there, key=lambda item, user=user: user.worth(item, SCALE))
            answers = {"learned mix": best, "mix of the true weights": best}
            found.append(AnswersOf(user=user, question=question, answers=answers))
    lines = worth_tables(found, PICKED_FROM, HELD_OUT, SCALE).splitlines()
    assert lines[0].startswith("| 3 users, 5 questions each |")
    (single,) = (line for line in lines if line.startswith("| best single"))
    less = float(single.split(" | ")[2].split()[0])
    assert less >= 0, "no answer is worth more than the best of all"
    assert lines[-1].startswith("| mix of the true weights, less the best single preference | ")
    assert lines[-1].split(" | ")[1] == single.split(" | ")[2]


def test_a_mix_of_the_true_weights_is_made_beside_what_was_learned() -> None:
    user = SimulatedUser.drawn(3)
    taste = learned(user, PICKED_FROM, SCALE, 20)
    made = study.of_user(user, taste, "Why?")
    mix = made["mix of the true weights"].ask["preference"]
    wanted = np.argsort(-np.abs(user.weights))[: len(mix)]
    assert {item.text for item in mix} == {BANK[k].text for k in wanted}
    assert all(item.weight * user.weights[k] > 0 for item, k in zip(mix, wanted, strict=True))
    assert np.linalg.norm([item.weight for item in mix]) == pytest.approx(1, abs=0.02)
    assert made["learned mix"].ask["preference"] == list(taste.mix)


@pytest.mark.slow
def test_the_table_of_learning_has_every_case() -> None:
    lines = learning_table(PICKED_FROM, HELD_OUT, SCALE, 20).splitlines()
    assert len(lines) == 12
    shares = [float(line.split("|")[2].split()[0]) for line in lines[2:]]
    assert all(0.5 < share < 1 for share in shares)


def test_a_study_without_a_model_makes_nothing_and_one_line_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = study.StudyLog(None, tmp_path / "profile.jsonl", 8, 1)
    wanted = study.pool(["Why?"])
    assert [item.maker for item in wanted] == NAMES
    assert log.get(wanted) == []
    entry = {"question": "Why?", "maker": "plain", "text": "So.", "means": [0.0] * K}
    (tmp_path / "profile.jsonl").write_text(
        "".join(json.dumps({**entry, "max_tokens": n}) + "\n" for n in (8, 9))
    )
    (found,) = log.get(wanted)
    assert (found.maker, found.text) == ("plain", "So.")
    with pytest.raises(SystemExit):
        study.main([])
    assert "--out" in capsys.readouterr().err


def test_an_update_is_timed() -> None:
    times = update_seconds(20, n_times=3)
    assert len(times) == 3
    assert 0 < times[0] <= times[-1]
