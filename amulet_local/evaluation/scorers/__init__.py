"""Scorers: a figure for each answer, and what it measures. Importing this imports no scorer."""

from amulet_local.evaluation.scorers.base import AnsweredQuestion, Better, Scorer
from amulet_local.evaluation.scorers.registry import (
    DEFAULT_SCORERS,
    FAMILIES,
    SCORERS,
    ScorerEntry,
    ScorerOptions,
    expand,
    scorer_named,
    scorers_named,
)

__all__ = [
    "DEFAULT_SCORERS",
    "FAMILIES",
    "SCORERS",
    "AnsweredQuestion",
    "Better",
    "Scorer",
    "ScorerEntry",
    "ScorerOptions",
    "expand",
    "scorer_named",
    "scorers_named",
]
