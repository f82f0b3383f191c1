"""The load, round after round, and what is watched meanwhile: python -m tests.soak.run.

scripts/soak starts it. Between rounds nothing runs and no model of the server's is loaded, so that
what the process holds then can be compared: memory, threads, descriptors.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import logging
import math
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from amulet_local import load
from amulet_local.llama import library
from amulet_local.loading import model_store
from amulet_local.optimizer import compiled
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.models import ModelFile, Models
from amulet_local.server.served_model import Defaults, ServedModel
from tests.server.conftest import Server
from tests.soak.book import Book
from tests.soak.visits import DESKS, Place, Visit

STUCK_SECONDS = 7200.0
"""A round that takes so long, on however busy a machine, is stuck."""
PATIENT = Limits(
    body_seconds=STUCK_SECONDS, head_seconds=STUCK_SECONDS, stuck_seconds=STUCK_SECONDS
)
"""A client that waits for a processor is no broken one."""
MAX_GROWTH_BYTES = 16 << 20
"""Of resident memory, from the second quarter of the rounds to the last."""
MIN_ROUNDS = 24
"""Fewer say nothing of growth: over the first dozen caches and the heap fill."""
SETTLE_SECONDS = 120.0
"""How long connections whose clients have left may take to be closed on a busy machine."""
IDLE_SECONDS = 0.5
N_VISITS, FEWEST_VISITS = 2, 3
"""Of each desk in a round, and of all desks together where a machine is too slow for more."""


@dataclass(frozen=True)
class Held:
    """What the process holds between two rounds.

    Attributes:
        n_threads: without those of the server's event loop, which makes them as it needs them, up
            to a number of its own, and keeps them.
    """

    resident_bytes: int
    n_threads: int
    n_descriptors: int

    def __str__(self) -> str:
        return (
            f"{self.resident_bytes / 2**20:.1f} MiB resident, {self.n_threads} threads, "
            f"{self.n_descriptors} descriptors"
        )


def growth(held: Sequence[Held]) -> list[str]:
    """What grew over the rounds, in words; the first quarter fills caches and isn't compared."""
    if len(held) < MIN_ROUNDS:
        return [f"{len(held)} rounds, and fewer than {MIN_ROUNDS} say nothing of growth"]
    quarter = len(held) // 4
    early, late = held[quarter : 2 * quarter], held[-quarter:]
    found = []
    for name in ("n_threads", "n_descriptors"):
        most = max(getattr(item, name) for item in held[: 2 * quarter])
        now = min(getattr(item, name) for item in late)
        if now > most:
            found.append(f"{name[2:]}: never fewer than {now} in the end, at most {most} before")
    before, after = (
        statistics.median(item.resident_bytes for item in items) for items in (early, late)
    )
    if after - before > MAX_GROWTH_BYTES:
        found.append(
            f"resident memory: {after / 2**20:.1f} MiB in the end, {before / 2**20:.1f} before"
        )
    return found


class Complaints(logging.Handler):
    """What asyncio says of tasks that failed and that nobody asked: faults."""

    def __init__(self, book: Book) -> None:
        super().__init__(logging.WARNING)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        """Note it down."""
        self._book.fault(f"asyncio: {self.format(record)}")


