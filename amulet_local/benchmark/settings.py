"""What a benchmark of a model measures, checked before anything is loaded.

Knows nothing about how it is measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from amulet_local.common.errors import InvalidParameterError
from amulet_local.llama import library
from amulet_local.params.choices import Schedule, as_known
from amulet_local.params.runtime import RuntimeParams

Part = Literal["decode", "prefill", "memory", "start", "busy"]
PARTS: tuple[Part, ...] = get_args(Part)
N_CTX = 2048
"""Context length of everything that is measured, in tokens."""
SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "top-k": {"temperature": 0.8, "top_k": 40, "seed": 1},
    "top-p alone": {"temperature": 0.8, "top_k": 0, "top_p": 0.95, "min_p": 0.0, "seed": 1},
}
"""Ways to pick a token, as fields of SamplingParams."""
FEW_CORES = 4
"""Up to here a full set of threads for each row is worth a look."""


@dataclass(frozen=True, kw_only=True)
class RowSchedule:
    """A way to compute the rows.

    Attributes:
        name: as it is written: "serial", or "parallel:2" for two threads a row.
        schedule: as in RuntimeParams.
        threads_per_row: as in RuntimeParams.
    """

    name: str
    schedule: Schedule
    threads_per_row: int | None = None

    @classmethod
    def parse(cls, text: str) -> RowSchedule:
        """Read "auto", "serial", "batched", "parallel" or "parallel:N".

        Raises:
            InvalidParameterError: it is none of them.
        """
        schedule, colon, threads = text.partition(":")
        known = schedule in get_args(Schedule)
        if not known or (colon and not (schedule == "parallel" and threads.isdecimal())):
            raise InvalidParameterError(
                f"--schedules takes auto, serial, batched, parallel and parallel:N (N threads a "
                f"row), separated by commas; not {text!r}"
            )
        per_row = int(threads) if colon else None
        try:
            RuntimeParams(threads_per_row=per_row)
        except InvalidParameterError:
            raise InvalidParameterError(
                f"--schedules {text!r:.60}: a row takes 1 thread at least, and 1024 at most"
            ) from None
        return cls(name=text, schedule=schedule, threads_per_row=per_row)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What to measure.

    Attributes:
        model: the GGUF file.
        runtime: how it is loaded; schedule and threads per row are set for each way.
        parts: which measurements.
        schedules: how the rows are computed, each measured; None is what makes sense here.
        n_preferences: K up to which a token is timed.
        n_tokens: tokens decoded in one timing, at least 2.
        rounds: timings of each way.
        quick: shorter prompts in prefill, memory and start measured once.
        one_at_a_time: never hold more than one process with the model.
    """

    model: Path
    runtime: RuntimeParams
    parts: tuple[Part, ...] = PARTS
    schedules: tuple[RowSchedule, ...] | None = None
    n_preferences: int = 1
    n_tokens: int = 32
    rounds: int = 7
    quick: bool = False
    one_at_a_time: bool = False

    def __post_init__(self) -> None:
        _check_whole("--preferences", self.n_preferences, 1, 64)
        _check_whole("--tokens", self.n_tokens, 2, N_CTX // 2)
        _check_whole("--rounds", self.rounds, 1, 10_000)
        if self.schedules is not None and not self.schedules:
            raise InvalidParameterError("--schedules names none")

    @property
    def n_threads(self) -> int:
        """Threads of a decode with everything this machine offers, or that it was given."""
        return self.runtime.n_threads or library.usable_cores()

    def row_schedules(self, *, on_gpu: bool) -> tuple[RowSchedule, ...]:
        """The schedules asked for, or all that make sense here; the first is the default one."""
        if self.schedules is not None:
            return self.schedules
        names = ["auto", "serial"]
        if not self.runtime.splits_rows:
            names.append("batched")
        if not on_gpu:
            names.insert(1, "parallel")
            if 1 < self.n_threads <= FEW_CORES:
                names.insert(2, f"parallel:{self.n_threads}")
        return tuple(RowSchedule.parse(name) for name in names)

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {
            "runtime": self.runtime.model_dump(mode="json", warnings=False),
            "parts": list(self.parts),
            "n_preferences": self.n_preferences,
            "n_tokens": self.n_tokens,
            "rounds": self.rounds,
            "quick": self.quick,
        }


def parse_parts(names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The names, once each.

    Raises:
        InvalidParameterError: one of them isn't known.
    """
    known = tuple(known)
    names = tuple(dict.fromkeys(as_known(name, known) for name in names))
    for name in names:
        if name not in known:
            raise InvalidParameterError(f"bench can measure {', '.join(known)}; not {name!r}")
    return names


def _check_whole(flag: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidParameterError(
            f"{flag} takes a whole number from {least} to {most:,}, not {value!r}"
        )
