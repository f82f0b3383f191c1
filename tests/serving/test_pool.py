"""Several requests on one model: each gets what it would get alone, and nothing is lost."""

from __future__ import annotations

import queue
import random
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amulet_local import Engine, SamplingParams, errors, load
from amulet_local.answering.request import Request
from amulet_local.common.results import Chunk, Generation
from amulet_local.llama.prefill import Progress
from amulet_local.params.choices import Scheduler
from amulet_local.serving.pool import Pool
from amulet_local.serving.ticket import Ticket
from tests.interrupts import interrupted_everywhere

QUESTIONS = ("How do I sleep better?", "Name three rivers.", "What is a heap?", "Why is it dark?")
LONG = "Tell me about the sea, the wind and the stars above. " * 16
PATIENCE_SECONDS = 120.0

Item = Chunk | errors.AmuletError


@pytest.fixture(scope="module")
def engine(tiny_path: Path) -> Iterator[Engine]:
    with load(tiny_path, n_ctx=512, n_batch=32) as engine:
        yield engine


class Asker:
    """Asks a pool and gathers what comes."""

    def __init__(self, engine: Engine, pool: Pool) -> None:
        self.engine, self.pool = engine, pool
        self.came: queue.Queue[tuple[int, Item]] = queue.Queue()
        self.pieces: dict[int, list[Item]] = {}

    def request(self, question: str, n: int = 5, **fields: Any) -> Request:
        given = {"preference": "creative", "avoid": None, "amulet": None, "preset": None}
        given |= {"system": None, "placement": None, **fields}
        sampling = SamplingParams(max_tokens=n, ignore_eos=True)
        return self.engine.request(question, sampling=sampling, **given)

    def ask(
        self,
        number: int,
        question: str,
        n: int = 5,
        *,
        progress: Progress | None = None,
        **fields: Any,
    ) -> Ticket:
        self.pieces[number] = []
        return self.pool.submit(
            self.request(question, n, **fields),
            lambda item: self.came.put((number, item)),
            progress=progress,
        )

    def until(self, number: int, *, n_pieces: int | None = None) -> list[Item]:
        """What came for one of them, to its end or until there are so many pieces."""
        pieces = self.pieces[number]
        while not (pieces and ended(pieces[-1])):
            if n_pieces is not None and len(pieces) >= n_pieces:
                break
            other, item = self.came.get(timeout=PATIENCE_SECONDS)
            self.pieces[other].append(item)
        return pieces

    def answer(self, number: int) -> Generation:
        last = self.until(number)[-1]
        assert isinstance(last, Chunk), last
        assert last.generation is not None
        return last.generation


def ended(item: Item) -> bool:
    return isinstance(item, errors.AmuletError) or item.generation is not None


def test_an_interleaved_greedy_answer_is_the_same_whoever_else_is_there(engine: Engine) -> None:
    with engine.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        alone = {}
        for question in QUESTIONS:
            asker.ask(0, question)
            alone[question] = asker.answer(0).token_ids
    with engine.pool(places=3, waiting=20, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asked = [random.Random(seed).choice(QUESTIONS) for seed in range(6)]
        for number, question in enumerate(asked):
            asker.ask(number, question)
        for number, question in enumerate(asked):
            assert asker.answer(number).token_ids == alone[question]


def test_what_is_kept_of_a_longer_conversation_changes_no_token(engine: Engine) -> None:
    first = [{"role": "user", "content": QUESTIONS[0]}]
    with engine.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, first)  # type: ignore[arg-type]
        answer = asker.answer(0)
        second = [
            *first,
            {"role": "assistant", "content": answer.text},
            {"role": "user", "content": "Why?"},
        ]
        asker.ask(1, second)  # type: ignore[arg-type]
        kept = asker.answer(1)
    with engine.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, second)  # type: ignore[arg-type]
        fresh = asker.answer(0)
    assert kept.token_ids == fresh.token_ids
    assert kept.usage.computed_tokens < fresh.usage.computed_tokens


