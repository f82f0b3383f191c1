"""What guessing next tokens brings: answers that repeat their prompt, and one that doesn't.

A model of real weights is needed: what repeats is what it says. Knows nothing about tables but its
own, nor about how guesses are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from amulet_local.benchmark.crew import Progress, Spec, fit_together, take_turns
from amulet_local.benchmark.settings import N_CTX, Settings
from amulet_local.engine import Engine
from amulet_local.params.runtime import RuntimeParams
from amulet_local.params.sampling import SamplingParams

PREFERENCE = "formal"
N_TOKENS, N_QUICK_TOKENS = 160, 48
"""Most tokens of an answer."""

_FUNCTION = '''\
def read_config(path):
    """Read a configuration file and return its values as a dictionary."""
    values = {}
    with open(path) as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            key, _, value = line.partition("=")
            values[key.strip()] = value.strip()
    return values
'''
_LETTER = (
    "Dear Mrs Alvarez, thank you for your order of 14 March. The two oak shelves left our workshop "
    "in Leeds on Tuesday and will reach you by Friday afternoon. The third shelf, which you asked "
    "us to shorten to ninety centimetres, follows next week, because the varnish has to dry for "
    "five days. If nobody is at home, the driver leaves the parcel with your neighbour, Mr Okafor. "
    "The invoice of 284 pounds is due on 30 April. With kind regards, Jonas Brandt"
)
TASKS = {
    "code": "Add type annotations to this function and show all of it:\n\n```python\n"
    f"{_FUNCTION}```",
    "editing": "Write this letter again in full, with the name Jonas Brandt replaced by Ida "
    f"Lund:\n\n{_LETTER}",
    "extraction": "List, word for word, every sentence of this letter that has a date or a day "
    f"in it:\n\n{_LETTER}",
    "prose": "Tell a short story about a lighthouse keeper who finds a message in a bottle.",
}
"""What is asked, by name; the last one doesn't repeat anything."""

PLAIN, ALONE, GUESSED = "plain", "realigned", "realigned, with drafts"


class DraftSubject:
    """A loaded engine that does the tasks; lives in a child process.

    Attributes:
        facts: none.
    """

    def __init__(self, model: str, *, preference: str | None, runtime: dict[str, Any]) -> None:
        self._engine = Engine(model, RuntimeParams(**runtime))
        self._preference = preference
        self.facts: dict[str, Any] = {}
        self.answer("code", 40)  # measures the schedule, and what several tokens cost

    def answer(self, task: str, n_tokens: int) -> list[float]:
        """Tokens a second, and how many tokens were computed for each one of the answer."""
        self._engine.forget()
        made = self._engine.generate(
            TASKS[task],
            preference=self._preference,
            sampling=SamplingParams(max_tokens=n_tokens),
        )
        usage = made.usage
        n_rows = 1 if self._preference is None else 2
        computed = usage.computed_tokens / n_rows / max(1, usage.completion_tokens)
        return [made.timings.tokens_per_second or 0.0, computed]


@dataclass(frozen=True, kw_only=True)
class DraftTimes:
    """Medians of one task, in tokens a second.

    Attributes:
        task: its name.
        plain, alone, guessed: without a preference, with one, with one and guesses.
    """

    task: str
    plain: float
    alone: float
    guessed: float


def measure_drafts(settings: Settings, progress: Progress) -> list[DraftTimes]:
    """Time the tasks, in turns.

    Raises:
        AmuletError: a process failed. None is left.
    """
    n_tokens = N_QUICK_TOKENS if settings.quick else N_TOKENS
    specs: dict[str, Spec] = {
        name: {
            "kind": "drafts",
            "model": str(settings.model),
            "preference": preference,
            "runtime": {
                **settings.runtime.model_dump(mode="json", exclude_unset=True, warnings=False),
                "n_ctx": N_CTX,
                "draft": draft,
            },
        }
        for name, preference, draft in (
            (PLAIN, None, "off"),
            (ALONE, PREFERENCE, "off"),
            (GUESSED, PREFERENCE, "auto"),
        )
    }
    commands = [{"do": "answer", "task": task, "n_tokens": n_tokens} for task in TASKS]
    together = not settings.one_at_a_time and fit_together(
        len(specs), settings.model.stat().st_size
    )
    results, _ = take_turns(
        specs, commands, rounds=settings.rounds, together=together, progress=progress
    )
    return [
        DraftTimes(
            task=task,
            **{
                field: median(turn[place][0] for turn in results[name])
                for field, name in (("plain", PLAIN), ("alone", ALONE), ("guessed", GUESSED))
            },
        )
        for place, task in enumerate(TASKS)
    ]


def draft_table(rows: Sequence[DraftTimes]) -> str:
    """The figures as a table for the terminal."""
    lines = [
        "Tokens a second, medians; ratios: realigned with drafts over plain, over realigned",
        "",
        f"{'task':12} {PLAIN:>8} {ALONE:>10} {GUESSED:>23} {'/ plain':>8} {'/ realigned':>12}",
    ]
    lines += [
        f"{row.task:12} {row.plain:>8.1f} {row.alone:>10.1f} {row.guessed:>23.1f} "
        f"{row.guessed / row.plain:>8.2f} {row.guessed / row.alone:>12.2f}"
        for row in rows
    ]
    return "\n".join(lines)
