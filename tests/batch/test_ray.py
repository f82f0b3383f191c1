"""Batches on a real Ray cluster of this machine: actors are killed, nodes come, and every line has
its record once. `scripts/test ray` installs Ray and runs these."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.batch.cluster import ClusterJob, answers_on_ray
from amulet_local.batch.crew import CrewAnswers
from amulet_local.batch.input_lines import InputLines
from amulet_local.batch.job import LineJob
from amulet_local.batch.line_fields import JobSettings
from amulet_local.batch.ray_data import RayAnswers
from amulet_local.batch.written_records import WrittenRecords
from amulet_local.common.json_log import Log
from amulet_local.params.runtime import RuntimeParams
from tests.batch.scripted_job import job_model, run_job
from tests.batch.simulated_cluster import write_questions
from tests.cli.running import run

ray = pytest.importorskip("ray", reason="Ray isn't installed: scripts/test ray")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(1200),
    # of Ray's own modules and its processes' pipes
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

PATIENCE = {
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_health_check_initial_delay_ms": "60000",
    "RAY_health_check_period_ms": "30000",
    "RAY_health_check_timeout_ms": "300000",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_niceness": "0",
}
"""On a busy machine Ray takes a process that is kept waiting for a dead one, and its workers come
after everybody else."""
N_BEGINNINGS = 5
"""Ray gives a cluster half a minute to begin, whatever it is told."""

SAMPLING = SamplingParams(max_tokens=6, ignore_eos=True)
EXACT = RuntimeParams(
    n_ctx=256, n_threads=1, cache_type_k="f32", cache_type_v="f32", flash_attention="off"
)
"""Whatever is computed together, the tokens are the same."""


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    """Ray's processes wait on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENCE.items():
            patch.setenv(name, value)
        yield


def begun(begin: Callable[[], Any], end: Callable[[], Any] = ray.shutdown) -> Any:
    """What begins a cluster or a node, again and again while the machine is too busy for it."""
    for _ in range(N_BEGINNINGS - 1):
        try:
            return begin()
        except Exception:
            end()
    return begin()


@pytest.fixture(scope="module")
def two_processors() -> Iterator[None]:
    """A cluster of one node with two processors."""

    def begin() -> None:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)

    begun(begin)
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture
def growing() -> Iterator[Any]:
    """A cluster of one node with one processor, to which others can be added."""
    from ray.cluster_utils import Cluster

    ray.shutdown()
    found = begun(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1}))
    try:
        ray.init(address=found.address, log_to_driver=False)
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def texts(path: Path) -> dict[str, str]:
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({record["id"] for record in found}) == len(found)
    return {record["id"]: record["text"] for record in found}


def run_on_ray(
    model: Path,
    source: Path,
    output: Path,
    *,
    at_record: Callable[[int, CrewAnswers, dict[int, Any]], None] = lambda *_: None,
    n_workers: int | None = None,
) -> CrewAnswers:
    """A job; `at_record` gets the number of each record and the actors by number."""
    job = ClusterJob(
        model=str(model),
        runtime=EXACT,
        settings=JobSettings(sampling=SAMPLING),
        at_once=4,
        n_workers=n_workers,
    )
    with (
        InputLines([str(source)]) as lines,
        Log(output, sync_seconds=1.0) as log,
        answers_on_ray(job, "auto", warn=lambda _: None) as (digits, crew),
    ):
        actors: dict[int, Any] = crew._workers._actors  # type: ignore[attr-defined]
        n_written = 0

        def write(record: dict[str, Any]) -> None:
            nonlocal n_written
            log.append(record)
            n_written += 1
            at_record(n_written, crew, actors)

        LineJob(lines, write, settings=digits, written=WrittenRecords(output, digits)).run(crew)
    return crew


def undisturbed(engine: Engine, source: Path, output: Path) -> dict[str, str]:
    model = job_model(engine, sampling=SAMPLING)
    run_job(model, source, output)
    return texts(output)


