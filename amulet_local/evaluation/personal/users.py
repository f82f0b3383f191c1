"""Users with known weights who pick between measured answers, and what is learned of them.

Knows nothing about models: an answer is its question, its text and one figure for each of the
eight preferences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from amulet_local.evaluation.adherence.named import EFFECTS
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.preferences.preference import Preference, resolve
from amulet_local.preferences.wording import MANNER_FRAME
from amulet_local.profile.feedback import Feedback
from amulet_local.profile.posterior import Floats, information
from amulet_local.profile.taste import Taste, differences, usual

PairChoice = Literal["telling", "random", "duel"]
"""How two answers are chosen of those there are: by what a pick between them would tell, at random,
or as a dueling bandit does (T-POP, arXiv 2509.24696): the best one by what is known, beside the one
that may well be better."""

BANK = resolve(list(BUILT_IN_PREFERENCES))
K = len(BANK)
NOW = 1_800_000_000.0
FEWER = ("concise", "formal")
"""Of what is counted, those of which less is what the preference asks for."""


@dataclass(frozen=True, kw_only=True)
class MeasuredAnswer:
    """An answer.

    Attributes:
        question: what it answers.
        maker: what it was made with.
        text: of it.
        means: of log p_k - log p_0 over its tokens, for each preference of BANK.
    """

    question: str
    maker: str
    text: str
    means: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class AnswerScale:
    """How far answers of a model differ, so that a weight means as much for each preference.

    Attributes:
        rows: the usual difference in each preference, in nats a token; shape (K,).
        rules: the usual difference of what is counted, for each of EFFECTS.
    """

    rows: Floats
    rules: Floats

    @classmethod
    def of(cls, answers: Sequence[MeasuredAnswer]) -> AnswerScale:
        """That of these answers."""
        return cls(
            rows=usual(np.array([_difference(a, b) for a, b in pairs(answers)])),
            rules=np.maximum(np.array([counted(item.text) for item in answers]).std(axis=0), 1e-9),
        )


@dataclass(frozen=True, kw_only=True)
class SimulatedUser:
    """Who picks.

    Attributes:
        seed: of their weights and of what is drawn in their picks.
        weights: of BANK, of length 1; two to four of them aren't 0.
    """

    seed: int
    weights: Floats

    @classmethod
    def drawn(cls, seed: int, *, taste: int = 0) -> SimulatedUser:
        """The user of this seed.

        Args:
            taste: 1 for what they want after they changed their mind.
        """
        rng = np.random.default_rng([seed, taste])
        weights = np.zeros(K)
        which = rng.choice(K, size=rng.integers(2, 5), replace=False)
        weights[which] = rng.normal(size=len(which))
        return cls(seed=seed, weights=np.asarray(weights / np.linalg.norm(weights)))

    @classmethod
    def with_one_wish(cls, name: str) -> SimulatedUser:
        """The user who wants one of BANK and nothing else."""
        k = [item.label for item in BANK].index(name)
        return cls(seed=k, weights=np.eye(K)[k])

    def worth(self, answer: MeasuredAnswer, scale: AnswerScale) -> float:
        """What an answer is worth to them, by the rows."""
        return float(np.array(answer.means) / scale.rows @ self.weights)

    def counted_worth(self, answer: MeasuredAnswer, scale: AnswerScale) -> float:
        """The same by what can be counted of the text, without the rows."""
        names = [item.label for item in BANK]
        weights = [
            (-1 if effect.name in FEWER else 1) * self.weights[names.index(effect.name)]
            for effect in EFFECTS
        ]
        return float(np.array(counted(answer.text)) / scale.rules @ np.array(weights))

    def in_words(self) -> Preference:
        """What they would write if they knew what they want."""
        wanted = [BANK[k].text for k in np.argsort(-self.weights) if self.weights[k] > 0]
        unwanted = [BANK[k].text for k in np.argsort(self.weights) if self.weights[k] < 0]
        text = "; ".join(wanted + [f"not {text}" for text in unwanted])
        return Preference(text=f"{MANNER_FRAME} {text}.", name="hand-written", prompt="{text}")


def counted(text: str) -> list[float]:
    """What is counted of a text, for each of EFFECTS; 0 where there is nothing to count."""
    return [effect.measure([text])[0] or 0.0 for effect in EFFECTS]


def pairs(answers: Sequence[MeasuredAnswer]) -> list[tuple[MeasuredAnswer, MeasuredAnswer]]:
    """All pairs of different answers to the same question."""
    return [
        (a, b) for a, b in combinations(answers, 2) if a.question == b.question and a.text != b.text
    ]


def learned(
    user: SimulatedUser,
    answers: Sequence[MeasuredAnswer],
    scale: AnswerScale,
    n_picks: int,
    *,
    later: SimulatedUser | None = None,
    noise: float = 0.0,
    chosen_by: PairChoice = "telling",
) -> Taste:
    """What a profile knows after so many picks, the questions taken in turn.

    Args:
        later: who they have become in the second half of the picks.
        noise: share of the picks that are the wrong way round.
        chosen_by: how the pairs are chosen.
    """
    rng = np.random.default_rng([user.seed, 7])
    questions = list(dict.fromkeys(item.question for item in answers))
    of = {text: pairs([x for x in answers if x.question == text]) for text in questions}
    taste = Taste(bank=BANK, feedback=(), at=NOW)
    for number in range(n_picks):
        candidates = of[questions[number % len(questions)]]
        if chosen_by == "random":
            shown = candidates[rng.integers(len(candidates))]
        else:
            key = _telling(taste) if chosen_by == "telling" else _duel(taste)
            shown = max(candidates, key=key)
        who = later if later is not None and number >= n_picks // 2 else user
        better, worse = sorted(shown, key=lambda item: who.worth(item, scale), reverse=True)
        if rng.random() < noise:
            better, worse = worse, better
        said = Feedback(
            at=NOW,
            kind="pick",
            origin="study",
            question=better.question,
            better=better.text,
            worse=worse.text,
            differences=dict(differences(BANK, better.means, worse.means)),
        )
        taste = Taste(bank=BANK, feedback=(*taste.feedback, said), at=NOW)
    return taste


def agreement(
    weights: Floats, user: SimulatedUser, answers: Sequence[MeasuredAnswer], scale: AnswerScale
) -> float:
    """The share of all pairs of these answers that the weights judge as the user would."""
    x = np.array([_difference(a, b) for a, b in pairs(answers)]) / scale.rows
    return float(np.mean(np.sign(x @ weights) == np.sign(x @ user.weights)))


def best_name(user: SimulatedUser, answers: Sequence[MeasuredAnswer], scale: AnswerScale) -> str:
    """The one of the eight whose answers are worth most to a user."""

    def mean_worth(name: str) -> float:
        return float(np.mean([user.worth(x, scale) for x in answers if x.maker == name]))

    return max((item.label for item in BANK), key=mean_worth)


def _telling(taste: Taste) -> Callable[[tuple[MeasuredAnswer, MeasuredAnswer]], float]:
    """What a pick between two answers would tell, by what is known so far."""
    spread = _spread(taste)
    return lambda pair: information(taste.weights, _difference(*pair) / spread)


def _duel(taste: Taste) -> Callable[[tuple[MeasuredAnswer, MeasuredAnswer]], tuple[float, float]]:
    """Largest for the best answer so far and the one with the largest upper confidence bound.

    The bound of an answer is what it is worth beyond the best one, and one standard deviation of
    that.
    """
    spread, weights = _spread(taste), taste.weights

    def worth(pair: tuple[MeasuredAnswer, MeasuredAnswer]) -> tuple[float, float]:
        values = [float(np.array(item.means) / spread @ weights.mean) for item in pair]
        x = _difference(*pair) / spread
        return max(values), min(values) - max(values) + float(np.sqrt(x @ weights.covariance @ x))

    return worth


def _spread(taste: Taste) -> Floats:
    """The usual difference in each preference, by what was seen so far."""
    seen = [[item.differences[p.text] for p in BANK] for item in taste.told]
    return usual(np.array(seen).reshape(len(seen), K))


def _difference(a: MeasuredAnswer, b: MeasuredAnswer) -> Floats:
    return np.asarray(np.array(a.means) - np.array(b.means))
