"""How strongly what was learned is followed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from amulet_local.preferences.preference import resolve
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.taste import MOST_PREFERENCES, Taste, strongest

BANK = resolve(["formal", "concise", "creative", "pleasant"])
NOW = 1_800_000_000.0


def taste(*picks: dict[int, float]) -> Taste:
    """After picks of answers that differ by so many nats a token in these preferences."""
    said = [
        Feedback(
            at=NOW,
            kind="pick",
            origin="test",
            differences={item.text: pick.get(k, 0.0) for k, item in enumerate(BANK)},
        )
        for pick in picks
    ]
    return Taste(bank=BANK, feedback=tuple(said), at=NOW)


def length(taste: Taste) -> float:
    return float(np.linalg.norm([item.weight for item in taste.mix]))


def test_a_mix_grows_to_the_strength_of_one_preference() -> None:
    lengths = [length(taste(*[{0: 0.3, 1: -0.2}] * n)) for n in (1, 5, 20, 80)]
    assert lengths == sorted(lengths)
    assert lengths[0] < 0.5
    assert lengths[2:] == pytest.approx([1, 1], abs=0.01)
    assert [item.name for item in taste(*[{0: 0.3, 1: -0.2}] * 80).mix] == ["formal", "concise"]


def test_equal_wishes_are_followed_by_what_answers_differ_in_them() -> None:
    """Of two wishes that are as sure, the one that moves every token less needs more strength."""
    picks = [{0: 0.8}, {1: 0.2}] * 20
    strengths = {item.name: item.weight for item in taste(*picks).mix}
    known = taste(*picks)
    assert known.weights.mean[0] == pytest.approx(known.weights.mean[1], rel=0.2)
    assert strengths["concise"] > 2 * strengths["formal"] > 0


def test_a_mix_has_the_strongest_of_its_weights() -> None:
    kept = strongest(np.array([0.1, -0.9, 0.5, 0.4]), MOST_PREFERENCES, 0.5)
    assert kept[0] == 0
    assert np.linalg.norm(kept) == pytest.approx(0.5)
    assert list(np.sign(kept)) == [0, -1, 1, 1]
    assert not strongest(np.zeros(4), MOST_PREFERENCES).any()


def test_nothing_is_followed_where_nothing_is_known() -> None:
    assert taste().mix == ()


def test_what_was_said_long_ago_counts_less_than_what_is_said_now() -> None:
    """Without any change that is looked for: fewer picks than that takes."""
    days = 86_400.0
    formal, concise = taste({0: 0.3}).feedback[0], taste({1: 0.3}).feedback[0]

    def weights(days_ago: float, *, before: int = 0) -> list[float]:
        between = taste(*[{2: 0.3}] * before).feedback
        old = replace(formal, at=NOW - days_ago * days)
        found = Taste(bank=BANK, feedback=(old, *between, concise), at=NOW)
        return list(found.weights.mean[:2])

    fresh, year, later = weights(0), weights(360), weights(0, before=5)
    assert fresh[0] == pytest.approx(fresh[1], rel=0.03)
    assert 0 < year[0] < 0.5 * year[1]
    assert 0 < later[0] < 0.95 * later[1]
