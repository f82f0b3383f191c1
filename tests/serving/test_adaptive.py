"""Places that are computed together and one beside them: who gets which; nothing is lost."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from amulet_local import Engine, SamplingParams
from amulet_local.answering.request import Request
from amulet_local.common.errors import AmuletError
from amulet_local.common.results import Chunk, Generation
from amulet_local.serving.adaptive import AdaptivePlaces
from amulet_local.serving.opening import new_places
from amulet_local.serving.ticket import Ticket

QUESTIONS = ("How do I sleep better?", "Name three rivers.", "What is a heap?")


@pytest.fixture(scope="module")
def engine(exact_engine: Engine) -> Engine:
    return exact_engine


@pytest.fixture
def places(engine: Engine) -> Iterator[AdaptivePlaces]:
    made = new_places(
        engine._shared,
        engine._settings,
        scheduler="batched",
        n_places=3,
        max_rows=3,
        n_sequences=6,
        beside=True,
    )
    assert isinstance(made, AdaptivePlaces)
    yield made
    made.close()


class Asked:
    """A request and what came of it."""

    def __init__(self, request: Request) -> None:
        self.pieces: queue.SimpleQueue[Chunk | AmuletError] = queue.SimpleQueue()
        self.ticket = Ticket(request, self.pieces.put, lambda: None)
        self.generation: Generation | None = None


def ask(engine: Engine, number: int, *, preference: str | None = "concise", n: int = 8) -> Asked:
    sampling = SamplingParams(max_tokens=n, ignore_eos=True)
    return Asked(engine.request(QUESTIONS[number], preference=preference, sampling=sampling))


def advance(places: AdaptivePlaces, asked: list[Asked]) -> None:
    """A turn."""
    for ticket, piece in places.advance():
        ticket.hand_over(piece)
        assert not isinstance(piece, AmuletError)
        if piece.generation is not None:
            (one,) = (item for item in asked if item.ticket is ticket)
            one.generation = piece.generation


def finish(places: AdaptivePlaces, *asked: Asked) -> list[tuple[int, ...]]:
    while places.n_active:
        advance(places, [*asked])
    assert all(one.generation is not None for one in asked)
    return [one.generation.token_ids for one in asked if one.generation is not None]


def expected(engine: Engine, *asked: Asked) -> list[tuple[int, ...]]:
    return [
        engine.generate_from_tokens(
            one.ticket.request.prompts[0],
            list(one.ticket.request.prompts[1:]) or None,
            amulet=one.ticket.request.amulet,
            sampling=one.ticket.request.sampling,
        ).token_ids
        for one in asked
    ]


def test_a_realigned_answer_that_is_alone_is_computed_alone(
    engine: Engine, places: AdaptivePlaces
) -> None:
    one = ask(engine, 0)
    places.admit(one.ticket)
    assert places._alone.n_active == 1
    assert finish(places, one) == expected(engine, one)


def test_a_plain_answer_is_computed_with_whoever_comes(
    engine: Engine, places: AdaptivePlaces
) -> None:
    one = ask(engine, 0, preference=None)
    places.admit(one.ticket)
    assert places._together.n_active == 1
    assert finish(places, one) == expected(engine, one)


def test_who_has_no_token_yet_moves_to_the_others(engine: Engine, places: AdaptivePlaces) -> None:
    asked = [ask(engine, number) for number in range(3)]
    places.admit(asked[0].ticket)
    changed = ask(engine, 0, n=5).ticket.request
    asked[0].ticket.change(changed)
    for one in asked[1:]:
        places.admit(one.ticket)
    assert (places._alone.n_active, places._together.n_active) == (0, 3)
    assert finish(places, *asked) == expected(engine, *asked)


def test_who_has_begun_stays_and_all_come_to_their_ends(
    engine: Engine, places: AdaptivePlaces
) -> None:
    first, second = ask(engine, 0), ask(engine, 1)
    places.admit(first.ticket)
    while not first.ticket.n_tokens:
        advance(places, [first])
    places.admit(second.ticket)
    assert (places._alone.n_active, places._together.n_active) == (1, 1)
    assert finish(places, first, second) == expected(engine, first, second)


def test_one_that_was_cancelled_isnt_moved(engine: Engine, places: AdaptivePlaces) -> None:
    first, second = ask(engine, 0), ask(engine, 1)
    places.admit(first.ticket)
    first.ticket.cancel()
    places.admit(second.ticket)
    assert finish(places, first, second)[0] == ()
    assert first.generation is not None
    assert first.generation.finish_reason == "cancelled"
