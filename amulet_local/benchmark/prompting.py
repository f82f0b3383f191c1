"""Time to the first token of prompts of exact lengths, without and with a preference.

Knows nothing about tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amulet_local.benchmark import ways
from amulet_local.benchmark.crew import Progress, fit_together, take_turns
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.settings import Settings
from amulet_local.benchmark.shapes import QUICK_SHAPES, SHAPES, Shape

MOST_ROUNDS = 5
"""A long prompt takes long, and its time varies little."""


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """Seconds to the first token of one shape, one way.

    Attributes:
        shape: the prompts.
        way: its name.
        seconds: of a question that nothing is in memory of.
        second: of another question after the same system text and history.
        ratio: the median of `seconds` over the plain way's.
    """

    shape: Shape
    way: str
    seconds: Sample
    second: Sample
    ratio: float

    @property
    def second_ratio(self) -> float:
        """The second question's time over the first's."""
        return self.second.median / self.seconds.median

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "shape": self.shape.as_json(),
            "n_plain_tokens": self.shape.n_plain,
            "way": self.way,
            "seconds": self.seconds.as_json(),
            "ratio": self.ratio,
            "second_question": self.second.as_json(),
            "second_ratio": self.second_ratio,
        }


def measure_prefill(
    settings: Settings, *, on_gpu: bool, progress: Progress
) -> tuple[FirstToken, ...]:
    """Time plain and one preference in turns: the schedules asked for, else the default one.

    Raises:
        AmuletError: a process failed.
    """
    schedules = settings.row_schedules(on_gpu=on_gpu)[: None if settings.schedules else 1]
    plain = ways.plain(settings, settings.n_threads)
    found = [plain, *(ways.amulet(settings, schedule, 1) for schedule in schedules)]
    shapes = QUICK_SHAPES if settings.quick else SHAPES
    results, _ = take_turns(
        {way.name: way.spec for way in found},
        [{"do": "first_tokens", "shape": shape.as_json()} for shape in shapes],
        rounds=min(settings.rounds, MOST_ROUNDS),
        together=not settings.one_at_a_time
        and (on_gpu or fit_together(len(found), settings.model.stat().st_size)),
        progress=lambda text: progress(f"prefill: {text}"),
    )
    rows = []
    for index, shape in enumerate(shapes):
        samples = {
            name: tuple(
                Sample(seconds=tuple(turn[index][question] for turn in turns))
                for question in range(2)
            )
            for name, turns in results.items()
        }
        base = samples[plain.name][0].median
        rows += [
            FirstToken(
                shape=shape, way=name, seconds=first, second=second, ratio=first.median / base
            )
            for name, (first, second) in samples.items()
        ]
    return tuple(rows)
