"""What the adherence study asks: which preference, under which method, of which question.

Knows nothing about how answers are made or kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from amulet_local.answering.ask import AskMessages
from amulet_local.evaluation.adherence.bank import RuledPreference
from amulet_local.evaluation.experiment.contestants import Contestant
from amulet_local.params.choices import Placement
from amulet_local.params.sampling import SamplingParams
from amulet_local.preferences.preference import Preference

SEED = 1
"""Of the halves, and of the first draw."""

FIELDS: dict[str, type | tuple[type, ...]] = {
    "method": str,
    "placement": str,
    "preference": str,
    "wording": str,
    "question": str,
    "max_tokens": int,
    "sampling": str,
    "seed": int,
    "examples": int,
}
"""What an answer is known by in a log, with the types of these values."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One answer to make.

    Attributes:
        contestant: the method and its strength.
        placement: where the preference goes.
        preference: what it is to follow, and the rule that checks it.
        wording: how it is said.
        question: what is asked.
        max_tokens: most tokens of the answer.
        sampling: how its tokens are drawn: fields of SamplingParams as JSON, keys in order.
        seed: of the draws.
        examples: questions and answers in the wished style that stand before the question, as far
            as there are any; None if there are to be none.
    """

    contestant: Contestant
    placement: Placement
    preference: RuledPreference
    wording: str
    question: str
    max_tokens: int
    sampling: str = "{}"
    seed: int = SEED
    examples: tuple[tuple[str, str], ...] | None = None

    @property
    def key(self) -> tuple[str | int, ...]:
        """What an answer is known by in the log: the values of FIELDS."""
        return (
            self.contestant.name,
            self.placement,
            self.preference.name,
            self.wording,
            self.question,
            self.max_tokens,
            self.sampling,
            self.seed,
            int(self.examples is not None),
        )

    @property
    def ask(self) -> AskMessages:
        """What the engine is asked, traced."""
        return {
            "messages": [
                *(
                    {"role": role, "content": text}
                    for example in self.examples or ()
                    for role, text in zip(("user", "assistant"), example, strict=True)
                ),
                {"role": "user", "content": self.question},
            ],
            "preference": Preference(text=self.wording),
            "method": self.contestant.runs_as,
            "amulet": self.contestant.amulet,
            "placement": self.placement,
            "sampling": SamplingParams(
                max_tokens=self.max_tokens, seed=self.seed, **json.loads(self.sampling)
            ),
            "trace": 0,
        }


def tasks(
    methods: Sequence[Contestant],
    placements: Sequence[Placement],
    preferences: Sequence[RuledPreference],
    questions: Sequence[str],
    *,
    per_preference: int,
    max_tokens: int,
    sampling: str = "{}",
    n_seeds: int = 1,
) -> Iterator[Task]:
    """Every answer; preferences take the questions and their wordings in turn."""
    for contestant, placement in product(methods, placements):
        for index, preference in enumerate(preferences):
            for n, seed in product(range(per_preference), range(n_seeds)):
                yield Task(
                    contestant=contestant,
                    placement=placement,
                    preference=preference,
                    wording=preference.wordings[(index + n) % len(preference.wordings)],
                    question=questions[(index + n) % len(questions)],
                    max_tokens=max_tokens,
                    sampling=sampling,
                    seed=SEED + seed,
                )
