"""What a run's scores say: estimates with intervals, and which differences are more than chance.

Knows nothing about how tables are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amulet_local.evaluation.experiment.results import Method, Results, better_of
from amulet_local.evaluation.statistics import (
    Estimate,
    Values,
    difference,
    effect_size,
    mean,
    win_rate,
)

MIN_QUESTIONS = 8
"""Fewer show nothing for sure: a bootstrap of a handful gives intervals that are too narrow."""

SHARES = ("broken", "judge-met")
"""Scores that are 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A method's figure.

    Attributes:
        estimate: the mean over questions; None without any value.
        best: whether it is better than every other method's, each difference's interval without 0.
    """

    estimate: Estimate | None
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Versus:
    """A method against another one, over the same questions.

    Attributes:
        difference: mean of first - second.
        effect: Cohen's d of the pairs; None where it has no spread.
        wins: share of the answers in which the first has the higher value, ties half.
    """

    difference: Estimate
    effect: Estimate | None
    wins: Estimate


@dataclass(frozen=True, kw_only=True)
class Match:
    """A guarded method and the unguarded one whose margin is nearest.

    Attributes:
        guarded, plain: the methods.
        versus: by scorer.
        margins: of both.
    """

    guarded: Method
    plain: Method
    versus: dict[str, Versus]
    margins: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class TablePart:
    """A part of the table.

    Attributes:
        wishes: the preferences in it.
        dataset: the questions in it; None for all.
    """

    wishes: tuple[str, ...]
    dataset: str | None = None


def reference_of(results: Results) -> Method:
    """What the others are compared with: the preference prompt, or the first method."""
    for name in ("pref", "base"):
        for method in results.methods:
            if method.method == name:
                return method
    return results.methods[0]


def methods_in(results: Results, part: TablePart) -> list[Method]:
    """The methods that have answers under every preference of a part."""
    return [
        method
        for method in results.methods
        if all(results.plays(method, wish) for wish in part.wishes)
    ]


def column(results: Results, scorer: str, part: TablePart) -> dict[str, Cell]:
    """A score of each method in a part, by the method's name."""
    methods = methods_in(results, part)
    by_question = {method.name: _by_question(results, scorer, method, part) for method in methods}
    best = _best(by_question, better_of(scorer))
    cells = {}
    for name, values in by_question.items():
        kept = values[~np.isnan(values)]
        share = 1.0 if scorer in SHARES else None
        estimate = mean(kept, share_of=share) if len(kept) else None
        cells[name] = Cell(estimate=estimate, best=name == best)
    return cells


def versus(
    results: Results, scorer: str, first: Method, second: Method, part: TablePart
) -> Versus | None:
    """Two methods over what both have; None where that is nothing."""
    one, other = (
        results.values(scorer, method, wishes=part.wishes, dataset=part.dataset)
        for method in (first, second)
    )
    both = ~(np.isnan(one) | np.isnan(other))
    if not both.any():
        return None
    one, other = np.where(both, one, np.nan), np.where(both, other, np.nan)
    a, b = _means(one), _means(other)
    kept = ~np.isnan(a)
    return Versus(
        difference=difference(a[kept], b[kept]),
        effect=effect_size(a[kept], b[kept]),
        wins=win_rate(one, other),
    )


def matches(results: Results, scorers: Sequence[str], part: TablePart) -> list[Match]:
    """Each guarded method with the unguarded one of the nearest margin, if it has any strength."""
    methods = methods_in(results, part)
    margins = {
        name: cell.estimate.value
        for name, cell in column(results, "margin", part).items()
        if cell.estimate is not None
    }
    plain = [
        method
        for method in methods
        if not method.is_guarded and method.scale > 1 and method.name in margins
    ]
    found = []
    for guarded in methods:
        if not (guarded.is_guarded and plain and guarded.name in margins):
            continue
        nearest = min(plain, key=lambda m: abs(margins[m.name] - margins[guarded.name]))
        by_scorer = {
            scorer: item
            for scorer in scorers
            if (item := versus(results, scorer, guarded, nearest, part)) is not None
        }
        both = (margins[guarded.name], margins[nearest.name])
        found.append(Match(guarded=guarded, plain=nearest, versus=by_scorer, margins=both))
    return found


def answers_to_read(results: Results, n: int) -> dict[str, list[dict[str, Any]]]:
    """The most changed and the worst answers, with the reference's beside each.

    Most changed: the highest margin over the reference's, one a question. Worst: broken ones, the
    least fluent first, one a question.
    """
    reference = reference_of(results)
    complete = set(results.questions)
    broken = results.scores.get("broken", {})
    rows = []
    for key, entry in results.answers.items():
        method = results.method_named(key.method)
        if (key.dataset, key.index) not in complete or method.method in ("base", reference.method):
            continue
        other = results.answers.get(_with_method(key, reference.name))
        if other is None or entry.get("margin") is None or other.get("margin") is None:
            continue
        rows.append(
            {
                "key": key,
                "answer": entry,
                "reference": other,
                "gain": entry["margin"] - other["margin"],
                "broken": bool(broken.get(key)),
            }
        )
    order = {method.name: n for n, method in enumerate(results.methods)}
    rows.sort(
        key=lambda row: (
            row["key"].dataset,
            row["key"].index,
            row["key"].wish,
            order[row["key"].method],
        )
    )
    whole = [row for row in rows if not row["broken"]]
    lost = [row for row in rows if row["broken"]]
    return {
        "changed": _one_a_question(sorted(whole, key=lambda row: -row["gain"]), n),
        "worst": _one_a_question(sorted(lost, key=lambda row: row["answer"]["fluency"]), n),
    }


def _one_a_question(rows: Sequence[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    chosen, seen = [], set()
    for row in rows:
        question = (row["key"].dataset, row["key"].index)
        if question not in seen:
            seen.add(question)
            chosen.append(row)
    return chosen[:n]


def _with_method(key: Any, name: str) -> Any:
    return type(key)(dataset=key.dataset, index=key.index, wish=key.wish, method=name)


def _by_question(results: Results, scorer: str, method: Method, part: TablePart) -> Values:
    return _means(results.values(scorer, method, wishes=part.wishes, dataset=part.dataset))


def _means(values: Values) -> Values:
    """Mean of each row over what isn't NaN; NaN for a row of nothing else."""
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    sums = np.where(there, values, 0.0).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _best(by_question: dict[str, Values], better: str) -> str | None:
    """The method that is better than every other one by an interval; None if there is none."""
    if better == "neither" or len(by_question) < 2:
        return None
    sign = 1.0 if better == "higher" else -1.0
    averages = {
        name: sign * float(values[~np.isnan(values)].mean())
        for name, values in by_question.items()
        if (~np.isnan(values)).any()
    }
    if len(averages) < 2:
        return None
    best = max(averages, key=lambda name: averages[name])
    for name in averages:
        if name != best:
            both = ~(np.isnan(by_question[best]) | np.isnan(by_question[name]))
            gap = sign * (by_question[best][both] - by_question[name][both])
            if len(gap) < MIN_QUESTIONS or not mean(gap).low > 0:
                return None
    return best
