"""Whether a sweep's answers follow their preference, by a check of the user's or the bank's rule.

An answer counts if it follows and isn't broken; one of which it can't be told, because it was cut
off, doesn't. Knows nothing about models or about how answers are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amulet_local.common.errors import InvalidParameterError
from amulet_local.evaluation.adherence.answer import AnswerText
from amulet_local.evaluation.adherence.bank import ruled_preference
from amulet_local.evaluation.adherence.checks import parse_check
from amulet_local.evaluation.adherence.published import Check
from amulet_local.preferences.preference import Preference

_TRIAL = "Bread needs yeast, water, flour and time. Leave the dough in a warm place until it rises."


@dataclass(frozen=True, kw_only=True)
class PreferenceCheck:
    """How it is told whether an answer follows a preference.

    Attributes:
        check: the check.
        name: the check in a few words.
    """

    check: Check
    name: str

    def follows(self, question: str, text: str, *, cut: bool) -> bool | None:
        """Whether an answer follows; None where it can't be told.

        Raises:
            InvalidParameterError: the user's own function failed.
        """
        return self.check(AnswerText(question, text, cut))


@dataclass(frozen=True, kw_only=True)
class CheckedAnswer:
    """An answer and what its check says, if it has one.

    Attributes:
        question: what was asked.
        preference: its label.
        text: the answer.
        follows: whether it follows its preference; None where that can't be told or wasn't asked.
        is_broken: whether it broke.
    """

    question: str
    preference: str
    text: str
    follows: bool | None
    is_broken: bool


@dataclass(frozen=True, kw_only=True)
class Following:
    """How many of some answers follow.

    Attributes:
        n_sound: answers that follow and aren't broken.
        n_unknown: answers of which it can't be told whether they follow.
        n_answers: all.
    """

    n_sound: int
    n_unknown: int
    n_answers: int

    @property
    def share(self) -> float:
        """n_sound / n_answers."""
        return self.n_sound / self.n_answers


def following(answers: Sequence[CheckedAnswer]) -> Following:
    """How many of these follow."""
    return Following(
        n_sound=sum(item.follows is True and not item.is_broken for item in answers),
        n_unknown=sum(item.follows is None for item in answers),
        n_answers=len(answers),
    )


def checks_of(
    preferences: Sequence[Preference], given: str | None
) -> Mapping[str, PreferenceCheck]:
    """The check of each preference, by its label; nothing unless all have one.

    Args:
        given: the user's own, as `parse_check` takes it; None for the rules of those that the bank
            knows.

    Raises:
        InvalidParameterError: there are several preferences for one check, or it is none.
        FileAccessError: its file can't be read.
        MissingExtraError: a rule needs a package of the extra `eval`.
    """
    if given is not None:
        if len(preferences) != 1:
            raise InvalidParameterError(
                f"--check is for one preference, and there are {len(preferences)}; give the one "
                f"that it checks with --preference"
            )
        return {preferences[0].label: PreferenceCheck(check=parse_check(given), name=given)}
    found = {}
    for preference in preferences:
        rule = ruled_preference(preference.text)
        if rule is None:
            return {}
        rule.check(AnswerText("What does bread need?", _TRIAL))
        found[preference.label] = PreferenceCheck(check=rule.check, name=rule.rule)
    return found
