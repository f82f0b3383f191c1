"""The scorer `follows`: whether an answer does what its preference says, by the bank's rule.

Knows nothing about preferences outside of the bank. It lies here and not among the other scorers
because the rules need some of these.
"""

from __future__ import annotations

from collections.abc import Sequence

from amulet_local.evaluation.adherence.bank import ruled_preference
from amulet_local.evaluation.adherence.language import require_library
from amulet_local.evaluation.scorers.base import AnsweredQuestion, Scorer
from amulet_local.evaluation.scorers.registry import ScorerEntry, ScorerOptions
from amulet_local.evaluation.scorers.surface import EachAlone


def follows(answer: AnsweredQuestion) -> float | None:
    """1 if it follows, 0 if not.

    None with no preference or several, with one that isn't in the bank, and where an answer was
    cut off before it could be told.
    """
    if len(answer.preferences) != 1:
        return None
    preference = ruled_preference(answer.preferences[0])
    if preference is None:
        return None
    found = preference.follows(answer.question, answer.text, cut=answer.finish_reason != "stop")
    return None if found is None else float(found)


def make(entries: Sequence[ScorerEntry], options: ScorerOptions) -> list[Scorer]:
    """The scorers of these entries.

    Raises:
        MissingExtraError: py3langid isn't installed.
    """
    require_library()
    return [EachAlone(entry, follows) for entry in entries]
