"""Workers without engines on a clock of their own, for crews of any size.

The job is the real one: lines are read from a file, keyed, given to a crew, and their records
written and synced. What is made up is when a worker answers, and when it is lost. The seconds that
this process computes are seconds of that clock as well, so that a job that is held up by what one
process can do shows it. As a program (`scripts/simulate_cluster`) it prints figures.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from amulet_local.batch.crew import CrewAnswers
from amulet_local.batch.input_lines import InputLine, InputLines
from amulet_local.batch.job import LineJob
from amulet_local.batch.line_answers import KeyedLine, LineOutcome
from amulet_local.batch.line_worker import REPLY_SECONDS
from amulet_local.batch.workers import Came, Event, Lost, Ready
from amulet_local.batch.written_records import WrittenRecords
from amulet_local.common.json_log import Log

SETTINGS = "5ca1ab1e"
N_TOKENS = 64
FOREVER = math.inf


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the workers are like.

    Attributes:
        n_workers: that there is room for.
        tokens_per_second: of a worker with all places taken.
        at_once: places of a worker.
        load_seconds: until a worker is ready.
        hours_between_losses: of one worker, on average.
        notice_seconds: until it is known that one is lost.
        call_seconds: that an exchange costs the process of the job, apart from what it computes.
        kills: whether a line kills the worker that has it.
    """

    n_workers: int = 1000
    tokens_per_second: float = 64.0
    at_once: int = 16
    load_seconds: float = 20.0
    hours_between_losses: float = FOREVER
    notice_seconds: float = 5.0
    call_seconds: float = 0.0
    kills: Callable[[KeyedLine], bool] = lambda _: False


@dataclass
class _Worker:
    dies: float
    queued: list[tuple[float, int, KeyedLine]] = field(default_factory=list)
    places: list[float] = field(default_factory=list)
    n_tokens: int = 0


class SimulatedWorkers:
    """Workers of a cluster that isn't there: see Workers."""

    def __init__(self, cluster: Cluster, *, seed: int = 1, computes: bool = True) -> None:
        self.cluster, self._chance = cluster, random.Random(seed)
        self._now, self._computes = 0.0, computes
        self._last = time.process_time()
        self._numbers = itertools.count()
        self._workers: dict[int, _Worker] = {}
        self._events: list[tuple[float, int, int, Event | None]] = []
        self.busy_seconds = 0.0
        self.n_exchanges = 0
        self.most_lines = 0

    def now(self) -> float:
        return self._now

    def room(self) -> int:
        return self.cluster.n_workers

    def start(self) -> int:
        number = next(self._numbers)
        hours = self.cluster.hours_between_losses
        lives = FOREVER if hours == FOREVER else self._chance.expovariate(1 / (3600 * hours))
        ready = self._now + self.cluster.load_seconds
        self._workers[number] = _Worker(dies=self._now + lives)
        if lives < self.cluster.load_seconds:
            self._lose_at(self._now + lives, number)
        else:
            self._tell_at(ready, number, Ready(worker=number, where=f"node-{number}"))
        return number

    def exchange(
        self, worker: int, lines: Sequence[KeyedLine], *, ends: bool, gather_seconds: float
    ) -> None:
        self.n_exchanges += 1
        self._spend(self.cluster.call_seconds)
        has = self._workers[worker]
        for line in lines:
            self._begin(has, line)
        self.most_lines = max(self.most_lines, len(has.queued))
        first = has.queued[0][0] if has.queued else FOREVER
        reply = self._now + REPLY_SECONDS
        if first <= reply:
            reply = max(first, self._now) + (gather_seconds if len(has.queued) > 1 else 0)
        if has.dies <= reply:
            self._lose_at(max(has.dies, self._now), worker)
        else:
            self._tell_at(reply, worker, None)

    def wait(self, seconds: float) -> Sequence[Event]:
        if self._computes:
            took = time.process_time() - self._last
            self._spend(took)
        if not self._events or self._events[0][0] > self._now + seconds:
            self._now += seconds
        else:
            self._now = max(self._now, self._events[0][0])
        heard = []
        while self._events and self._events[0][0] <= self._now:
            _, _, worker, event = heapq.heappop(self._events)
            if worker in self._workers:
                heard.append(event or self._reply(worker))
        self._last = time.process_time()
        return heard

    def stop(self, worker: int) -> None:
        del self._workers[worker]

    def _spend(self, seconds: float) -> None:
        self._now += seconds
        self.busy_seconds += seconds

    def _begin(self, has: _Worker, line: KeyedLine) -> None:
        if self.cluster.kills(line) and line.given_up is None:
            has.dies = min(has.dies, self._now + 0.5)
        free = heapq.heappop(has.places) if len(has.places) == self.cluster.at_once else 0.0
        n_tokens = 0 if line.given_up else 1 + line.turn * 7919 % (2 * N_TOKENS - 1)
        took = n_tokens * self.cluster.at_once / self.cluster.tokens_per_second
        end = max(free, self._now) + took
        heapq.heappush(has.places, end)
        heapq.heappush(has.queued, (end, line.turn, line))

    def _reply(self, worker: int) -> Came:
        has = self._workers[worker]
        outcomes = []
        while has.queued and has.queued[0][0] <= self._now:
            outcomes.append(outcome_of(heapq.heappop(has.queued)[2]))
        has.n_tokens += sum(outcome.completion_tokens for outcome in outcomes) or 1
        return Came(worker=worker, outcomes=outcomes, n_running_tokens=0, n_tokens=has.n_tokens)

    def _tell_at(self, when: float, worker: int, event: Event | None) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), worker, event))

    def _lose_at(self, when: float, worker: int) -> None:
        lost = Lost(worker=worker, reason="its machine is gone")
        self._tell_at(when + self.cluster.notice_seconds, worker, lost)


