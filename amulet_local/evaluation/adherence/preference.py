"""What a preference with a rule is.

Knows nothing about which ones there are.
"""

from __future__ import annotations

from dataclasses import dataclass

from amulet_local.evaluation.adherence.answer import AnswerText
from amulet_local.evaluation.adherence.published import Check

GROUPS = (
    "language",
    "length",
    "format",
    "punctuation",
    "vocabulary",
    "register",
    "audience",
    "persona",
)
"""Kinds of preferences. "punctuation" has letter case and emojis in it, too."""


@dataclass(frozen=True, kw_only=True)
class RuledPreference:
    """A preference that a rule can check.

    Attributes:
        name: short, unique in the bank.
        group: one of GROUPS.
        wordings: free texts that mean it, two or more.
        rule: what is checked, in a few words.
        check: the rule.
        ifeval: IFEval's name of the instruction kind (arXiv 2311.07911) where it has one.
    """

    name: str
    group: str
    wordings: tuple[str, ...]
    rule: str
    check: Check
    ifeval: str = ""

    def follows(self, question: str, text: str, *, cut: bool = False) -> bool | None:
        """Whether an answer follows it.

        Args:
            question: what was asked.
            text: the answer.
            cut: it was cut off, at a limit of tokens for instance.

        Returns:
            None where an answer that was cut off can't tell.

        Raises:
            MissingExtraError: the rule needs a package of the extra `eval`.
        """
        return self.check(AnswerText(question, text, cut))


def ruled(
    name: str, group: str, rule: str, check: Check, *wordings: str, ifeval: str = ""
) -> RuledPreference:
    """A preference with these wordings."""
    return RuledPreference(
        name=name, group=group, wordings=wordings, rule=rule, check=check, ifeval=ifeval
    )
