"""Which strength is recommended."""

from __future__ import annotations

import math

import pytest

from amulet_local.evaluation.quality import Means
from amulet_local.evaluation.recommendation import (
    Recommendation,
    highest_share,
    n_broken,
    recommend,
)


def item(margin: float, fluency: float, broken: int = 0, answers: int = 24) -> Means:
    share = broken / answers
    return Means(
        answers=answers,
        margin=margin,
        fluency=fluency,
        loops=share,
        falls_apart=0,
        recites=0,
        stops_short=0,
        broken=share,
        tokens=60,
    )


def choose(figures: dict[str, Means], **more: float) -> Recommendation:
    return recommend(figures, reference="prompt", paper="paper", **more)


def test_the_most_margin_within_both_limits_is_chosen() -> None:
    figures = {
        "prompt": item(0.0, -0.7),
        "a": item(0.1, -0.9),
        "b": item(0.2, -1.0),
        "not fluent": item(0.3, -1.2),
        "breaks": item(0.4, -1.0, broken=1),
        "paper": item(0.5, -1.5, broken=9),
    }
    chosen = choose(figures)
    assert chosen.name == "b"
    assert chosen.least_fluency == pytest.approx((-0.7 - 1.5) / 2)
    assert (chosen.n_broken, chosen.most_broken, chosen.n_answers) == (0, 0, 24)


def test_the_paper_is_a_reference_and_never_chosen() -> None:
    figures = {"prompt": item(0.0, -0.7), "paper": item(0.5, -0.6)}
    assert choose(figures).name == "prompt"


def test_a_paper_that_loses_nothing_sets_no_limit_above_the_prompt() -> None:
    figures = {"prompt": item(0.0, -0.7), "a": item(0.1, -0.7), "paper": item(0.5, -0.6)}
    assert choose(figures).least_fluency == -0.7
    assert choose(figures).name == "a"


@pytest.mark.parametrize(
    ("answers", "share", "most"),
    [(49, 0.02, 0), (50, 0.02, 1), (99, 0.02, 1), (100, 0.02, 2), (10, 0.1, 1), (24, 0.0, 0)],
)
def test_the_share_is_rounded_down_to_whole_answers(answers: int, share: float, most: int) -> None:
    def figures(broken: int) -> dict[str, Means]:
        return {
            "prompt": item(0.0, -0.7, 0, answers),
            "a": item(0.1, -0.7, broken, answers),
            "paper": item(0.5, -1.5, 0, answers),
        }

    assert choose(figures(most), max_broken=share).name == "a"
    assert choose(figures(most + 1), max_broken=share).name == "prompt"
    assert choose(figures(0), max_broken=share).most_broken == most


def test_what_breaks_at_the_prompt_already_is_not_held_against_a_strength() -> None:
    figures = {
        "prompt": item(0.0, -0.7, broken=2),
        "a": item(0.1, -0.8, broken=2),
        "b": item(0.2, -0.8, broken=3),
        "paper": item(0.5, -1.5, broken=9),
    }
    assert choose(figures).name == "a"
    assert choose(figures).most_broken == 2


def test_the_prompt_is_what_is_left() -> None:
    figures = {
        "prompt": item(0.0, -0.7),
        "a": item(0.1, -0.9, broken=1),
        "paper": item(0.5, -1.5),
    }
    assert choose(figures).name == "prompt"


@pytest.mark.parametrize("n", [1, 12, 24, 5000])
def test_none_of_n_allows_for_a_share_of_about_three_over_n(n: int) -> None:
    assert highest_share(0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)


@pytest.mark.parametrize(("k", "n"), [(1, 10), (3, 24), (23, 24), (40, 5000)])
def test_at_the_highest_share_so_few_have_a_probability_of_five_percent(k: int, n: int) -> None:
    p = highest_share(k, n)
    log_p, log_q = math.log(p), math.log1p(-p)
    probability = sum(
        math.exp(math.log(math.comb(n, j)) + j * log_p + (n - j) * log_q) for j in range(k + 1)
    )
    assert probability == pytest.approx(0.05, rel=1e-6)
    assert p > k / n


def test_all_of_n_allow_for_every_share() -> None:
    assert highest_share(5, 5) == 1.0


def test_shares_are_counts_again() -> None:
    assert [n_broken(item(0, 0, k, 24)) for k in range(25)] == list(range(25))
