"""Makes a judge out of its options, and columns of a table out of a judge."""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.common.errors import JudgeError
from amulet_local.evaluation.judges.judge import Judge
from amulet_local.evaluation.judges.options import JudgeOptions
from amulet_local.evaluation.judges.prompts import load_prompts
from amulet_local.evaluation.judges.verdicts import PreferenceRatings, preference_ratings
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer

MAX_FAILED = 5
"""Verdicts in a row that may fail."""


def open_judge(options: JudgeOptions) -> Judge:
    """A judge on this machine, or at an endpoint if `base_url` is set.

    Raises:
        FileAccessError, InvalidParameterError: its prompts or options can't be used.
        MissingExtraError: an optional dependency isn't installed.
        ModelError, BackendError: its model can't be used.
    """
    prompts = load_prompts(options.prompt_file)
    if options.base_url is not None:
        from amulet_local.evaluation.judges.endpoint import EndpointBackend

        return Judge(EndpointBackend(options), prompts)
    from amulet_local.evaluation.judges.local import LocalBackend

    return Judge(LocalBackend(options), prompts)


class JudgedScorer(Scorer):
    """A figure of the ratings of an answer by each of its criteria or preferences."""

    def __init__(self, name: str, summary: str, ratings: _Ratings) -> None:
        self.name, self.summary, self.better = name, summary, "higher"
        self.source = ratings.source
        self._ratings = ratings

    def scores(self, answers: Sequence[AnsweredQuestion]) -> list[float | None]:
        """The figure of each answer; None without a preference, or where the judge gave none."""
        return [self._figure(self._ratings.of(answer)) for answer in answers]

    def _figure(self, ratings: PreferenceRatings | None) -> float | None:
        if ratings is None:
            return None
        field = self.name.removeprefix("judge-")
        return float(getattr(ratings, "mean" if field == "rating" else field))


class _Ratings:
    """Asks the judge once for each answer, whichever figures are wanted."""

    def __init__(self, judge: Judge) -> None:
        self.source = judge.source
        self._judge = judge
        self._n_failed = 0
        self._known: dict[tuple[str, tuple[str, ...], str], PreferenceRatings | None] = {}

    def of(self, answer: AnsweredQuestion) -> PreferenceRatings | None:
        wanted = answer.criteria or answer.preferences
        key = (answer.question, wanted, answer.text)
        if key not in self._known:
            self._known[key] = self._ask(answer, wanted) if wanted else None
        return self._known[key]

    def _ask(self, answer: AnsweredQuestion, wanted: Sequence[str]) -> PreferenceRatings | None:
        try:
            ratings = [self._judge.rate(answer.question, text, answer.text) for text in wanted]
        except JudgeError:
            self._n_failed += 1
            if self._n_failed >= MAX_FAILED:
                raise
            return None
        self._n_failed = 0
        return preference_ratings(ratings)


def judge_scorers(judge: Judge) -> tuple[Scorer, ...]:
    """The judge's ratings as columns; the judge stays the caller's to close.

    A verdict that fails after all retries leaves None, and isn't asked for again; five in a row
    raise the JudgeError.
    """
    ratings = _Ratings(judge)
    columns = {
        "judge-rating": "the judge's rating of how well it follows its preferences, their mean "
        "(APS), 1 to 5",
        "judge-worst": "the judge's lowest rating among its preferences (Worst), 1 to 5",
        "judge-met": "1 if the judge rates each of its preferences 3 or better, else 0 (AMR)",
    }
    return tuple(JudgedScorer(name, summary, ratings) for name, summary in columns.items())