def test_ctrl_c_in_a_call_of_the_main_thread_holds_nobody_up(engine: Engine) -> None:
    with engine.pool(places=2, waiting=200) as pool:
        asker = Asker(engine, pool)
        request = asker.request(QUESTIONS[0], 1)

        def ask_and_cancel() -> None:
            pool.submit(request, lambda _: None).cancel()

        n_steps = 0
        for n_steps, _ in enumerate(interrupted_everywhere(ask_and_cancel), start=1):
            asker.ask(n_steps, QUESTIONS[1], 1)
            assert asker.answer(n_steps).token_ids
        assert n_steps > 10
        for _ in interrupted_everywhere(pool.drain):
            pass


def test_a_place_that_is_named_is_waited_for_while_others_go_on(engine: Engine) -> None:
    order: list[object] = []
    came: queue.Queue[object] = queue.Queue()
    with engine.pool(places=2, waiting=4, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)

        def ask(name: str, n_tokens: int, place: int | None) -> Ticket:
            request = replace(asker.request(QUESTIONS[0], n_tokens), place=place)
            return pool.submit(request, lambda item: came.put(name if ended(item) else 0))

        long = ask("long", 400, 0)
        assert came.get(timeout=PATIENCE_SECONDS) == 0
        saved = pool.export(0)
        saved.add_done_callback(lambda _: came.put("saved"))
        same, other = ask("same", 1, 0), ask("other", 1, None)
        while len(order) < 4:
            item = came.get(timeout=PATIENCE_SECONDS)
            order += [item] if item else []
        assert [ticket.place for ticket in (long, same, other)] == [0, 0, 1]
        assert order[0] == "other"
        assert sorted(order[1:3], key=str) == ["long", "saved"]
        assert order[3] == "same"
        tokens = saved.result()[0][0]
        assert tokens[: len(long.request.prompts[0])] == [*long.request.prompts[0]]
        assert len(tokens) == len(long.request.prompts[0]) + 399
        assert pool.at_places == [None, None]


@pytest.mark.parametrize("scheduler", ["interleaved", "batched"])
def test_memory_that_is_not_to_be_used_is_not(engine: Engine, scheduler: Scheduler) -> None:
    with engine.pool(places=1, waiting=4, scheduler=scheduler) as pool:
        asker = Asker(engine, pool)
        request = asker.request(LONG)
        answers = []
        for number, reuses in enumerate((True, True, False)):
            asker.pieces[number] = []
            pool.submit(
                replace(request, reuses_memory=reuses),
                lambda item, number=number: asker.came.put((number, item)),  # type: ignore[misc]
            )
            answers.append(asker.answer(number))
        assert [answer.usage.cached_tokens > 0 for answer in answers] == [False, True, False]
        assert len({answer.token_ids for answer in answers}) == 1
        with pytest.raises(errors.InvalidParameterError, match="no place 1"):
            pool.check(replace(request, place=1))


def test_places_in_one_context_have_no_names(engine: Engine) -> None:
    with engine.pool(places=2, waiting=1, scheduler="batched") as pool:
        request = Asker(engine, pool).request(QUESTIONS[0])
        for named in (replace(request, place=0), replace(request, adapter_scales=(1.0,))):
            with pytest.raises(errors.InvalidParameterError, match=r"named|interleaved"):
                pool.check(named)
        with pytest.raises(errors.InvalidParameterError, match="interleaved"):
            pool.export(0)
        assert pool.at_places == [None, None]


def test_what_is_asked_of_a_place_ends_with_the_pool(engine: Engine) -> None:
    with engine.pool(places=1, waiting=1, scheduler="interleaved") as pool:
        assert pool.forget(0).result(PATIENCE_SECONDS) == 0
        assert pool.export(0).result(PATIENCE_SECONDS) == []
    with pytest.raises(errors.EngineClosedError):
        pool.forget(0)