class Soak:
    """Rounds of visits.

    Attributes:
        book: what the visits got.
        held: after each round.
    """

    def __init__(self, place: Place, desks: Sequence[Sequence[Visit]], seed: int) -> None:
        self.book = Book()
        self.held: list[Held] = []
        self._place, self._desks, self._seed = place, desks, seed
        self._process = psutil.Process()

    def run(self, minutes: float, report: Callable[[str], object] = print) -> list[str]:
        """Visit for so long, and MIN_ROUNDS rounds at least; what was wrong, in words.

        Rounds are smaller where they would take longer than that.
        """
        started = time.monotonic()
        compiled.COMPILE_SECONDS = STUCK_SECONDS
        compiled.take_over()  # a process that goes on does so by itself, in some round
        for visit in dict.fromkeys(visit for desk in self._desks for visit in desk):
            visit(self._place, self.book, None)
        begun, n_made = time.monotonic(), 0
        while not self.book.faults:
            self._settle()
            now = time.monotonic()
            took = (now - started) / 60
            ends = ", ".join(f"{n} {how}" for how, n in sorted(self.book.counts.items()))
            report(f"{took:.1f} min, {len(self.held)} rounds: {ends}; {self.held[-1]}")
            if took >= minutes and len(self.held) >= MIN_ROUNDS:
                break
            left = max(0.0, started + 60 * minutes - now)
            n_visits = self._n_visits(left * n_made / (now - begun) if n_made else math.inf)
            self._round(n_visits)
            n_made += n_visits
        return [*self.book.faults, *growth(self.held)]

    def _n_visits(self, n_left: float) -> int:
        """How many the next round has, of so many that there is time for."""
        n_missing = MIN_ROUNDS - len(self.held)
        most = float(N_VISITS * len(self._desks))
        if n_missing > 0:
            most = max(FEWEST_VISITS, min(most, n_left / n_missing))
        return int(most)

    def _round(self, n_visits: int) -> None:
        threads = []
        order = list(enumerate(self._desks))
        random.Random(f"{self._seed} {len(self.held)}").shuffle(order)
        for place, (number, desk) in enumerate(order):
            chance = random.Random(f"{self._seed} {len(self.held)} {number}")
            n = max(0, n_visits - place + len(order) - 1) // len(order)
            visits = chance.sample(desk, min(len(desk), n))
            threads.append(threading.Thread(target=self._go, args=(visits, chance), daemon=True))
        for thread in threads:
            thread.start()
        until = time.monotonic() + STUCK_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            faulthandler.dump_traceback(all_threads=True)
            self.book.fault(f"a visit hasn't ended after {STUCK_SECONDS:.0f} s")

    def _go(self, visits: Sequence[Visit], chance: random.Random) -> None:
        for visit in visits:
            try:
                visit(self._place, self.book, chance)
            except BaseException as error:
                self.book.fault(f"{visit.__name__}: {type(error).__name__}: {error}")

    def _settle(self) -> None:
        """Wait until nothing is under way, and count what is held."""
        service = self._place.server.service
        assert service.models is not None
        until = time.monotonic() + STUCK_SECONDS
        while service.jobs or service.models.loaded:
            if time.monotonic() > until:
                self.book.fault(f"{len(service.jobs)} completions are under way for ever")
                break
            time.sleep(0.1)
        gc.collect()
        library.return_free_memory()  # what is free and not given back is no leak
        until = time.monotonic() + SETTLE_SECONDS
        while len(self._process.net_connections()) > 1 and time.monotonic() < until:
            time.sleep(0.1)  # connections of clients that left are closed in a moment
        n_pooled = sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())
        self.held.append(
            Held(
                resident_bytes=self._process.memory_info().rss,
                n_threads=self._process.num_threads() - n_pooled,
                n_descriptors=self._process.num_fds(),
            )
        )


@contextlib.contextmanager
def opened(model: Path, folder: Path) -> Iterator[Place]:
    """An engine, and a server that loads the same file under two names."""
    options: dict[str, Any] = {"n_ctx": 512, "n_batch": 64, "n_threads": 1, "schedule": "serial"}
    options["isolate"] = "never"  # what this process holds is watched

    def make(names: ModelNames) -> Callable[[Callable[[], bool]], ServedModel]:
        def make_model(ending: Callable[[], bool]) -> ServedModel:
            loaded = load(model, reproducible=True, **options)
            pool = loaded.pool(places=2, waiting=1, scheduler="interleaved")
            return ServedModel(loaded, pool, names, Defaults(fields={}))

        return make_model

    names = [ModelNames([name]) for name in ("first", "second")]
    models = Models([ModelFile(name, make(name)) for name in names], idle_seconds=IDLE_SECONDS)
    with load(model, reproducible=True, **options) as engine:
        server = Server(models, Access(), PATIENT)
        try:
            assert server.ready.wait(STUCK_SECONDS)
            yield Place(model, engine, server, folder)
        finally:
            server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="Default: 30")
    parser.add_argument(
        "--model", default=model_store.DEFAULT_MODEL, help="a name or a file. Default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is broken off. Default: 0")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="amulet-soak-") as name:
        folder = Path(name)
        for kind in ("CONFIG", "DATA"):
            os.environ[f"AMULET_{kind}"] = str(folder / kind.lower())
        with opened(model_store.find_model(given.model), folder) as place:
            soak = Soak(place, DESKS, given.seed)
            logging.getLogger("asyncio").addHandler(Complaints(soak.book))
            faults = soak.run(given.minutes, lambda line: print(line, flush=True))
    for fault in faults[:20]:
        print(f"found: {fault}")
    print(
        f"{len(faults)} found" if faults else "sound: every answer is the first one, nothing grew"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