@pytest.mark.usefixtures("two_processors")
def test_an_actor_is_killed_in_the_middle_and_all_records_are_those_of_one_engine(
    exact_engine: Engine, tiny_f32_path: Path, tmp_path: Path
) -> None:
    source = write_questions(tmp_path / "in", 120)

    def disturb(number: int, _: CrewAnswers, actors: dict[int, Any]) -> None:
        if number == 20:
            ray.kill(next(iter(actors.values())))

    crew = run_on_ray(tiny_f32_path, source, tmp_path / "out", at_record=disturb)
    assert crew.n_lost >= 1
    assert texts(tmp_path / "out") == undisturbed(exact_engine, source, tmp_path / "one")
    assert len(texts(tmp_path / "out")) == 120
    before = (tmp_path / "out").read_bytes()
    run_on_ray(tiny_f32_path, source, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == before  # there was nothing to do


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("two_processors")
def test_ten_thousand_lines_under_random_kills_of_actors_are_those_of_an_undisturbed_job(
    exact_engine: Engine, tiny_f32_path: Path, tmp_path: Path
) -> None:
    source, chance = write_questions(tmp_path / "in", 10_000), random.Random(1)

    def disturb(_: int, crew: CrewAnswers, actors: dict[int, Any]) -> None:
        if chance.random() < 0.002:
            ray.kill(chance.choice([*actors.values()]))

    crew = run_on_ray(tiny_f32_path, source, tmp_path / "out", at_record=disturb)
    assert crew.n_lost >= 5
    assert texts(tmp_path / "out") == undisturbed(exact_engine, source, tmp_path / "one")
    assert len(texts(tmp_path / "out")) == 10_000


@pytest.mark.usefixtures("two_processors")
def test_rows_of_a_dataset_are_answered(tiny_f32_path: Path) -> None:
    import ray.data

    rows = [{"number": n, "prompt": f"What is {n}?", "max_tokens": 2 + n % 3} for n in range(9)]
    rows[4]["max_tokens"] = -7
    answered = ray.data.from_items(rows).map_batches(
        RayAnswers,
        fn_constructor_kwargs={"model": str(tiny_f32_path), "n_ctx": 256, "n_threads": 1},
        batch_size=4,
        concurrency=1,
        num_cpus=1,
    )
    found = {row["number"]: row for row in answered.take_all()}
    assert set(found) == set(range(9))
    assert "max_tokens" in found.pop(4)["error"]
    assert all(row["error"] is None for row in found.values())
    assert all(row["completion_tokens"] == 2 + n % 3 for n, row in found.items())


def test_the_command_answers_on_a_cluster_of_its_own(tiny_path: Path, tmp_path: Path) -> None:
    source, output = write_questions(tmp_path / "in", 6), tmp_path / "out"
    command = ("batch", source, "-o", output, "-m", tiny_path, "-n", "3", "-c", "256", "-t", "1")
    for _ in range(N_BEGINNINGS):
        outcome = run(*command, "--ray", "local", "--workers", "1", "--json")
        if "there is no Ray" not in outcome.err:
            break
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out)["n_answered"] == 6
    assert len(texts(output)) == 6


def test_a_node_that_comes_in_the_middle_gets_a_worker(
    growing: Any, tiny_f32_path: Path, tmp_path: Path
) -> None:
    """Lines come until it has one, however long that takes on a busy machine."""
    has_two, source = threading.Event(), tmp_path / "in"
    os.mkfifo(source)
    n_lines = 0

    def ask() -> None:
        nonlocal n_lines
        with source.open("w", encoding="utf-8") as pipe:
            while not has_two.is_set() or n_lines % 100:
                pipe.write(json.dumps({"id": f"{n_lines}", "prompt": f"What is {n_lines}?"}) + "\n")
                n_lines += 1

    def grow(number: int, crew: CrewAnswers, _: dict[int, Any]) -> None:
        if number == 5:
            begun(lambda: growing.add_node(num_cpus=1), end=lambda: None)
        if crew.n_ready == 2:
            has_two.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    run_on_ray(tiny_f32_path, source, tmp_path / "out", at_record=grow)
    asking.join()
    assert has_two.is_set()
    assert len(texts(tmp_path / "out")) == n_lines
