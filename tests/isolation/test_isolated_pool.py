"""Several requests at once in a child process: as in this one, and a death ends each of them."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams, errors, load
from amulet_local.answering.request import Request
from amulet_local.common.results import Chunk
from amulet_local.isolation.isolated_engine import IsolatedEngine
from amulet_local.isolation.isolated_pool import IsolatedPool
from tests.interrupts import interrupted_everywhere
from tests.serving.test_pool import PATIENCE_SECONDS, Asker, Item, ended

pytestmark = pytest.mark.lengthy

LATE = Path(__file__).parents[1] / "late_death"
QUESTIONS = ("How do I sleep better?", "Name three rivers.", "What is a heap?", "Why is it dark?")


@pytest.fixture(scope="module")
def strange(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(tiny_path, tmp_path_factory.mktemp("strange") / "strange.gguf"))


@pytest.fixture(scope="module")
def isolated(strange: Path) -> Iterator[Engine]:
    with load(strange, n_ctx=512, n_batch=32, reproducible=True, isolate="always") as engine:
        assert isinstance(engine, IsolatedEngine)
        yield engine


@pytest.fixture(scope="module")
def here(tiny_path: Path) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=512, n_batch=32, reproducible=True, isolate="never") as engine:
        yield engine


def request(engine: Engine, question: str, n: int = 6) -> Request:
    sampling = SamplingParams(max_tokens=n, ignore_eos=True)
    return engine.request(question, preference="concise", sampling=sampling)


def test_answers_of_a_pool_are_those_of_one_here(isolated: Engine, here: Engine) -> None:
    def answers(engine: Engine) -> list[Any]:
        told: list[tuple[int, int]] = []
        aside: queue.Queue[Item] = queue.Queue()
        with engine.pool(places=2, waiting=4, scheduler="interleaved") as pool:
            assert isinstance(pool, IsolatedPool) is (engine is isolated)
            assert (pool.n_places, pool.scheduler, pool.n_waiting) == (2, "interleaved", 4)
            asker = Asker(engine, pool)
            tickets = [asker.ask(n, question) for n, question in enumerate(QUESTIONS)]
            long = asker.request("word " * 100)
            pool.submit(long, aside.put, progress=lambda *n: told.append(n))
            found = [asker.answer(n).token_ids for n in range(4)]
            while not ended(aside.get(timeout=PATIENCE_SECONDS)):
                pass
            assert told[-1][0] == told[-1][1] > 100
            assert all(ticket.done and ticket.n_tokens == 5 for ticket in tickets)
            assert all(ticket.place in (0, 1) for ticket in tickets)
        with pytest.raises(errors.EngineClosedError):
            pool.forget(0)
        return found

    assert answers(isolated) == answers(here)


def test_a_pool_without_its_sizes_says_how_it_is_written(isolated: Engine, here: Engine) -> None:
    for engine in (isolated, here):
        with pytest.raises(TypeError, match=r"'places'; write pool\(places=2, waiting=4\)"):
            engine.pool()  # type: ignore[call-arg]


def test_ctrl_c_while_a_request_is_handed_over_holds_nobody_up(isolated: Engine) -> None:
    with isolated.pool(places=2, waiting=200) as pool:
        asker = Asker(isolated, pool)
        asked = asker.request(QUESTIONS[0], 1)
        for n, _ in enumerate(interrupted_everywhere(lambda: pool.submit(asked, lambda _: None))):
            asker.ask(n, QUESTIONS[1], 1)
            assert asker.answer(n).token_ids


def test_a_full_queue_and_what_a_pool_cant_do_are_its_own_errors(isolated: Engine) -> None:
    with isolated.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(isolated, pool)
        ticket = asker.ask(0, QUESTIONS[0], 400)
        asker.until(0, n_pieces=2)
        with pytest.raises(errors.QueueFullError):
            asker.ask(1, QUESTIONS[1])
        assert (pool.n_active, pool.n_queued, pool.at_places) == (1, 0, [ticket])
        ticket.change(request(isolated, QUESTIONS[1], 400))
        ticket.cancel()
        assert asker.answer(0).finish_reason == "cancelled"
        assert asker.ask(1, QUESTIONS[1]) is not ticket
        asker.answer(1)
        kept: Future[Any] = pool.export(0)
        rows = kept.result(timeout=60)
        assert pool.forget(0).result(timeout=60) > 0
        assert pool.restore(0, rows).result(timeout=60)
    with pytest.raises(errors.EngineClosedError):
        asker.ask(2, QUESTIONS[2])
    with isolated.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        too_many = [f"{n} words" for n in range(12)]
        with pytest.raises(errors.InvalidParameterError, match="fewer preferences"):
            pool.check(isolated.request("Hi", preference=too_many))


def test_all_answers_stream_as_from_an_engine_here(isolated: Engine, here: Engine) -> None:
    def all_of(engine: Engine) -> dict[int, Any]:
        taken: list[str] = []

        def asked() -> Iterator[Request | errors.AmuletError | None]:
            for question in QUESTIONS:
                taken.append(question)
                yield request(engine, question)
                yield None
            yield errors.PromptTooLongError("too long", n_prompt_tokens=9, n_ctx=1)

        ends: dict[int, Any] = {}
        stream = engine.stream_all(asked(), at_once=lambda _rows, _n: 2, scheduler="interleaved")
        assert taken == []  # nothing is taken before a piece is wanted
        for pieces in stream:
            for number, piece in pieces:
                if isinstance(piece, errors.PromptTooLongError):
                    ends[number] = piece.n_prompt_tokens
                elif isinstance(piece, Chunk) and piece.generation is not None:
                    ends[number] = piece.generation.token_ids
        assert taken == list(QUESTIONS)
        return ends

    found = all_of(isolated)
    assert len(found) == 5
    assert found == all_of(here)


def test_a_stream_of_all_can_be_left_and_what_its_requests_raise_is_the_caller_s(
    isolated: Engine,
) -> None:
    def failing() -> Iterator[Request]:
        yield request(isolated, QUESTIONS[0])
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        list(isolated.stream_all(failing(), scheduler="interleaved"))
    long = [request(isolated, question, 400) for question in QUESTIONS]
    stream = isolated.stream_all(long, scheduler="interleaved")
    while not next(stream):
        pass
    with pytest.raises(errors.EngineBusyError):
        isolated.score("Hi", "Hello.")
    stream.close()
    assert isolated.score("Hi", "Hello.").plain[0] < 0


@pytest.mark.parametrize("scheduler", ["interleaved", "batched"])
def test_a_death_ends_every_ticket_with_its_reason(
    strange: Path, monkeypatch: pytest.MonkeyPatch, scheduler: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(LATE))
    monkeypatch.setenv("DIE_AT_DECODE", "30")
    with load(strange, n_ctx=512, isolate="always") as engine:
        with engine.pool(places=2, waiting=4, scheduler=scheduler) as pool:
            asker = Asker(engine, pool)
            for number, question in enumerate(QUESTIONS):
                asker.ask(number, question, 300)
            for number in range(4):
                last = asker.until(number)[-1]
                assert isinstance(last, errors.ModelFileError)
                assert "GGML_ASSERT" in str(last)
            with pytest.raises(errors.EngineClosedError):
                asker.ask(5, QUESTIONS[0])
        with pytest.raises(errors.EngineClosedError):
            list(engine.stream_all([request(engine, "Hi")]))
