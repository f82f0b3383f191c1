"""A few rounds of scripts/soak on a small model, and what it finds wrong; the command goes on."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest

from amulet_local import errors
from tests.soak.book import Book
from tests.soak.run import MAX_GROWTH_BYTES, Complaints, Held, Soak, growth, opened
from tests.soak.visits import DESKS


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_under_mixed_load_every_answer_is_the_first_one_and_nothing_grows(
    tiny_path: Path, tmp_path: Path
) -> None:
    with opened(tiny_path, tmp_path) as place:
        soak = Soak(place, DESKS, seed=1)
        assert soak.run(minutes=3) == []
    counts = soak.book.counts
    assert {"whole", "cut", "refused"} <= {how for how, n in counts.items() if n > 20}, counts


def test_an_answer_that_changed_is_found() -> None:
    book = Book()
    book.whole("Why?", "So it is.")
    book.whole("Why?", "So it is.")
    book.part("Why?", "So ")
    assert book.faults == []
    book.whole("Why?", "So?")
    book.part("Why?", "Yes")
    assert len(book.faults) == 2


def test_a_task_that_failed_and_that_nobody_asked_is_found() -> None:
    async def forget() -> None:
        async def fail() -> None:
            raise ValueError("unheard")

        forgotten = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        del forgotten

    book, logger = Book(), logging.getLogger("asyncio")
    handler = Complaints(book)
    logger.addHandler(handler)
    try:
        asyncio.run(forget())
        gc.collect()
    finally:
        logger.removeHandler(handler)
    (fault,) = book.faults
    assert "never retrieved" in fault
    assert "unheard" in fault


def test_what_isn_t_refused_or_refused_otherwise_is_found() -> None:
    book = Book()

    def refuse(message: str) -> None:
        raise errors.EmptyPromptError(message)

    book.refused("empty", lambda: refuse("nothing to answer"))
    book.refused("empty", lambda: refuse("nothing to answer"))
    assert (book.faults, book.counts["refused"]) == ([], 2)
    book.refused("empty", lambda: refuse("engine is locked"))
    book.refused("empty", lambda: None)
    assert len(book.faults) == 2


def held(n_mib: float = 100, n_threads: int = 9, n_descriptors: int = 12) -> Held:
    return Held(int(n_mib * 2**20), n_threads, n_descriptors)


def test_growth_is_found_and_what_comes_and_goes_isn_t() -> None:
    flat = [held(100 + n % 3, 9 + n % 2, 12 + n % 4) for n in range(40)]
    assert growth(flat) == []
    assert growth([held(10, 2, 3), *flat]) == []
    assert growth(flat[:3])[0].startswith("3 rounds")
    per_round = 3 * MAX_GROWTH_BYTES / 2**20 / 40
    (said,) = growth([held(100 + per_round * n) for n in range(40)])
    assert said.startswith("resident memory")
    (said,) = growth([held(n_threads=9 + n // 2) for n in range(40)])
    assert said.startswith("threads")
    (said,) = growth([held(n_descriptors=9 + n // 10) for n in range(40)])
    assert said.startswith("descriptors")
