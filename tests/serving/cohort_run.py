"""A cohort that answers requests until there are no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amulet_local.answering.request import Request
from amulet_local.common.errors import LogitsError
from amulet_local.common.results import Generation
from amulet_local.serving.cohort import Cohort


def run(
    cohort: Cohort, n_places: int, requests: Iterable[Request], *, noise: float = 0.0
) -> Iterator[tuple[int, Generation]]:
    """The answers with the numbers of their requests, in the order in which they are done."""
    waiting = enumerate(requests)
    numbers: dict[int, int] = {}
    free = list(range(n_places))
    try:
        while True:
            while free and (item := next(waiting, None)) is not None:
                numbers[free[-1]] = item[0]
                cohort.admit(free.pop(), item[1], noise=noise)
            if len(free) == n_places:
                return
            for place, chunk in cohort.step():
                if isinstance(chunk, LogitsError):
                    raise chunk
                if chunk.generation is not None:
                    yield numbers[place], chunk.generation
                    free.append(place)
    finally:
        cohort.abandon()