def test_who_waits_for_a_place_and_goes_leaves_the_others_alone(engine: Engine) -> None:
    with engine.pool(places=1, waiting=1, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, QUESTIONS[0], 50)
        asker.until(0, n_pieces=1)
        gone = pool.export(0)
        assert gone.cancel()
        asker.until(0)
        assert pool.export(0).result(PATIENCE_SECONDS)
        asker.ask(1, QUESTIONS[0], 1)
        asker.answer(1)


def test_answers_under_way_get_their_tokens_in_turn(engine: Engine) -> None:
    with engine.pool(places=2, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, QUESTIONS[0], 24)
        asker.until(0, n_pieces=1)
        asker.ask(1, QUESTIONS[1], 6)
        order = []
        for _ in range(400):
            number, item = asker.came.get(timeout=PATIENCE_SECONDS)
            order.append(number)
            if number == 1 and ended(item):
                break
        start = order.index(1)
        both = order[start : len(order) - 1]
        assert abs(both.count(0) - both.count(1)) <= 2


def test_a_long_prompt_holds_up_no_answer(engine: Engine) -> None:
    with engine.pool(places=2, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, QUESTIONS[0], 30)
        asker.until(0, n_pieces=1)
        asker.ask(1, LONG, 2)
        meanwhile = 0
        while True:
            number, _ = asker.came.get(timeout=PATIENCE_SECONDS)
            if number == 1:
                break
            meanwhile += 1
        assert meanwhile >= 5  # a token after each of the prompt's chunks


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_every_request_ends_once_and_too_many_are_refused_at_once(
    engine: Engine, kind: Scheduler
) -> None:
    with engine.pool(places=2, waiting=2, scheduler=kind) as pool:
        asker = Asker(engine, pool)
        asked = 0
        for number in range(10):
            try:
                asker.ask(number, QUESTIONS[number % 4], 8)
            except errors.QueueFullError:
                break
            asked += 1
        assert asked == 4
        for number in range(asked):
            assert asker.answer(number).finish_reason == "length"
        assert asker.came.empty()
        asker.ask(20, QUESTIONS[0], 2)
        assert asker.answer(20).finish_reason == "length"


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_one_that_is_cancelled_leaves_the_others_alone(engine: Engine, kind: Scheduler) -> None:
    with engine.pool(places=2, waiting=2, scheduler=kind) as pool:
        asker = Asker(engine, pool)
        writing = asker.ask(0, QUESTIONS[0], 300)
        asker.until(0, n_pieces=3)
        asker.ask(1, QUESTIONS[1], 20)
        waiting = asker.ask(2, QUESTIONS[2], 20)
        waiting.cancel()
        assert isinstance(asker.until(2)[-1], errors.CancelledError)
        writing.cancel()
        cut = asker.answer(0)
        assert cut.finish_reason == "cancelled"
        assert 3 <= len(cut.token_ids) < 300
        assert asker.answer(1).finish_reason == "length"


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_one_whose_prompt_is_read_can_be_cancelled(engine: Engine, kind: Scheduler) -> None:
    with engine.pool(places=1, waiting=0, scheduler=kind) as pool:
        asker = Asker(engine, pool)
        asked = Future[Ticket]()
        asked.set_result(asker.ask(0, LONG, 300, progress=lambda *_: asked.result().cancel()))
        cut = asker.answer(0)
        assert cut.finish_reason == "cancelled"
        assert cut.token_ids == ()
        asker.ask(1, QUESTIONS[1], 3)
        assert len(asker.answer(1).token_ids) == 3


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_an_answer_goes_on_under_another_preference(engine: Engine, kind: Scheduler) -> None:
    with engine.pool(places=1, waiting=0, scheduler=kind) as pool:
        asker = Asker(engine, pool)
        ticket = asker.ask(0, QUESTIONS[0], 200)
        asker.until(0, n_pieces=2)
        ticket.change(asker.request(QUESTIONS[0], preference=["formal", "concise"]))
        changed = asker.answer(0)
        assert changed.preferences == ("formal", "concise")
        assert len(changed.token_ids) == 200


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_a_request_with_too_many_preferences_is_refused(engine: Engine, kind: Scheduler) -> None:
    with engine.pool(places=1, waiting=0, scheduler=kind, max_rows=2) as pool:
        asker = Asker(engine, pool)
        with pytest.raises(errors.InvalidParameterError, match="fewer preferences"):
            asker.ask(0, QUESTIONS[0], preference=["formal", "concise"])


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_a_pool_that_closes_ends_everything(engine: Engine, kind: Scheduler) -> None:
    pool = engine.pool(places=1, waiting=2, scheduler=kind)
    asker = Asker(engine, pool)
    asker.ask(0, QUESTIONS[0], 300)
    asker.until(0, n_pieces=2)
    asker.ask(1, QUESTIONS[1], 300)
    pool.close()
    pool.close()
    assert asker.answer(0).finish_reason == "cancelled"
    assert isinstance(asker.until(1)[-1], errors.CancelledError)
    with pytest.raises(errors.EngineClosedError):
        asker.ask(2, QUESTIONS[2])
    engine.generate(QUESTIONS[0], sampling=SamplingParams(max_tokens=1))  # its own rows come back


