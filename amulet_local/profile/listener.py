"""Takes what a user says of answers: measures the answers, keeps it, and says what it changed.

Knows nothing about terminals or HTTP, nor how answers are measured: it is given a function that
does it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amulet_local.common.results import LogRatios
from amulet_local.preferences.preference import Preference
from amulet_local.profile.candidates import Ask, proposed
from amulet_local.profile.feedback import Example, Feedback
from amulet_local.profile.in_words import changed
from amulet_local.profile.profile import Profile
from amulet_local.profile.taste import Taste, differences

MEASURED_TOKENS = 32
"""Of an answer, from its beginning: what measuring costs is in proportion."""

NO_QUESTION = "Write a text."
"""What a text answers that answers nothing."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer.

    Attributes:
        text: of it.
        token_ids: its tokens, where they are known; better than the text, which may be cut into
            others.
        finished: whether it ends there.
    """

    text: str
    token_ids: Sequence[int] = ()
    finished: bool = True


Measure = Callable[[str, Sequence[Said], Sequence[Preference]], Sequence[LogRatios]]
"""Measures answers to a question: `Engine.log_ratios` of their first MEASURED_TOKENS tokens."""


def measuring(log_ratios: Callable[..., Sequence[LogRatios]]) -> Measure:
    """What measures with a model's `Engine.log_ratios`."""

    def measure(
        question: str, answers: Sequence[Said], bank: Sequence[Preference]
    ) -> Sequence[LogRatios]:
        return log_ratios(
            question,
            *(said.token_ids or said.text for said in answers),
            bank=list(bank),
            finished=[said.finished for said in answers],
            max_tokens=MEASURED_TOKENS,
        )

    return measure


def last_question(messages: object) -> str:
    """The text of the user's last message, or of a question; empty where there is none."""
    if isinstance(messages, str):
        return messages
    for message in reversed(messages if isinstance(messages, Sequence) else ()):
        content = message.get("content") if isinstance(message, Mapping) else None
        if not content or message.get("role") != "user":
            continue
        parts = content if isinstance(content, list) else [{"text": content}]
        texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
        joined = "\n".join(text for text in texts if isinstance(text, str))
        if joined:
            return joined
    return ""


class Listener:
    """Learns from what one user says, with one model.

    Every method returns what has changed, in words, once the feedback is safely kept.

    Attributes:
        profile: what learns.
        model: the name of the model's file.
    """

    def __init__(self, profile: Profile, measure: Measure, *, model: str, origin: str) -> None:
        """Take note.

        Args:
            origin: where the feedback comes from, for the profile's history.
        """
        self.profile, self.model = profile, model
        self._measure, self._origin = measure, origin

    def taste(self) -> Taste:
        """What is known of the user now.

        Raises:
            ProfileError: the profile can't be read.
        """
        return self.profile.taste()

    def picked(
        self,
        question: str,
        better: Said,
        worse: Said,
        *,
        strengths: tuple[float, float] | None = None,
        kind: str = "pick",
    ) -> str:
        """The user prefers one of two answers to the other.

        Args:
            strengths: of both as factors of the usual one, where they differ in it alone.
            kind: "fix" where the better one is what the user made of the other.

        Raises:
            ProfileError: it can't be kept.
            As `Engine.log_ratios`; nothing is kept then.
        """
        bank = self.profile.contents().bank
        found = {}
        if strengths is None:
            ours, other = self._measure(question, (better, worse), bank)
            found = dict(differences(bank, ours.means, other.means))
        return self._keep(
            kind,
            question,
            better=better.text,
            worse=worse.text,
            differences=found,
            strengths=strengths or (),
        )

    def rated(self, question: str, answer: Said, *, good: bool) -> str:
        """The user likes an answer, or doesn't.

        Raises:
            As `picked`.
        """
        return self._alone("good" if good else "bad", question, answer)

    def liked(self, question: str, text: str) -> str:
        """The user gives a text that they like, which is kept as an example as well.

        Args:
            question: what it answers; empty for nothing.

        Raises:
            As `picked`.
        """
        said = self._alone("like", question or NO_QUESTION, Said(text=text))
        self.profile.add(Example(at=time.time(), origin=self._origin, question=question, text=text))
        return said

    def guess(self, ask: Ask, question: str, before: str, after: str) -> Preference | None:
        """Let the model guess what a change shows of the user; later picks say whether it is so.

        Args:
            ask: asks the model.
            before, after: the answer to the question, and what the user made of it.

        Returns:
            The preference that has joined the profile's; None where there is none.

        Raises:
            As `picked`.
        """

        def speaks_for(preference: Preference) -> float:
            said = Said(text=after), Said(text=before)
            ours, other = self._measure(question, said, [preference])
            return ours.means[0] - other.means[0]

        found = proposed(ask, speaks_for, before, after, self.profile.contents().bank)
        if found is not None:
            self.profile.add_preference(found)
        return found

    def _alone(self, kind: str, question: str, answer: Said) -> str:
        """One answer against what the plain prompt's would have on average."""
        bank = self.profile.contents().bank
        (measured,) = self._measure(question, (answer,), bank)
        sides = [(answer.text, measured.means), ("", measured.expected)]
        (better, ours), (worse, other) = reversed(sides) if kind == "bad" else sides
        return self._keep(
            kind,
            question,
            better=better,
            worse=worse,
            differences=dict(differences(bank, ours, other)),
        )

    def _keep(self, kind: str, question: str, **fields: Any) -> str:
        """Write one piece of feedback; what it changed."""
        self.profile.add(
            Feedback(
                at=time.time(),
                kind=kind,
                origin=self._origin,
                model=self.model,
                question=question,
                **fields,
            )
        )
        return changed(self.profile.taste())
