"""What a profile holds: a piece of feedback, an example, a fact, and that some were forgotten.

Knows nothing about the file that keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("pick", "fix", "good", "bad", "like")
"""Two answers side by side, an answer and what the user made of it, thumbs, a text of theirs."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """One thing that a user said about answers.

    Attributes:
        id: its number in the profile; 0 before it has one.
        at: when, in seconds since the epoch.
        kind: one of KINDS.
        origin: where it came from: "chat", "server".
        model: the name of the model's file.
        question: what was answered.
        better, worse: the answers; empty where there was only one.
        differences: of mean log p_k - log p_0 between them, by the texts of the preferences.
        strengths: of both, as factors of the default one, where they differ in it alone.
    """

    id: int = 0
    at: float
    kind: str
    origin: str
    model: str = ""
    question: str = ""
    better: str = ""
    worse: str = ""
    differences: Mapping[str, float] = field(default_factory=dict)
    strengths: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Example:
    """An answer that the user likes, as it is or as they wrote it."""

    id: int = 0
    at: float
    origin: str
    question: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something about the user that they asked to be remembered."""

    id: int = 0
    at: float
    origin: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Forgotten:
    """That entries were deleted: when, and how many of each kind; nothing of what they said."""

    at: float
    feedback: int = 0
    examples: int = 0
    facts: int = 0
