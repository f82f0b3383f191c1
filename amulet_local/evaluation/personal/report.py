"""The tables of the study of profiles. Knows nothing about how answers are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amulet_local.evaluation import statistics
from amulet_local.evaluation.personal.users import (
    BANK,
    AnswerScale,
    K,
    MeasuredAnswer,
    PairChoice,
    SimulatedUser,
    agreement,
    best_name,
    learned,
)
from amulet_local.evaluation.statistics import Estimate, Values

N_USERS = 100
"""Who pick between answers that are there: they cost no model."""

ONE_WISH = ("creative", "verbose", "concise", "uplifting")
"""What users want in T-POP's study (arXiv 2509.24696): one of these each."""

LEARNED = "learned mix"
KNOWN = "mix of the true weights"
"""What no learning can do better than, as far as weights are followed alike."""
SINGLE = "best single preference"
PLAIN = "plain"


@dataclass(frozen=True, kw_only=True)
class AnswersOf:
    """Answers that were made for a user, to one question, by what they were made with."""

    user: SimulatedUser
    question: str
    answers: Mapping[str, MeasuredAnswer]


def learning_table(
    picked_from: Sequence[MeasuredAnswer],
    held_out: Sequence[MeasuredAnswer],
    scale: AnswerScale,
    n_picks: int,
) -> str:
    """How many pairs of held-out answers are judged as users would, as Markdown."""
    users = [SimulatedUser.drawn(seed) for seed in range(N_USERS)]
    others = [SimulatedUser.drawn(seed, taste=1) for seed in range(N_USERS)]

    def after(
        n: int = n_picks,
        *,
        noise: float = 0.0,
        chosen_by: PairChoice = "telling",
        of: Sequence[SimulatedUser] = users,
    ) -> Values:
        def judged(user: SimulatedUser) -> float:
            taste = learned(user, picked_from, scale, n, noise=noise, chosen_by=chosen_by)
            return agreement(taste.weights.mean, user, held_out, scale)

        return _of_all(of, judged)

    one_wish = [SimulatedUser.with_one_wish(name) for name in ONE_WISH]

    changed = [
        agreement(
            learned(user, picked_from, scale, 2 * n_picks, later=later).weights.mean,
            later,
            held_out,
            scale,
        )
        for user, later in zip(users, others, strict=True)
    ]
    rows: list[tuple[str, Values]] = [
        ("the best single preference, known beforehand", _of_all(users, _single(held_out, scale))),
        (f"learned from {n_picks} picks", after()),
        (f"the same from {n_picks // 2}", after(n_picks // 2)),
        ("the same with pairs at random", after(chosen_by="random")),
        ("the same with pairs of a dueling bandit", after(chosen_by="duel")),
        ("the same, every fifth pick wrong", after(noise=0.2)),
        (f"{n_picks} picks of one taste, then {n_picks} of another", np.array(changed)),
        ("the best single preference for that one", _of_all(others, _single(held_out, scale))),
        (f"one wish of {', '.join(ONE_WISH)}", after(of=one_wish)),
        ("the same with pairs of a dueling bandit", after(of=one_wish, chosen_by="duel")),
    ]
    lines = [f"{N_USERS} users | pairs judged as they would", "---|---"]
    lines += [f"{name} | {_with_interval(statistics.mean(values))}" for name, values in rows]
    return "\n".join(f"| {line} |" for line in lines)


def worth_tables(
    found: Sequence[AnswersOf],
    picked_from: Sequence[MeasuredAnswer],
    held_out: Sequence[MeasuredAnswer],
    scale: AnswerScale,
) -> str:
    """What held-out answers are worth to those whom they were made for, as Markdown.

    Worth is above that of the plain answer, in usual differences. The interval is over users: their
    questions are averaged first.
    """
    there = {(item.question, item.maker): item for item in held_out}
    for_users: dict[int, list[dict[str, MeasuredAnswer]]] = {}
    users: dict[int, SimulatedUser] = {}
    for item in found:
        if not item.answers:
            continue
        user = users.setdefault(item.user.seed, item.user)
        single = there[item.question, best_name(user, picked_from, scale)]
        plain = there[item.question, PLAIN]
        answers = {PLAIN: plain, SINGLE: single, **item.answers}
        for_users.setdefault(user.seed, []).append(answers)
    if not for_users:
        return "No answers were made for users."

    def worths(name: str, by: Callable[[SimulatedUser, MeasuredAnswer], float]) -> Values:
        return np.array(
            [
                np.mean([by(users[s], a[name]) - by(users[s], a[PLAIN]) for a in for_users[s]])
                for s in for_users
            ]
        )

    ways: tuple[Callable[[SimulatedUser, MeasuredAnswer], float], ...] = (
        lambda user, item: user.worth(item, scale),
        lambda user, item: user.counted_worth(item, scale),
    )
    first = next(iter(for_users.values()))[0]
    names = [name for name in first if name != PLAIN]
    lines = [
        f"{len(users)} users, {len(next(iter(for_users.values())))} questions each "
        f"| worth by the rows | {LEARNED} less this | worth by what is counted "
        f"| {LEARNED} less this",
        "---|---|---|---|---",
    ]
    for name in names:
        cells = []
        for by in ways:
            own = worths(name, by)
            less = statistics.difference(worths(LEARNED, by), own)
            cells += [
                _with_interval(statistics.mean(own)),
                "" if name == LEARNED else _with_interval(less),
            ]
        lines.append(" | ".join([name, *cells]))
    if KNOWN in names:
        by_rows, by_count = (
            _with_interval(statistics.difference(worths(KNOWN, by), worths(SINGLE, by)))
            for by in ways
        )
        lines.append(f"{KNOWN}, less the {SINGLE} | {by_rows} | | {by_count} | ")
    return "\n".join(f"| {line} |" for line in lines)


def _of_all(users: Sequence[SimulatedUser], of: Callable[[SimulatedUser], float]) -> Values:
    return np.array([of(user) for user in users])


def _single(
    answers: Sequence[MeasuredAnswer], scale: AnswerScale
) -> Callable[[SimulatedUser], float]:
    """How many pairs one preference, or its opposite, judges as a user would: the best of them."""

    def best(user: SimulatedUser) -> float:
        return max(
            agreement(sign * np.eye(K)[k], user, answers, scale)
            for k in range(len(BANK))
            for sign in (1, -1)
        )

    return best


def _with_interval(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
