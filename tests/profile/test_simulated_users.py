"""What is learned of users with known weights over eight preferences, as means over many of them.

Every number is drawn from fixed seeds, so the means are the same in every run.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from amulet_local.profile.pair_choice import choose_rival
from amulet_local.profile.posterior import Floats
from amulet_local.profile.taste import Taste
from tests.profile.simulated import agreement, best_single, picked, some_taste

pytestmark = pytest.mark.lengthy

N_PICKS = 20


def users(n: int) -> list[tuple[Floats, Floats, int]]:
    """Two tastes of each user, and a seed."""
    found = []
    for seed in range(n):
        rng = np.random.default_rng([seed, 1])
        found.append((some_taste(rng), some_taste(rng), seed))
    return found


def learned(
    seed: int, n: int, *tastes: Floats, noise: float = 0.0, is_random: bool = False
) -> float:
    """Agreement with the last taste after `n` picks with each of them."""
    rng = np.random.default_rng([seed, 2])
    taste = picked(
        n * len(tastes),
        lambda number: tastes[number // n],
        rng,
        noise=noise,
        is_random=is_random,
    )
    return agreement(taste.weights.mean, tastes[-1], np.random.default_rng([seed, 3]))


@cache
def tastes_after_twenty(n_users: int) -> list[tuple[Taste, Floats, int]]:
    """What is known of each user's first taste, that taste, and their seed."""
    found = []
    for first, _, seed in users(n_users):
        rng = np.random.default_rng([seed, 2])
        found.append((picked(N_PICKS, lambda _, first=first: first, rng), first, seed))
    return found


def after_twenty(n_users: int) -> float:
    return float(
        np.mean(
            [
                agreement(taste.weights.mean, wanted, np.random.default_rng([seed, 3]))
                for taste, wanted, seed in tastes_after_twenty(n_users)
            ]
        )
    )


def single(n_users: int, *, second: bool = False) -> float:
    return float(
        np.mean(
            [
                best_single(other if second else first, np.random.default_rng([seed, 3]))
                for first, other, seed in users(n_users)
            ]
        )
    )


@pytest.mark.parametrize("n_users", [12, pytest.param(100, marks=pytest.mark.slow)])
class TestUsers:
    def test_after_twenty_picks_the_mix_beats_the_best_single_preference(
        self, n_users: int
    ) -> None:
        assert after_twenty(n_users) > single(n_users) + 0.03

    def test_answers_that_follow_it_gain_more_than_those_of_the_best_single_preference(
        self, n_users: int
    ) -> None:
        """Where answers lie where their mix points, a single one in full gains its weight."""
        gains = [taste.followed @ wanted for taste, wanted, _ in tastes_after_twenty(n_users)]
        singles = [np.abs(wanted).max() for _, wanted, _ in tastes_after_twenty(n_users)]
        assert np.mean(gains) > np.mean(singles) + 0.03

    def test_a_fifth_of_wrong_picks_makes_some_two_and_a_half_times_the_errors(
        self, n_users: int
    ) -> None:
        """2.4 to 2.5 times the errors, by the processor; no more, two errors aside."""
        right = [learned(seed, N_PICKS, first, noise=0.2) for first, _, seed in users(n_users)]
        standard_error = np.std(right, ddof=1) / np.sqrt(n_users)
        assert 1 - np.mean(right) - 2 * standard_error <= 2.5 * (1 - after_twenty(n_users))

    def test_a_taste_that_changed_is_found_again_within_twenty_picks(self, n_users: int) -> None:
        changed = np.mean(
            [learned(seed, N_PICKS, first, second) for first, second, seed in users(n_users)]
        )
        assert changed >= single(n_users, second=True)

    def test_pairs_that_are_chosen_tell_more_than_pairs_at_random(self, n_users: int) -> None:
        random = np.mean(
            [learned(seed, N_PICKS, first, is_random=True) for first, _, seed in users(n_users)]
        )
        assert after_twenty(n_users) > random


def test_a_pick_is_asked_for_while_it_would_tell_much() -> None:
    """At first, and not of a taste that forty picks have told."""
    wanted = users(1)[0][0]
    rng = np.random.default_rng(5)
    taste = picked(40, lambda _: wanted, rng)

    def is_asked_for(n_picks: int) -> bool:
        then = replace(taste, feedback=taste.feedback[:n_picks])
        return choose_rival(then, "model", np.random.default_rng(6)).is_worth_asking

    assert is_asked_for(0)
    assert is_asked_for(5)
    assert not is_asked_for(40)
