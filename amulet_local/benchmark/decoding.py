"""Seconds per token of every way, and what of a step isn't llama_decode.

Knows nothing about tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from amulet_local.benchmark import ways
from amulet_local.benchmark.crew import Progress, fit_together, take_turns
from amulet_local.benchmark.measure import Sample
from amulet_local.benchmark.settings import SAMPLINGS, Settings


@dataclass(frozen=True, kw_only=True)
class TimedWay:
    """A way and its speed.

    Attributes:
        way: what was timed.
        seconds: per token.
        facts: what its process says about itself.
        ratio: its tokens per second over those of the fastest plain way.
    """

    way: ways.Way
    seconds: Sample
    facts: dict[str, Any]
    ratio: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second, at the median."""
        return 1 / self.seconds.median


@dataclass(frozen=True, kw_only=True)
class Decode:
    """Speeds of all ways in one run.

    Attributes:
        timed: all ways.
        together: whether all processes were held at once.
        outside: share of a step outside llama_decode, by sampling.
        outside_way: of which way.
    """

    timed: tuple[TimedWay, ...]
    together: bool
    outside: dict[str, Sample]
    outside_way: str

    @property
    def best_plain(self) -> TimedWay:
        """The plain way that the ratios refer to."""
        return _fastest(item for item in self.timed if item.way.kind == "plain")

    @property
    def best_schedule(self) -> TimedWay:
        """The fastest way with one preference."""
        return _fastest(item for item in self.timed if item.way.n_preferences == 1)

    @property
    def auto_over_best(self) -> float | None:
        """Time a token of what "auto" picked over that of the fastest schedule."""
        autos = [item for item in self.timed if item.way.schedule == "auto"]
        return autos[0].seconds.median / self.best_schedule.seconds.median if autos else None

    def extra_preferences(self) -> list[dict[str, Any]]:
        """What each preference after the first adds, in seconds a token, by schedule."""
        seconds = {
            (item.way.schedule, item.way.n_preferences): item.seconds.median
            for item in self.timed
            if item.way.kind == "amulet"
        }
        return [
            {
                "schedule": schedule,
                "n_preferences": n,
                "added_seconds": value - seconds[schedule, n - 1],
            }
            for (schedule, n), value in seconds.items()
            if n > 1
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "together": self.together,
            "best_plain": self.best_plain.way.name,
            "best_schedule": self.best_schedule.way.name,
            "auto_over_best": self.auto_over_best,
            "ways": [
                {
                    **{key: value for key, value in asdict(item.way).items() if key != "spec"},
                    "facts": item.facts,
                    "seconds_per_token": item.seconds.as_json(),
                    "tokens_per_second": item.tokens_per_second,
                    "ratio": item.ratio,
                }
                for item in self.timed
            ],
            "extra_preferences": self.extra_preferences(),
            "outside_llama_decode": {
                "way": self.outside_way,
                "share": {name: sample.as_json() for name, sample in self.outside.items()},
            },
        }


def _fastest(items: Iterable[TimedWay]) -> TimedWay:
    return min(items, key=lambda item: item.seconds.median)


def measure_decode(settings: Settings, *, on_gpu: bool, progress: Progress) -> Decode:
    """Time all ways in turns, then the first schedule once more for what isn't llama_decode.

    Raises:
        AmuletError: a process failed.
    """
    found = {way.name: way for way in ways.decode_ways(settings, on_gpu=on_gpu)}
    together = not settings.one_at_a_time and (
        on_gpu or fit_together(len(found), settings.model.stat().st_size)
    )
    results, facts = take_turns(
        {name: way.spec for name, way in found.items()},
        [{"do": "decode", "n_tokens": settings.n_tokens}],
        rounds=settings.rounds,
        together=together,
        progress=lambda text: progress(f"decode: {text}"),
    )
    samples = {
        name: Sample(seconds=tuple(turn[0] / settings.n_tokens for turn in turns))
        for name, turns in results.items()
    }
    best = min(samples[name].median for name, way in found.items() if way.kind == "plain")
    timed = tuple(
        TimedWay(
            way=way,
            seconds=samples[name],
            facts=facts[name],
            ratio=best / samples[name].median,
        )
        for name, way in found.items()
    )
    subject = ways.amulet(settings, settings.row_schedules(on_gpu=on_gpu)[0], 1)
    return Decode(
        timed=timed,
        together=together,
        outside=_outside(settings, subject, progress),
        outside_way=subject.name,
    )


def _outside(settings: Settings, way: ways.Way, progress: Progress) -> dict[str, Sample]:
    commands = [
        {"do": "share_outside", "n_tokens": settings.n_tokens, "sampling": name}
        for name in SAMPLINGS
    ]
    results, _ = take_turns(
        {way.name: way.spec},
        commands,
        rounds=settings.rounds,
        together=True,
        progress=lambda text: progress(f"outside llama_decode: {text}"),
    )
    return {
        name: Sample(seconds=tuple(turn[index] for turn in results[way.name]))
        for index, name in enumerate(SAMPLINGS)
    }