@pytest.mark.parametrize("kind", ["interleaved", "batched"])
def test_a_failing_computation_costs_the_answers_under_way_and_nothing_else(
    engine: Engine, kind: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    real = llama_cpp.llama_decode
    with engine.pool(places=1, waiting=2, scheduler=kind) as pool:
        asker = Asker(engine, pool)
        asker.ask(0, QUESTIONS[0])
        before = asker.answer(0).token_ids
        monkeypatch.setattr(llama_cpp, "llama_decode", lambda context, batch: -1)
        asker.ask(1, QUESTIONS[1], 40)
        assert isinstance(asker.until(1)[-1], errors.DecodeError)
        monkeypatch.setattr(llama_cpp, "llama_decode", real)
        asker.ask(2, QUESTIONS[0])
        assert asker.answer(2).token_ids == before


def test_batching_and_reproducibility_exclude_each_other(tiny_engine: Engine) -> None:
    with pytest.raises(errors.InvalidParameterError, match="reproducible"):
        tiny_engine.pool(places=1, waiting=0, scheduler="batched")
    with pytest.raises(errors.InvalidParameterError, match="scheduler must be"):
        tiny_engine.pool(places=1, waiting=0, scheduler="other")  # type: ignore[arg-type]


def test_more_rows_than_memory_holds_are_refused_when_they_are_needed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from amulet_local.llama import memory

    with engine.pool(places=1, waiting=0, scheduler="interleaved") as pool:
        asker = Asker(engine, pool)
        asker.ask(0, QUESTIONS[0], 2)
        assert asker.answer(0).finish_reason == "length"
        monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
        asker.ask(1, QUESTIONS[0], 2, preference=["formal", "concise"])
        assert isinstance(asker.until(1)[-1], errors.ContextCreationError)
        asker.ask(2, QUESTIONS[0], 2)
        assert asker.answer(2).finish_reason == "length"


def test_an_engine_that_closes_closes_its_pools(tiny_path: Path) -> None:
    engine = load(tiny_path, n_ctx=256)
    pool = engine.pool(places=1, waiting=0)
    asker = Asker(engine, pool)
    asker.ask(0, QUESTIONS[0], 100)
    asker.until(0, n_pieces=1)
    engine.close()
    assert asker.answer(0).finish_reason == "cancelled"
    with pytest.raises(errors.EngineClosedError):
        asker.ask(1, QUESTIONS[0])
