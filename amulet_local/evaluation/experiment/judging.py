"""A judge's comparisons of each answer with the reference method's, stored like scores.

Knows nothing about how a judge decides.
"""

from __future__ import annotations

from dataclasses import asdict

from amulet_local.common.errors import JudgeError
from amulet_local.common.json_log import Log
from amulet_local.evaluation.experiment.plan import Response
from amulet_local.evaluation.experiment.results import SCORES, Results
from amulet_local.evaluation.experiment.tables import reference_of
from amulet_local.evaluation.judges import Judge

JUDGE = "judge-wins"
MAX_FAILURES = 5
"""Comparisons in a row that may fail before the judge is given up."""


def compare_all(results: Results, judge: Judge, source: str) -> None:
    """Compare every answer with the reference's; the score is the chance that it is better.

    Args:
        source: which judge it is: verdicts of another one don't count.

    Raises:
        JudgeError: the judge failed several times in a row.
        FileAccessError: a verdict can't be stored.
    """
    reference = reference_of(results).name
    results.scores.setdefault(JUDGE, {})
    failures = 0
    with Log(results.folder / SCORES) as log:
        for key, entry in results.answers.items():
            other_key = Response(**{**asdict(key), "method": reference})
            other = results.answers.get(other_key)
            if not results.lacks(key, JUDGE, source) or other is None or key.method == reference:
                continue
            value: float | None = None
            try:
                value = judge.compare(
                    entry["question"],
                    " ".join(results.instructions(key)),
                    entry["text"],
                    other["text"],
                ).probability
                failures = 0
            except JudgeError:
                failures += 1
                if failures == MAX_FAILURES:
                    raise
            log.append(results.keep(key, JUDGE, value, source))