class AwaitedLines(InputLines):
    """Lines of a file for a clock that would go on while they are read."""

    def ready(self) -> Iterator[InputLine | None]:
        for line in super().ready():
            if line is None:
                time.sleep(0.001)
            else:
                yield line


def outcome_of(line: KeyedLine) -> LineOutcome:
    """What any worker makes of a line: it depends on the line alone."""
    n_tokens = 1 + line.turn * 7919 % (2 * N_TOKENS - 1)
    asked = json.loads(line.line.data or b"")
    record = {"key": line.key, "file": line.line.file, "line": line.line.number, "id": asked["id"]}
    if line.given_up is not None:
        message = {"code": "BackendError", "message": line.given_up}
        return LineOutcome(
            turn=line.turn,
            record={**record, "error": message},
            error=line.given_up,
            prompt_tokens=0,
            completion_tokens=0,
        )
    return LineOutcome(
        turn=line.turn,
        record={
            **record,
            "text": f"{line.key} {'word ' * n_tokens}",
            "finish_reason": "stop",
            "prompt_tokens": 40,
            "completion_tokens": n_tokens,
        },
        error=None,
        prompt_tokens=40,
        completion_tokens=n_tokens,
    )


def run_simulated(
    workers: SimulatedWorkers,
    source: Path,
    output: Path,
    *,
    n_lines_each: int = 64,
    n_workers: int | None = None,
) -> tuple[LineJob, CrewAnswers]:
    """A job of the lines of a file."""
    with AwaitedLines([str(source)]) as lines, Log(output, sync_seconds=1.0) as log:
        written = WrittenRecords(output, SETTINGS)
        job = LineJob(lines, log.append, settings=SETTINGS, written=written)
        crew = CrewAnswers(
            workers, n_workers=n_workers, n_lines_each=n_lines_each, warn=lambda _: None
        )
        job.run(crew)
    return job, crew


def write_questions(path: Path, n: int) -> Path:
    """A file of so many lines."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(n):
            prompt = f"Name {number} rivers, and say of each in a sentence where it ends."
            file.write(json.dumps({"id": f"q{number}", "prompt": prompt}) + "\n")
    return path


def figures(arguments: argparse.Namespace) -> Iterator[str]:
    """A table: what a job takes with ever more workers."""
    yield (
        f"a worker: {arguments.tokens_per_second:g} tokens/s, {arguments.at_once} answers at once, "
        f"{N_TOKENS} tokens an answer on average, {arguments.load_seconds:g} s to load, lost every "
        f"{arguments.hours:g} hours; an exchange: {1000 * arguments.call_seconds:g} ms"
    )
    yield (
        "workers    lines   minutes   lines/s  of ideal  lost  made again  busy  ms a line  "
        "MB/s written"
    )
    for n_workers in arguments.workers:
        cluster = Cluster(
            n_workers=n_workers,
            tokens_per_second=arguments.tokens_per_second,
            at_once=arguments.at_once,
            load_seconds=arguments.load_seconds,
            hours_between_losses=arguments.hours,
            call_seconds=arguments.call_seconds,
        )
        n_lines = max(1000, min(arguments.most_lines, n_workers * arguments.lines_each))
        with tempfile.TemporaryDirectory() as folder:
            source = write_questions(Path(folder) / "in", n_lines)
            output = Path(folder) / "out"
            workers = SimulatedWorkers(cluster)
            job, crew = run_simulated(workers, source, output)
            n_bytes = output.stat().st_size
        assert job.tally.n_answered == n_lines
        took = workers.now()
        ideal = n_lines * N_TOKENS / cluster.tokens_per_second / n_workers
        yield (
            f"{n_workers:7} {n_lines:8} {took / 60:9.1f} {n_lines / took:9.1f} "
            f"{ideal / took:8.0%} {crew.n_lost:6} {crew.n_again:11} "
            f"{workers.busy_seconds / took:5.0%} {1000 * workers.busy_seconds / n_lines:10.3f} "
            f"{n_bytes / took / 1e6:13.2f}"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="scripts/simulate_cluster", description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 10, 100, 1000])
    parser.add_argument("--tokens-per-second", type=float, default=64.0, help="of a worker")
    parser.add_argument("--at-once", type=int, default=16, help="answers of a worker")
    parser.add_argument("--load-seconds", type=float, default=20.0)
    parser.add_argument("--hours", type=float, default=24.0, help="between a worker's losses")
    parser.add_argument("--call-seconds", type=float, default=0.0005, help="of an exchange")
    parser.add_argument("--lines-each", type=int, default=500, help="lines for each worker")
    parser.add_argument("--most-lines", type=int, default=500_000, help="lines at most")
    for line in figures(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
