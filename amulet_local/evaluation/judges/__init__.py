"""Judges: which of two answers follows a preference better, and how well one does.

Importing this loads no model and no HTTP client.
"""

from amulet_local.evaluation.judges.judge import Judge
from amulet_local.evaluation.judges.opening import judge_scorers, open_judge
from amulet_local.evaluation.judges.options import JudgeOptions
from amulet_local.evaluation.judges.verdicts import (
    Comparison,
    Outcome,
    PreferenceRatings,
    Rating,
    preference_ratings,
)

__all__ = [
    "Comparison",
    "Judge",
    "JudgeOptions",
    "Outcome",
    "PreferenceRatings",
    "Rating",
    "judge_scorers",
    "open_judge",
    "preference_ratings",
]
