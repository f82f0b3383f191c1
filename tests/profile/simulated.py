"""Users whose weights are known, and who pick between answers that are numbers alone.

An answer that a mix makes lies where the mix points, with an answer's own chance around it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.pair_choice import REACH, choose_rival
from amulet_local.profile.posterior import Floats
from amulet_local.profile.taste import USUAL_NATS, Taste, differences

BANK = resolve(list(BUILT_IN_PREFERENCES))
K = len(BANK)
NOW = 1_800_000_000.0
N_HELD_OUT = 400


def weights_of(mix: tuple[Preference, ...]) -> Floats:
    """A mix as weights of the bank."""
    found = {item.text: item.weight for item in mix}
    return np.array([found.get(item.text, 0.0) for item in BANK])


def some_taste(rng: np.random.Generator) -> Floats:
    """Two to four preferences matter."""
    weights = np.zeros(K)
    which = rng.choice(K, size=rng.integers(2, 5), replace=False)
    weights[which] = rng.normal(size=len(which))
    return np.asarray(weights / np.linalg.norm(weights))


def answer(weights: Floats, rng: np.random.Generator) -> Floats:
    """Mean log p_k - log p_0 of an answer that these weights make."""
    return USUAL_NATS * (REACH * weights + rng.normal(size=K) / np.sqrt(K))


def picked(
    n: int,
    wanted: Callable[[int], Floats],
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    is_random: bool = False,
) -> Taste:
    """What a profile knows after `n` picks.

    Args:
        wanted: the user's weights at a pick, from 0.
        noise: share of the picks that are the wrong way round.
        is_random: the other answer follows any mix at all.
    """
    said: list[Feedback] = []
    for number in range(n):
        taste = Taste(bank=BANK, feedback=tuple(said), at=NOW)
        rival = weights_of(choose_rival(taste, "model", rng).preferences)
        if is_random:
            rival = rng.normal(size=K)
            rival /= np.linalg.norm(rival)
        ours, other = answer(weights_of(taste.mix), rng), answer(rival, rng)
        is_ours = (ours - other) @ wanted(number) > 0
        if rng.random() < noise:
            is_ours = not is_ours
        better, worse = (ours, other) if is_ours else (other, ours)
        found = differences(BANK, list(better), list(worse))
        said.append(Feedback(at=NOW, kind="pick", origin="test", differences=found))
    return Taste(bank=BANK, feedback=tuple(said), at=NOW)


def agreement(weights: Floats, wanted: Floats, rng: np.random.Generator) -> float:
    """The share of held-out pairs in which weights pick what the user would."""
    pairs = rng.normal(size=(N_HELD_OUT, K))
    return float(np.mean(np.sign(pairs @ weights) == np.sign(pairs @ wanted)))


def best_single(wanted: Floats, rng: np.random.Generator) -> float:
    """The same of the one preference, or its opposite, that does best."""
    pairs = rng.normal(size=(N_HELD_OUT, K))
    own = np.sign(pairs @ wanted)
    return max(
        float(np.mean(np.sign(sign * pairs[:, k]) == own)) for k in range(K) for sign in (1, -1)
    )
