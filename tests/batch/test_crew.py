"""Crews: every line has one record, whichever workers are lost, and no line takes all with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local.batch.crew import GIVE_UP_AFTER, SILENCE_SECONDS, CrewAnswers
from amulet_local.batch.input_lines import InputLine
from amulet_local.batch.line_answers import KeyedLine, LineOutcome
from amulet_local.batch.workers import Came, Lost
from amulet_local.common.errors import ClusterError
from tests.batch.simulated_cluster import (
    Cluster,
    SimulatedWorkers,
    outcome_of,
    run_simulated,
    write_questions,
)


def keyed(turn: int) -> KeyedLine:
    data = json.dumps({"id": turn}).encode()
    return KeyedLine(
        turn=turn, key=f"{turn:032x}", line=InputLine((0, turn + 1), "in", turn + 1, data, None)
    )


def answered(
    workers: Any,
    lines: Iterator[KeyedLine | None],
    *,
    warn: Callable[[str], None] = lambda _: None,
    n_lines_each: int = 8,
) -> list[LineOutcome]:
    crew = CrewAnswers(workers, n_workers=None, n_lines_each=n_lines_each, warn=warn)
    outcomes: list[LineOutcome] = []
    crew.run(lines, outcomes.append, lambda _: None)
    assert len({outcome.turn for outcome in outcomes}) == len(outcomes)
    return outcomes


def records(path: Path) -> list[str]:
    return sorted(path.read_text(encoding="utf-8").splitlines())


def test_ten_thousand_lines_have_the_same_records_however_many_workers_die(tmp_path: Path) -> None:
    source = write_questions(tmp_path / "in", 10_000)
    dying = SimulatedWorkers(Cluster(n_workers=20, hours_between_losses=0.1), computes=False)
    _, crew = run_simulated(dying, source, tmp_path / "out")
    run_simulated(
        SimulatedWorkers(Cluster(n_workers=20), computes=False), source, tmp_path / "calm"
    )
    assert crew.n_lost > 20
    assert crew.n_again > 300
    assert records(tmp_path / "out") == records(tmp_path / "calm")
    assert len(records(tmp_path / "out")) == 10_000


def test_a_worker_never_has_more_lines_than_it_may() -> None:
    workers = SimulatedWorkers(Cluster(n_workers=3, hours_between_losses=0.02), computes=False)
    taken = 0

    def lines() -> Iterator[KeyedLine]:
        nonlocal taken
        for turn in range(500):
            taken += 1
            assert taken - len(done) <= 3 * 8 + crew.n_again  # backpressure
            yield keyed(turn)

    done: list[LineOutcome] = []
    crew = CrewAnswers(workers, n_workers=None, n_lines_each=8, warn=lambda _: None)
    crew.run(lines(), done.append, lambda _: None)
    assert len(done) == 500
    assert 0 < workers.most_lines <= 8


def test_a_line_that_kills_workers_has_an_error_and_all_others_an_answer() -> None:
    bad = {17, 18, 300}
    cluster = Cluster(n_workers=4, kills=lambda line: line.turn in bad)
    workers = SimulatedWorkers(cluster, computes=False)
    warnings: list[str] = []
    outcomes = answered(workers, map(keyed, range(500)), warn=warnings.append)
    assert {outcome.turn for outcome in outcomes} == set(range(500))
    assert {outcome.turn for outcome in outcomes if outcome.error} == bad
    assert f"{GIVE_UP_AFTER} workers" in next(o.error for o in outcomes if o.error) or ""
    assert len(warnings) <= GIVE_UP_AFTER * len(bad)


def test_a_model_that_kills_every_worker_ends_the_job() -> None:
    workers = SimulatedWorkers(Cluster(n_workers=4, kills=lambda _: True), computes=False)
    with pytest.raises(ClusterError, match="no worker answers"):
        answered(workers, map(keyed, range(500)))


def test_workers_that_cant_start_end_the_job_with_the_reason_once() -> None:
    class Unstarted(SimulatedWorkers):
        def start(self) -> int:
            number = next(self._numbers)
            self._workers[number] = self._workers.get(number) or _dead()
            self._tell_at(self._now, number, Lost(worker=number, reason="no such model"))
            return number

    def _dead() -> Any:
        return object()

    warnings: list[str] = []
    with pytest.raises(ClusterError, match="no such model"):
        answered(
            Unstarted(Cluster(n_workers=2), computes=False),
            map(keyed, range(5)),
            warn=warnings.append,
        )
    assert warnings == ["a worker can't start: no such model"]


def test_a_worker_that_makes_nothing_is_ended_and_its_lines_are_made_by_others() -> None:
    class Hanging(SimulatedWorkers):
        """The first worker answers nothing."""

        stopped = -1

        def _reply(self, worker: int) -> Came:
            if worker == 0:
                return Came(worker=0, outcomes=[], n_running_tokens=0, n_tokens=0)
            return super()._reply(worker)

        def stop(self, worker: int) -> None:
            self.stopped = worker
            super().stop(worker)

    workers = Hanging(Cluster(n_workers=2), computes=False)
    outcomes = answered(workers, map(keyed, range(200)))
    assert [outcome.error for outcome in outcomes] == [None] * 200
    assert workers.stopped == 0
    assert workers.now() > SILENCE_SECONDS


def test_a_cluster_that_grows_has_more_workers_at_once() -> None:
    class Growing(SimulatedWorkers):
        def room(self) -> int:
            return 1 if self._now < 60 else 5

    small, growing = (
        made(Cluster(n_workers=1, load_seconds=1), computes=False)
        for made in (SimulatedWorkers, Growing)
    )
    for workers in (small, growing):
        assert len(answered(workers, map(keyed, range(400)))) == 400
    assert growing.now() < small.now() / 2


def test_lines_that_come_slowly_are_answered_as_they_come() -> None:
    workers = SimulatedWorkers(Cluster(n_workers=2, load_seconds=0), computes=False)

    def slow() -> Iterator[KeyedLine | None]:
        for turn in range(20):
            come = workers.now() + 30
            while workers.now() < come:
                yield None
            yield keyed(turn)

    outcomes = answered(workers, slow())
    assert [outcome.turn for outcome in outcomes] == list(range(20))
    assert outcomes[3] == outcome_of(keyed(3))


@pytest.mark.lengthy
def test_a_thousand_workers_are_kept_busy_by_one_process(tmp_path: Path) -> None:
    """Even if they die once an hour; the process's own seconds count."""
    source = write_questions(tmp_path / "in", 30_000)
    workers = SimulatedWorkers(
        Cluster(hours_between_losses=1.0, load_seconds=5.0, call_seconds=0.0005)
    )
    job, crew = run_simulated(workers, source, tmp_path / "out", n_lines_each=32)
    assert job.tally.n_answered == 30_000
    assert len(set(records(tmp_path / "out"))) == 30_000
    assert crew.n_lost > 5
