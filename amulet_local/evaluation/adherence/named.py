"""What the built-in preferences change in an answer, by what can be counted in its text.

`concise` and `verbose` by words, `complex` by Flesch and Kincaid's grade, `uplifting` and
`pleasant` by VADER's sentiment, `formal` by contractions: each against the plain answer to the
same question, with an interval over the questions. `creative` and `sycophantic` have no such count.
Knows nothing about how answers are made or kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from amulet_local.evaluation import statistics
from amulet_local.evaluation.adherence.preference import RuledPreference, ruled
from amulet_local.evaluation.adherence.rules import CONTRACTION
from amulet_local.evaluation.adherence.task import Task
from amulet_local.evaluation.experiment.contestants import Contestant, contestant
from amulet_local.evaluation.questions import QUESTIONS
from amulet_local.evaluation.scorers.base import AnsweredQuestion
from amulet_local.evaluation.scorers.registry import scorer_named
from amulet_local.evaluation.scorers.surface import words_of
from amulet_local.evaluation.statistics import Values
from amulet_local.preferences.names import BUILT_IN_PREFERENCES
from amulet_local.steering.presets import placement_of

NAMED_QUESTIONS = (
    *QUESTIONS,
    "What's the best way to learn a new language?",
    "I'm nervous about my job interview tomorrow. What can I do?",
    "Why do cats purr?",
    "How does a refrigerator keep food cold?",
    "My kids don't like vegetables. What should I cook?",
    "What is inflation?",
    "I can't decide between a dog and a cat. What do you think?",
    "How do I start running if I've never done it?",
)
"""Twenty; some are put as people talk, so that plain answers have contractions to lose."""

NAMED_LOG = "named.jsonl"
"""The file in a study's folder that has these answers."""

PLAIN = "plain"
"""What the log calls the preference of an answer that has none."""

Entry = dict[str, Any]
Texts = Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a named preference is to change.

    Attributes:
        name: the preference.
        what: what is measured, for tables.
        goal: what is asked of the change, for tables.
        is_ratio: the change is a ratio of means; otherwise it is a difference.
        measure: the figure of each text; None where it has none.
    """

    name: str
    what: str
    goal: str
    is_ratio: bool = False
    measure: Callable[[Texts], list[float | None]]

    def change(self, answers: Values, plain: Values) -> str:
        """The change of these figures, with its interval."""
        if self.is_ratio:
            found = statistics.ratio(answers, plain)
            return f"{found.value:.2f} times [{found.low:.2f}, {found.high:.2f}]"
        found = statistics.difference(answers, plain)
        return f"{found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def contractions_per_100_words(text: str) -> float | None:
    """English contractions in a hundred words; None without words."""
    n_words = len(words_of(text))
    return 100.0 * len(CONTRACTION.findall(text)) / n_words if n_words else None


def _scored(name: str) -> Callable[[Texts], list[float | None]]:
    def measure(texts: Texts) -> list[float | None]:
        return scorer_named(name).scores([AnsweredQuestion(question="", text=x) for x in texts])

    return measure


EFFECTS = (
    Effect(
        name="concise", what="words", goal="at most 0.6", is_ratio=True, measure=_scored("words")
    ),
    Effect(
        name="verbose", what="words", goal="at least 1.3", is_ratio=True, measure=_scored("words")
    ),
    Effect(name="complex", what="reading grade", goal="more", measure=_scored("reading-grade")),
    Effect(name="uplifting", what="sentiment", goal="more", measure=_scored("sentiment")),
    Effect(name="pleasant", what="sentiment", goal="more", measure=_scored("sentiment")),
    Effect(
        name="formal",
        what="contractions in 100 words",
        goal="fewer",
        measure=lambda texts: [contractions_per_100_words(text) for text in texts],
    ),
)
"""Those that something can be counted of."""


def named_tasks(
    methods: Sequence[Contestant], questions: Sequence[str], *, max_tokens: int
) -> Iterator[Task]:
    """The plain answer to each question, and the answers under each name and method."""

    def task(method: Contestant, preference: RuledPreference, question: str) -> Task:
        return Task(
            contestant=method,
            placement=placement_of(None),
            preference=preference,
            wording=preference.wordings[0],
            question=question,
            max_tokens=max_tokens,
        )

    base = contestant("base")
    for question in questions:
        yield task(base, _unchecked(PLAIN, PLAIN), question)
        for effect in EFFECTS:
            preference = _unchecked(effect.name, BUILT_IN_PREFERENCES[effect.name])
            for method in methods:
                yield task(method, preference, question)


def _unchecked(name: str, wording: str) -> RuledPreference:
    return ruled(name, "register", "", lambda answer: None, wording)


def named_table(entries: Sequence[Entry]) -> str:
    """What each method does under each name, as Markdown.

    Only questions count whose plain answer is there, where neither answer is broken and both can be
    measured. Of lengths, only those whose plain answer ended by itself: an answer that is cut off
    at the limit is at least so long.
    """
    plain = {item["question"]: item for item in entries if item["preference"] == PLAIN}
    groups: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["preference"] != PLAIN and entry["question"] in plain:
            groups[entry["preference"], entry["method"]].append(entry)
    lines = [
        "| preference | method | measured | plain | with it | change | asked for | n "
        "| cut off: plain, with it | broken: plain, with it |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for effect in EFFECTS:
        for (name, method), group in groups.items():
            if name == effect.name:
                others = [plain[entry["question"]] for entry in group]
                cells = _cells(effect, group, others)
                lines.append(f"| `{name}` | `{method}` | {effect.what} | {cells}")
    return "\n".join(lines)


def _cells(effect: Effect, group: Sequence[Entry], others: Sequence[Entry]) -> str:
    counted = [
        (ours, theirs)
        for ours, theirs in zip(group, others, strict=True)
        if not (_broken(ours) or _broken(theirs) or (effect.is_ratio and _cut(theirs)))
    ]
    measured = (effect.measure([pair[side]["text"] for pair in counted]) for side in (0, 1))
    pairs = [pair for pair in zip(*measured, strict=True) if None not in pair]
    figures = "- | - | -"
    if pairs:
        ours, theirs = np.array(pairs, dtype=np.float64).T
        figures = f"{theirs.mean():.2f} | {ours.mean():.2f} | {effect.change(ours, theirs)}"
    n_cut, n_plain_cut = (sum(map(_cut, side)) for side in (group, others))
    n_broken, n_plain_broken = (sum(map(_broken, side)) for side in (group, others))
    return (
        f"{figures} | {effect.goal} | {len(pairs)} of {len(group)} | {n_plain_cut}, {n_cut} "
        f"| {n_plain_broken}, {n_broken} |"
    )


def _cut(entry: Entry) -> bool:
    return bool(entry["finish_reason"] == "length")


def _broken(entry: Entry) -> bool:
    return bool(entry["loops"] or entry["falls_apart"])
